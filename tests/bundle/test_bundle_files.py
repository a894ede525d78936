"""Bundles on disk: they come back as they were, and no byte changes unseen."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.bundle import folders
from promptopt.bundle.files import read_bundle, write_bundle
from promptopt.bundle.model import PromptBundle
from promptopt.errors import BundleError

NAMES = {
    "README.md",
    "bundle.json",
    "bundle.sha256",
    "engine.json",
    "parity.jsonl",
    "policy.yaml",
    "procedure.json",
    "prompts.json",
    "scores.json",
}


@pytest.fixture
def folder(bundle, tmp_path):
    return write_bundle(bundle, tmp_path / "deep" / "winner")


def _siblings(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.parent.iterdir())


def test_a_bundle_comes_back_as_it_was(bundle, folder):
    assert {entry.name for entry in folder.iterdir()} == NAMES
    found = PromptBundle.load(str(folder))
    assert found.digest == bundle.digest
    assert found.prompts == bundle.prompts
    assert found.parity == bundle.parity
    assert found.policy_source == bundle.policy_source
    assert _siblings(folder) == ["winner"]


def test_the_policy_copy_is_optional(make_bundle, tmp_path):
    folder = write_bundle(make_bundle(), tmp_path / "b")
    assert {entry.name for entry in folder.iterdir()} == NAMES - {"policy.yaml"}
    assert read_bundle(folder).policy_source is None


def test_equal_bundles_give_equal_bytes(bundle, folder, tmp_path):
    again = write_bundle(bundle, tmp_path / "again")
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name in NAMES)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
PROBABILITIES = st.floats(0, 1)


@settings(max_examples=40, deadline=None)
@given(
    text=TEXTS,
    fixed=st.text(st.characters(codec="utf-8")),
    name=TEXTS,
    probability=PROBABILITIES,
    threshold=st.floats(-1, 2),
)
def test_any_content_round_trips(make_bundle, text, fixed, name, probability, threshold):
    base = make_bundle()
    first = base.parity[0].model_copy(update={"text": text, "score": probability})
    segments = (base.prompts[0].segments[0].model_copy(update={"text": fixed}), *base.prompts[0].segments[1:])
    made = make_bundle(
        name=name,
        prompts=(base.prompts[0].model_copy(update={"segments": segments}), *base.prompts[1:]),
        parity=(first, *base.parity[1:]),
        operating_point=base.operating_point.model_copy(update={"threshold": threshold}),
        judge={"chat_template": text, "deep": [{"x": None}, 1, 2.5, True]},
    )
    with TemporaryDirectory() as parent:
        found = read_bundle(write_bundle(made, Path(parent) / "b"))
    assert found.digest == made.digest
    assert found.parity[0].text == text
    assert found.prompts == made.prompts
    assert found.operating_point.threshold == threshold


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_changed_byte_in_any_file_is_found_and_named(folder, name, place):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="the bundle was changed after export; export it again") as raised:
        read_bundle(folder)
    assert name in str(raised.value)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("change", [lambda content: content + b"\n", lambda content: content[:-1], lambda content: b""])
def test_longer_shorter_and_emptied_files_are_found(folder, name, change):
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        read_bundle(folder)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(folder)


def test_an_extra_file_or_folder_is_named(folder, make_bundle, tmp_path):
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(BundleError, match=r"notes\.txt does not belong to the bundle"):
        read_bundle(folder)
    (folder / "notes.txt").unlink()
    (folder / "cache").mkdir()
    with pytest.raises(BundleError, match="cache does not belong"):
        read_bundle(folder)
    plain = write_bundle(make_bundle(), tmp_path / "plain")
    (plain / "policy.yaml").write_text("domain: other")
    with pytest.raises(BundleError, match=r"policy\.yaml is not listed in bundle\.json"):
        read_bundle(plain)


def test_a_missing_folder_and_a_folder_without_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        read_bundle(tmp_path / "none")
    with pytest.raises(BundleError, match=r"bundle\.json is missing"):
        read_bundle(tmp_path)


def _reseal(folder: Path, manifest: bytes) -> None:
    (folder / "bundle.json").write_bytes(manifest)
    (folder / "bundle.sha256").write_text(f"{sha256(manifest).hexdigest()}  bundle.json\n")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(folder, version):
    manifest = json.loads((folder / "bundle.json").read_text())
    _reseal(folder, json.dumps(manifest | {"schema_version": version}).encode())
    with pytest.raises(BundleError, match=r"bundle\.json: schema_version is .*, and this promptopt reads 1"):
        read_bundle(folder)


def test_a_sealed_manifest_of_another_kind_is_refused(folder):
    for manifest in (b"[]", b"{}", b"{", b'{"files": 3}', b"\xff"):
        _reseal(folder, manifest)
        with pytest.raises(BundleError, match=r"bundle\.json: "):
            read_bundle(folder)


def test_contents_that_do_not_fit_never_show_a_case_text(folder):
    line = json.loads((folder / "parity.jsonl").read_bytes().split(b"\n")[0])
    (folder / "parity.jsonl").write_text(json.dumps(line | {"score": line["text"]}) + "\n")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["parity.jsonl"] = sha256((folder / "parity.jsonl").read_bytes()).hexdigest()
    _reseal(folder, json.dumps(manifest).encode())
    with pytest.raises(BundleError, match=r"parity\.jsonl:1: key `score` does not fit") as raised:
        read_bundle(folder)
    assert "pinned text" not in str(raised.value)


def test_an_existing_bundle_is_replaced_only_on_request(folder, make_bundle):
    other = make_bundle(name="other")
    with pytest.raises(BundleError, match="a bundle is already there"):
        write_bundle(other, folder)
    assert read_bundle(folder).name == "demo-judge"
    write_bundle(other, folder, overwrite=True)
    assert read_bundle(folder).name == "other"
    assert _siblings(folder) == ["winner"]


def test_what_is_not_a_bundle_is_never_replaced(bundle, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("work", "file"):
        with pytest.raises(BundleError, match="not a bundle is in the way"):
            write_bundle(bundle, tmp_path / name, overwrite=True)
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    assert read_bundle(write_bundle(bundle, tmp_path / "empty")).digest == bundle.digest


def test_a_failed_write_leaves_nothing_and_keeps_the_old(folder, make_bundle, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        if path.name == "scores.json":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(folders, "_write_synced", full)
    with pytest.raises(BundleError, match="No space left on device"):
        write_bundle(make_bundle(name="other"), folder, overwrite=True)
    assert _siblings(folder) == ["winner"]
    assert read_bundle(folder).name == "demo-judge"


def test_a_parent_that_is_a_file_is_explained(bundle, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(bundle, tmp_path / "file" / "b")


def test_sha256sum_understands_the_seal(folder):
    assert subprocess.run(["sha256sum", "--check", "bundle.sha256"], cwd=folder, capture_output=True).returncode == 0


def test_the_readme_tells_scores_and_no_case_texts(folder):
    text = (folder / "README.md").read_text()
    assert "| test | 80 | 40 | 1 | 0.910 [0.850, 0.950] |" in text
    assert "| search | 0 | 0 | 0 | undefined |" in text
    assert "promptopt bundle verify" in text
    assert "opened 1 time before" in text
    assert "pinned text" not in text


def test_the_readme_says_when_the_criterion_was_missed(make_bundle, bundle, tmp_path):
    point = bundle.operating_point.model_copy(update={"feasible": False, "note": "no threshold reaches 0.9"})
    folder = write_bundle(make_bundle(operating_point=point), tmp_path / "b")
    assert "no threshold reaches 0.9" in (folder / "README.md").read_text()
