"""Configuration: groups in, typed settings out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptopt.config import compose, load_config, resolve_path, resource
from promptopt.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_defaults_are_the_product_s_own():
    config = load_config()

    assert config.domain.name == "violence"
    assert config.golden.path == "data/golden/violence"
    assert config.judge.model == "smollm2-135m"
    assert config.tracking.backend == "mlflow"
    assert config.tracking.log_texts is False
    assert config.name == "violence-smollm2-135m-seed0"
    assert config.run_folder == Path("runs/violence-smollm2-135m-seed0")


def test_names_follow_domain_judge_and_seed():
    config = load_config(["domain=abuse", "judge=fake", "seed=7"])

    assert config.name == "abuse-fake-seed7"
    assert config.domain.policy == "data/policies/abuse.yaml"
    assert config.golden.path == "data/golden/abuse"


def test_overrides_beat_an_experiment_which_beats_the_defaults():
    plain, experiment = load_config(), load_config(["experiment=quickstart"])
    override = load_config(["experiment=quickstart", "search.budget.trials=5", "domain=sexual", "program=all"])

    assert plain.search.budget.trials != experiment.search.budget.trials
    assert experiment.name == override.name == "quickstart"
    assert override.search.budget.trials == 5
    assert override.domain.name == "sexual"
    assert "checklist" in override.program.shapes


@pytest.mark.parametrize("domain", sorted(path.stem for path in (ROOT / "configs" / "domain").glob("*.yaml")))
def test_every_domain_has_its_policy_and_golden_set(domain):
    config = load_config([f"domain={domain}"])

    assert resolve_path(config.domain.policy).is_file()
    assert (resolve_path(config.golden.path) / "manifest.json").is_file()


def test_settings_that_the_groups_leave_at_their_defaults_can_be_set():
    config = load_config(["judge.revision=v2", "judge=fake", "program.instructions.mine=Look closely."])

    assert config.judge.revision == "v2"
    assert config.judge.engine == "fake"
    assert config.program.instructions["mine"] == "Look closely."


def test_composing_leaves_no_trace_for_the_next_time():
    before = compose([])
    compose(["seed=9"])

    assert compose([]) == before


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_config().seed = 1


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("serach.demo_pool=3", "unknown key `serach.demo_pool`; did you mean search.demo_pool?"),
        ("judge=smollm", "there is no judge 'smollm'; choose from fake, "),
        ("seed", "override 'seed' is not KEY=VALUE"),
        ("seed=-1", "`seed`: input should be greater than or equal to 0 (found -1)"),
        ("golden=folder", "`golden.path` is not set; set golden.path=VALUE"),
        ("+nonsense.deep=1", "unknown key `nonsense.deep`"),
        ("~golden", "key `golden` is missing"),
        ("runs_dir=${nowhere}", "nowhere"),
        ("judge.colour=red", "unknown key `judge.colour`"),
    ],
)
def test_faults_are_one_sentence(override, says):
    with pytest.raises(ConfigError) as caught:
        load_config([override])

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("configuration: ")


def test_further_judges_are_files_and_what_differs():
    config = load_config(
        ["judge=fake", "judges=[smollm2_135m,{judge: smollm2_135m, dtype: float32, batch_tokens: 64}]"]
    )

    assert [judge.name for judge in config.every_judge] == ["fake", "smollm2-135m", "smollm2-135m-64-float32"]
    assert [(judge.dtype, judge.batch_tokens) for judge in config.judges] == [("auto", 512), ("float32", 64)]
    assert config.space.seed_point()["judge"] == "fake"
    assert config.space.dimensions["judge"] == ("fake", "smollm2-135m", "smollm2-135m-64-float32")
    assert "unsafe_safe" in config.space.label_words, "the words of every judge are tried"


def test_a_single_judge_is_no_dimension():
    one, other = (load_config([f"judge={name}", "judges=[]"]).space for name in ("fake", "vllm"))

    assert "judge" not in one.dimensions
    assert one.model_copy(update={"label_words": other.label_words}).digest == other.digest


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("judges=smollm2_135m", "`judges` is 'smollm2_135m'; write a list"),
        ("judges=[3]", "an entry of `judges` is 3; write smollm2_135m, or"),
        ("judges=[{dtype: float32}]", "an entry of `judges` is {'dtype': 'float32'}"),
        ("judges=[gpt_5]", "there is no judge 'gpt_5'; choose from fake, "),
        ("judges=[{judge: vllm, server: {retries: 1}}]", "a judge that differs in server has no name; give it"),
        ("judges=[smollm2_135m]", "2 judges are called 'smollm2-135m'; give each of `judges` a `name` of its own"),
        ("judges=[{judge: fake, dtyp: float32}]", "unknown key `judges.0.dtyp`"),
        ("program.judges=[fake]", "`program.judges` is filled in from `judge` and `judges`"),
    ],
)
def test_a_judge_that_cannot_be_is_named(override, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_config([override])


def test_a_jury_has_one_judge():
    with pytest.raises(
        ConfigError, match=r"pools prompts of one judge, and `judges` names more: set search.winner.jury=1"
    ):
        load_config(["judges=[fake]", "search.winner.jury=3"])


def test_a_folder_of_groups_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="the folder of configuration groups does not exist"):
        load_config(folder=tmp_path / "nowhere")


def test_paths_are_the_user_s_first_and_the_project_s_then(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = resolve_path("data/policies/abuse.yaml")
    assert shipped == resource("data") / "policies" / "abuse.yaml"

    own = tmp_path / "data" / "policies" / "abuse.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("own")
    assert resolve_path("data/policies/abuse.yaml").read_text() == "own"
    assert resolve_path("nowhere/file") == Path("nowhere/file")
    assert resolve_path(str(own)) == own
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_path("~/data/policies/abuse.yaml") == own
