"""Configuration: groups in, typed settings out."""

from __future__ import annotations

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
