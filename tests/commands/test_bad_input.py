"""Every mistake is one sentence that says what, where and what to do; exit code 2; nothing is left half-written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ", ".join(sorted(path.stem for path in (ROOT / "configs" / "domain").glob("*.yaml")))
SWEEP = ("sweep", "judge=fake", "experiment=quickstart", "domain=violence", "tracking=none", "search.budget.trials=1")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nonsense.key=1", "unknown key `nonsense.key`; run `"),
        ("search.budget.trails=1", "unknown key `search.budget.trails`; did you mean search.budget.trials?"),
        ("+search.budget.hours=1", "unknown key `search.budget.hours`"),
        ("judge=gpt5", "there is no judge 'gpt5'; choose from fake, "),
        ("domain=nosuch", f"there is no domain 'nosuch'; choose from {DOMAINS} (`"),
        ("experiment=nosuch", "there is no experiment 'nosuch'; choose from "),
        ("nonsense", "override 'nonsense' is not KEY=VALUE"),
        ("seed=[1", "no viable alternative at input '[1'"),
        ("seed=one", "`seed`: input should be a valid integer"),
        ("name=a/b", "`name`: string should match pattern"),
        ("golden=folder", "`golden.path` is not set; set golden.path=VALUE."),
        ("search.objective.names=[auprc,speed]", "`search.objective.names.1`: input should be 'auprc', "),
        ("program.seed.policy=novel", "`program`: seed.policy is 'novel', not one of "),
        ("tracking=mlflow tracking.uri=postgresql://x", "`tracking.uri`: a tracking uri starts with"),
    ],
)
def test_configuration(refused, tmp_path, override, says):
    sentence = refused(*SWEEP, f"runs_dir={tmp_path / 'runs'}", *override.split())

    assert sentence.startswith("configuration: ")
    assert says in sentence
    assert "hydra.cc" not in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["domain.policy=missing.yaml"], "missing.yaml: the file does not exist; check the path."),
        (["golden.path=missing"], "missing: the folder does not exist; check the path."),
        (["domain.name=abuse", "golden.path=data/golden/violence"], "`domain.name` is 'abuse', the policy's domain is"),
    ],
)
def test_files_of_a_sweep(refused, tmp_path, overrides, says):
    assert says in refused(*SWEEP, f"runs_dir={tmp_path / 'runs'}", *overrides)
    assert list(tmp_path.iterdir()) == []


def test_runs_dir_that_is_a_file(refused, tmp_path):
    (tmp_path / "runs").write_text("precious")

    sentence = refused(*SWEEP, f"runs_dir={tmp_path / 'runs'}")

    assert "cannot be written (Not a directory); set runs_dir to a folder that can be written." in sentence
    assert (tmp_path / "runs").read_text() == "precious"


def test_policy_that_cites_an_unknown_clause(refused, tmp_path):
    text = (ROOT / "data" / "policies" / "violence.yaml").read_text(encoding="utf-8")
    policy = tmp_path / "policy.yaml"
    policy.write_text(re.sub(r"precedence: \[", "precedence: [V99, ", text), encoding="utf-8")
    line = next(n for n, said in enumerate(text.splitlines(), start=1) if said.startswith("precedence: ["))

    sentence = refused(*SWEEP, f"runs_dir={tmp_path / 'runs'}", f"domain.policy={policy}")

    assert sentence.startswith(f"{policy}:{line}: precedence cites unknown clause V99")
    assert not (tmp_path / "runs").exists()


def test_model_folder_without_safetensors(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    overrides = [
        "judge.name=own",
        "judge.engine=local",
        f"judge.model={tmp_path / 'model'}",
        f"runs_dir={tmp_path / 'runs'}",
    ]

    called = subprocess.run(
        [sys.executable, "-m", "promptopt", *SWEEP, *overrides, "--json"], capture_output=True, text=True
    )

    assert called.returncode == 2
    assert called.stdout == ""
    assert "Traceback" not in called.stderr
    last = called.stderr.splitlines()[-1]
    assert last.startswith(f"promptopt: {tmp_path / 'model'}: the model folder holds no .safetensors file; ")
    assert not list((tmp_path / "runs").glob("*/study.db"))


@pytest.fixture
def golden_folder(imported, tmp_path):
    """A copy of a golden set whose cases a test may change; the manifest then still has the old digest."""
    return shutil.copytree(imported, tmp_path / "set")


def _rewrite(folder, change, seal=True):
    """Changes the cases of a golden set and, where asked to, its manifest with them."""
    cases = folder / "cases.jsonl"
    rows = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
    lines = [row if isinstance(row, str) else json.dumps(row) for row in change(rows)]
    cases.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if seal:
        from promptopt.core.digest import digest_file

        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"digest": digest_file(cases)}))


def _third(change):
    return lambda rows: [*rows[:2], change(rows[2]), *rows[3:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_third(lambda row: json.dumps(row)[:-5]), "cases.jsonl:3: not valid JSON"),
        (_third(lambda row: row | {"label": "perhaps"}), "cases.jsonl:3: `label`: input should be 'violation'"),
        (_third(lambda row: row | {"text": "  "}), "cases.jsonl:3: `text`: text is empty"),
        (_third(lambda row: row | {"colour": "red"}), "cases.jsonl:3: unknown key `colour`"),
        (lambda rows: [*rows, rows[0]], "cases.jsonl:61: "),
        (
            lambda rows: [
                *rows,
                rows[0] | {"id": "new", "label": _other(rows[0]), "severity": 2 * (not _is_bad(rows[0]))},
            ],
            "cases.jsonl:61: ",
        ),
        (
            lambda rows: [
                row | {"label": "allowed", "severity": 0, "clause": None} if row["split"] == "test" else row
                for row in rows
            ],
            "and no violation among them",
        ),
    ],
    ids=["malformed", "unknown label", "empty text", "unknown key", "id twice", "two labels", "no positives"],
)
def test_golden_set(refused, golden_folder, tmp_path, change, says):
    _rewrite(golden_folder, change)

    for command in (["golden", "show", golden_folder], [*SWEEP, f"golden.path={golden_folder}", "runs_dir=runs"]):
        sentence = refused(*command)
        assert says in sentence
        assert re.search(r"; .+\.$", sentence), "it does not say what to do"


def _is_bad(row):
    return row["label"] == "violation"


def _other(row):
    return "allowed" if _is_bad(row) else "violation"


def test_golden_set_that_was_changed_after_it_was_admitted(refused, golden_folder):
    _rewrite(golden_folder, _third(lambda row: row | {"severity": 3}), seal=False)

    assert "was changed after its manifest was written" in refused("golden", "show", golden_folder)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"text": "a", "label": "allowed"}, "{"], "rows.jsonl:2: not valid JSON"),
        ([{"text": "a", "label": "maybe"}], "rows.jsonl:1: `label`: unknown label 'maybe'"),
        ([{"text": " ", "label": "allowed"}], "rows.jsonl:1: `text`: text is empty"),
        ([{"body": "a", "label": "allowed"}], "rows.jsonl: column `text` is missing; set the option `text` to one of"),
        ([{"text": "a", "label": "allowed"}], "none of the 1 cases is a violation"),
        ([{"id": 1, "text": "a", "label": 1}, {"id": 1, "text": "b", "label": 0}], "rows.jsonl:2: "),
        ([], "rows.jsonl"),
    ],
    ids=["malformed", "unknown label", "empty text", "no text column", "no positives", "id twice", "empty file"],
)
def test_data_to_import(refused, write_rows, tmp_path, rows, says):
    source = write_rows(rows)

    assert says in refused("golden", "import", source, tmp_path / "set", "--format", "jsonl", "--domain", "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_texts_with_both_labels_are_left_out_of_an_import_and_counted(ok, write_rows, labelled, tmp_path):
    text = "the same words with both of the labels"
    both = [{"id": "x", "text": text, "label": "violation"}, {"id": "y", "text": text, "label": "allowed"}]
    source = write_rows([*labelled, *both])

    called = ok("golden", "import", source, tmp_path / "set", "--format", "jsonl", "--domain", "toy")

    assert "left out 2: same text with both labels" in called.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "xml"], "format: unknown format `xml`; known formats: jsonl, csv, openai-moderation, hatecheck."),
        (["--format", "jsonl", "-o", "text"], "--option: option 'text' is not KEY=VALUE; write "),
        (["--format", "jsonl", "-o", "=text"], "--option: option '=text' is not KEY=VALUE; write "),
        (["--format", "jsonl", "-o", "colour=red"], "unknown key `colour`; known options: text, label, "),
        (["--format", "jsonl", "-o", "category=S"], "format jsonl takes no option `category`"),
        (["--format", "openai-moderation"], "no category is chosen; choose one of "),
        (["--format", "jsonl", "--limit", "0"], "`limit`: input should be greater than or equal to 1 (found 0)"),
        (["--format", "jsonl", "--domain", "No Domain"], "`No Domain` is not a domain name"),
    ],
)
def test_options_of_an_import(refused, write_rows, labelled, tmp_path, arguments, says):
    source = write_rows(labelled)

    assert says in refused("golden", "import", source, tmp_path / "set", "--domain", "toy", *arguments)
    assert not (tmp_path / "set").exists()


def test_import_into_a_file(refused, write_rows, labelled, tmp_path):
    (tmp_path / "set").write_text("precious")
    source = write_rows(labelled)

    sentence = refused("golden", "import", source, tmp_path / "set", "--format", "jsonl", "--domain", "toy")

    assert f"{tmp_path / 'set'}: the destination is a file; name a folder." in sentence
    assert (tmp_path / "set").read_text() == "precious"


@pytest.mark.parametrize("file", ["bundle.json", "prompts.json", "parity.jsonl", "policy.yaml", "README.md"])
@pytest.mark.parametrize("command", ["verify", "show", "judge"])
def test_bundle_that_was_changed_by_one_byte(refused, bundle, texts, tmp_path, file, command):
    changed = shutil.copytree(bundle, tmp_path / "bundle")
    content = bytearray((changed / file).read_bytes())
    content[len(content) // 2] ^= 1
    (changed / file).write_bytes(content)
    judge = ["judge", "--bundle", changed, "--in", texts, "--out", tmp_path / "out.jsonl"]

    sentence = refused(*(judge if command == "judge" else ["bundle", command, changed]))

    assert sentence.startswith(f"{changed}: {file} does not match the digest in ")
    assert sentence.endswith("; the bundle was changed after export; export it again.")
    assert not (tmp_path / "out.jsonl").exists()


def test_folder_that_is_no_bundle(refused, tmp_path):
    assert "bundle.json is missing" in refused("bundle", "verify", tmp_path)
    assert "nowhere: there is neither a bundle nor a composition" in refused("bundle", "show", tmp_path / "nowhere")


def test_model_that_the_catalog_does_not_have(refused):
    assert refused("models", "pull", "gpt-5") == "no model 'gpt-5' in the catalog; choose smollm2-135m."


def test_a_bug_keeps_its_traceback(call, monkeypatch):
    monkeypatch.setattr("promptopt.commands.models.list_models", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        call("models", "list")
