"""What words said in other domains, and that no sweep starts from the wrong file."""

from __future__ import annotations

import json

import pytest

from promptopt.bundle.files import read_bundle
from promptopt.config import load_config, resolve_path
from promptopt.errors import ConfigError, StudyMismatchError
from promptopt.golden.reader import read_golden_set
from promptopt.pipeline.verbalizer_prior import fit_prior, read_prior
from promptopt.policy.verbalizer_prior import VerbalizerPrior

SHORT = ("judge=fake", "program=verbalized", "program.policies=[summary]", "program.seed.policy=summary")
VERBALIZED = (*SHORT, "search.budget.trials=4", "program.demos.counts=[0]", "program.seed.demo_count=0")


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    runs = tmp_path_factory.mktemp("prior")
    domains = ("sexual", "political")
    return fit_prior([load_config([*SHORT, f"runs_dir={runs}", f"domain={d}"]) for d in domains], 60, lambda _: None)


@pytest.fixture
def write(prior, tmp_path):
    """Writes the prior, some of it replaced, and returns the override that names the file."""

    def make(name="prior.json", **changes):
        path = tmp_path / name
        path.write_text(json.dumps({**prior.model_dump(mode="json"), **changes}), encoding="utf-8")
        return f"program.panel.prior={path}"

    return make


def _read(*overrides):
    config = load_config(["domain=violence", *SHORT, *overrides])
    return read_prior(config, read_golden_set(resolve_path(config.golden.path)))


def test_it_rests_on_the_search_cases_of_every_domain(prior):
    assert [source.domain for source in prior.sources] == ["sexual", "political"]
    for source in prior.sources:
        golden = read_golden_set(resolve_path(f"data/golden/{source.domain}"))
        assert source.golden == golden.digest
        assert 50 <= source.cases <= 60
        assert 5 <= source.violations < source.cases
    assert {"yes", "no", "Threat"} <= set(prior.weights)
    assert any(weight != 0 for weight in prior.weights.values())


def test_the_order_of_domains_does_not_matter(prior, tmp_path):
    configs = [load_config([*SHORT, f"runs_dir={tmp_path}", f"domain={d}"]) for d in ("political", "sexual")]
    again = fit_prior(configs, 60, lambda _: None)
    assert again.weights == pytest.approx(prior.weights, abs=1e-5)


def test_a_sweep_starts_from_it_and_its_bundle_does_without(sweep, write, prior, tmp_path):
    started, alone = (
        sweep(tmp_path / name, *VERBALIZED, *given) for name, given in (("started", (write(),)), ("alone", ()))
    )
    procedures = [read_bundle(one.folder / "bundle").procedure for one in (started, alone)]
    assert all(procedure.verbalizer is not None and procedure.word_prior is None for procedure in procedures)
    assert procedures[0].verbalizer != procedures[1].verbalizer

    sweep(tmp_path / "started", *VERBALIZED, write("moved.json"))  # where the file lies does not matter
    with pytest.raises(StudyMismatchError, match="another verbalizer prior"):
        sweep(tmp_path / "started", *VERBALIZED, write(weights={**prior.weights, "yes": 9.0}))


def test_a_prior_of_another_model_is_refused(sweep, write, tmp_path):
    with pytest.raises(ConfigError, match=r"fitted on .*\(weights 0123456789ab\).*verbalizer fit"):
        sweep(tmp_path / "runs", *VERBALIZED, write(weights_digest="0123456789abcdef"))


def test_a_prior_from_the_golden_set_itself_is_refused(write, prior):
    own = read_golden_set(resolve_path("data/golden/violence")).digest
    sources = [{**prior.model_dump(mode="json")["sources"][0], "golden": own}]
    with pytest.raises(ConfigError, match="fitted on golden set violence itself"):
        _read(write(sources=sources))


def test_what_is_no_prior_is_refused_with_its_file(tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": 3}', encoding="utf-8")
    for path in (broken, tmp_path / "absent.json"):
        with pytest.raises(ConfigError, match=rf"{path.name}.*verbalizer fit"):
            _read(f"program.panel.prior={path}")
    assert _read() is None


def test_a_prior_goes_with_one_judge_and_a_panel(write):
    with pytest.raises(ConfigError, match=r"a prior is of one judge"):
        _read(write(), "judges=[{judge: fake, name: other}]")
    with pytest.raises(ConfigError, match=r"no shape is verbalized"):
        load_config(["program=direct", "program.panel.prior=any.json"])


def test_a_seed_prompt_of_another_shape_and_too_few_cases_are_refused(tmp_path):
    domain = (*SHORT, f"runs_dir={tmp_path}", "domain=sexual")
    with pytest.raises(ConfigError, match=r"of the direct shape.*program=verbalized"):
        fit_prior([load_config([*domain, "program=direct"])], 60, lambda _: None)
    with pytest.raises(ConfigError, match=r"at least 5 of either are needed"):
        fit_prior([load_config(domain)], 6, lambda _: None)


def test_its_file_is_what_the_model_says(prior):
    assert VerbalizerPrior.model_validate_json(prior.model_dump_json()) == prior
