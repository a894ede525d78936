"""Fits the weights that a panel's words have in several domains, and reads them for another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from promptopt.config import AppConfig, resolve_path
from promptopt.core.case import Split
from promptopt.core.yaml_file import explain_validation
from promptopt.engines.base import EngineCard, JudgeEngine
from promptopt.errors import ConfigError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.golden.sampling import sample_cases
from promptopt.judges.factory import open_engine
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.calibration import MIN_PER_CLASS
from promptopt.metrics.weights import fit_weights
from promptopt.policy.procedure import DIRECT_QUESTION
from promptopt.policy.reader import read_policy
from promptopt.policy.verbalizer import word_features
from promptopt.policy.verbalizer_prior import PriorSource, VerbalizerPrior
from promptopt.scores.store import ScoreStore
from promptopt.search.candidates import CandidateMaker
from promptopt.search.judging import StoredJudge

_PENALTY = 20.0  # docs/design/verbalizer-prior.md has the others that were tried
_KEY = "program.panel.prior"
_AGAIN = "make it with `promptopt verbalizer fit`"


@dataclass(frozen=True, slots=True)
class _Domain:
    """A domain's seed prompt, judged.

    Attributes:
        words: The panel.
        features: Standardised log-probabilities, (cases, words).
        labels: True for a violation, (cases,).
        source: What was judged.
    """

    words: tuple[str, ...]
    features: FloatArray
    labels: BoolArray
    source: PriorSource


def fit_prior(configs: Sequence[AppConfig], most: int, tell: Callable[[str], None]) -> VerbalizerPrior:
    """Judges search cases of several domains with their seed prompts, and fits one set of weights on all of them.

    Log-probabilities are standardised in each domain first: how likely a word is at all depends on the prompt.

    Args:
        configs: One configuration for each domain, all with one judge.
        most: At most so many search cases of each domain.
        tell: Told how far it is, one line at a time.

    Returns:
        The prior.

    Raises:
        UserError: A configuration, policy or golden set does not fit, or has too few cases of either label.
    """
    first = configs[0]
    store = ScoreStore(first.scores_url or f"sqlite:///{Path(first.runs_dir) / 'scores.db'}")
    try:
        tell("loading the judge")
        engine = open_engine(first.judge, tell)
        try:
            domains = [_judged(config, most, engine, store, tell) for config in configs]
            card = engine.describe()
        finally:
            engine.close()
    finally:
        store.close()
    words = [word for word in domains[0].words if all(word in domain.words for domain in domains)]
    features = np.concatenate([d.features[:, [d.words.index(word) for word in words]] for d in domains])
    fitted = fit_weights(features, np.concatenate([d.labels for d in domains]), penalty=_PENALTY, signed=True)
    weights = fitted.coefficients * features.std(axis=0)
    return VerbalizerPrior(
        model=card.model,
        weights_digest=card.weights_digest,
        weights={word: round(float(weight), 6) for word, weight in zip(words, weights, strict=True)},
        sources=tuple(d.source for d in domains),
    )


def _judged(
    config: AppConfig, most: int, engine: JudgeEngine, store: ScoreStore, tell: Callable[[str], None]
) -> _Domain:
    policy = read_policy(resolve_path(config.domain.policy))
    golden = read_golden_set(resolve_path(config.golden.path))
    golden.check_against(policy)
    maker = CandidateMaker(policy, config.space, ())
    program = maker.program(maker.candidate(config.space.seed_point()))
    if program.procedure.shape != "verbalized":
        raise ConfigError(
            f"the seed prompt of {policy.domain} is of the {program.procedure.shape} shape",
            where="program.seed.shape",
            remedy="add program=verbalized",
        )
    prompts = program.lower()
    cases = sample_cases(golden.split(Split.SEARCH), most, config.seed)
    tell(f"{policy.domain}: judging {len(cases)} search cases")
    judge = StoredJudge(engine, store, f"verbalizer-prior:{policy.domain}", lambda _: None)
    table = np.asarray(judge.answers(prompts, cases).probabilities[DIRECT_QUESTION], dtype=np.float64)
    known = ~np.isnan(table).any(axis=1)
    labels = np.array([case.is_violation for case in cases], dtype=np.bool_)[known]
    if min(int(labels.sum()), int((~labels).sum())) < MIN_PER_CLASS:
        raise ConfigError(
            f"{int(labels.sum())} violations and {int((~labels).sum())} allowed cases of {policy.domain} were judged",
            where=f"golden set {golden.name}",
            remedy=f"at least {MIN_PER_CLASS} of either are needed: judge more cases, or leave the domain out",
        )
    source = PriorSource(domain=policy.domain, golden=golden.digest, cases=len(labels), violations=int(labels.sum()))
    return _Domain(program.layout.labels, _standardised(word_features(table[known])), labels, source)


def _standardised(features: FloatArray) -> FloatArray:
    deviation = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def read_prior(config: AppConfig, golden: GoldenSet) -> VerbalizerPrior | None:
    """Reads the file that ``program.panel.prior`` names.

    Args:
        config: The configuration.
        golden: The golden set that candidates are measured on.

    Returns:
        The prior; None where the configuration names none.

    Raises:
        ConfigError: The file is missing or malformed, rests on this very golden set, or the sweep has several judges.
    """
    if config.program.panel.prior is None:
        return None
    if config.judges:
        raise ConfigError(
            "a prior is of one judge, and `judges` names more", where=_KEY, remedy="leave one of the two out"
        )
    path = resolve_path(config.program.panel.prior)
    try:
        prior = VerbalizerPrior.model_validate_json(path.read_bytes())
    except OSError as cause:
        raise ConfigError(f"the prior cannot be read ({cause.strerror})", where=path, remedy=_AGAIN) from cause
    except ValidationError as cause:
        raise ConfigError(explain_validation(cause), where=path, remedy=_AGAIN) from cause
    if golden.digest in {source.golden for source in prior.sources}:
        raise ConfigError(
            f"the prior was fitted on golden set {golden.name} itself, whose cases would count twice",
            where=path,
            remedy="fit one on the other domains: `promptopt verbalizer fit --domains ...`",
        )
    return prior


def check_judge(prior: VerbalizerPrior | None, card: EngineCard) -> None:
    """Refuses a prior of another model; the number format does not matter to where weights start from.

    Raises:
        ConfigError: It is of another one.
    """
    if prior is not None and prior.weights_digest != card.weights_digest:
        raise ConfigError(
            f"the prior was fitted on {prior.model} (weights {prior.weights_digest[:12] or 'unknown'}), the judge is "
            f"{card.model} (weights {card.weights_digest[:12] or 'unknown'})",
            where=_KEY,
            remedy="fit one on this judge with `promptopt verbalizer fit`",
        )
