"""Everything a sweep works with, opened from its configuration and closed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from promptopt.config import AppConfig, resolve_path
from promptopt.core.candidate import Candidate
from promptopt.core.case import GoldenCase, Split
from promptopt.core.digest import digest_data
from promptopt.engines.base import JudgeEngine
from promptopt.errors import ConfigError, UserError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine
from promptopt.pipeline.precedents import read_precedents
from promptopt.pipeline.verbalizer_prior import check_judge, read_prior
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy
from promptopt.policy.reasoning import check_can_write
from promptopt.policy.verbalizer_prior import VerbalizerPrior
from promptopt.scores.store import ScoreStore
from promptopt.search.blocks import demo_pool
from promptopt.search.candidates import CandidateMaker
from promptopt.search.constraints import check_constraints
from promptopt.search.openings import OpeningRecord
from promptopt.search.space import JUDGE
from promptopt.search.study import SweepStudy
from promptopt.tracking.base import RunLog
from promptopt.tracking.factory import open_run_log


@dataclass(frozen=True, slots=True)
class Workspace:
    """The open parts of a sweep.

    Attributes:
        config: The configuration.
        policy: The policy.
        policy_path: Where it was read from.
        golden: The golden set.
        precedents: Decided cases that candidates may show.
        engines: Judge's name to its engine, the seed prompt's first.
        store: The score store.
        study: The study.
        maker: Makes candidates and programs.
        pool: Search cases set aside for demonstrations.
        search_cases: Search cases that candidates are scored on.
        log: The run log.
        openings: Record of sealed-test openings.
    """

    config: AppConfig
    policy: Policy
    policy_path: Path
    golden: GoldenSet
    precedents: tuple[GoldenCase, ...]
    engines: Mapping[str, JudgeEngine]
    store: ScoreStore
    study: SweepStudy
    maker: CandidateMaker
    pool: tuple[GoldenCase, ...]
    search_cases: tuple[GoldenCase, ...]
    log: RunLog
    openings: OpeningRecord

    @property
    def engine(self) -> JudgeEngine:
        """The seed prompt's judge."""
        return self.engines[self.config.judge.name]

    @property
    def case_texts(self) -> dict[str, str]:
        """Id to text of every case that logs may name and not quote."""
        return _case_texts(self.golden, self.precedents)

    def judge_of(self, candidate: Candidate) -> tuple[JudgeConfig, JudgeEngine]:
        """The judge of a candidate; of those that name none, the seed prompt's."""
        name = candidate.choices.get(JUDGE, self.config.judge.name)
        config = next(judge for judge in self.config.every_judge if judge.name == name)
        return config, self.engines[config.name]


@contextmanager
def open_workspace(config: AppConfig, on_phase: Callable[[str], None] = lambda _: None) -> Iterator[Workspace]:
    """Opens a workspace; a second process that opens the same run is refused.

    Args:
        config: The configuration.
        on_phase: Told in a few words when something begins that takes time.

    Yields:
        The workspace. Policy and golden set are checked before the judge is loaded.

    Raises:
        UserError: Any input does not fit, or the sweep is already running.
    """
    policy_path = resolve_path(config.domain.policy)
    policy = read_policy(policy_path)
    if policy.domain != config.domain.name:
        raise ConfigError(
            f"`domain.name` is {config.domain.name!r}, the policy's domain is {policy.domain!r}",
            where=policy_path,
            remedy="pair the right two",
        )
    golden = read_golden_set(resolve_path(config.golden.path))
    golden.check_against(policy)
    pool, search_cases = demo_pool(golden.split(Split.SEARCH), config.search.demo_pool, config.seed)
    if not any(case.is_violation for case in search_cases):
        raise UserError(
            f"no violation is left among the {len(search_cases)} search cases outside the demonstration pool",
            where=f"golden set {golden.name}",
            remedy="lower search.demo_pool or add violations to the search split",
        )
    check_constraints(config.search.constraints, search_cases)
    precedents, prior = read_precedents(config, policy, golden), read_prior(config, golden)
    inputs = _Inputs(policy, policy_path, golden, precedents, prior, pool, search_cases)
    lock = _lock(config)
    on_phase(f"loading {len(config.every_judge)} judges" if config.judges else "loading the judge")
    try:
        with _opened(config, inputs) as workspace:
            yield workspace
    finally:
        lock.release()


def _lock(config: AppConfig) -> FileLock:
    """Makes the run's folder and takes it for this process."""
    try:
        config.run_folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(config.run_folder / "sweep.lock")
        lock.acquire(timeout=0)
    except Timeout as cause:
        raise UserError(
            f"sweep {config.name!r} is already running in another process",
            where=config.run_folder,
            remedy="wait for it, or set name=... to start another sweep",
        ) from cause
    except OSError as cause:
        raise UserError(
            f"the folder of the run cannot be written ({cause.strerror})",
            where=config.run_folder,
            remedy="set runs_dir to a folder that can be written",
        ) from cause
    return lock


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a sweep reads before it loads its judge; the names are those of :class:`Workspace`."""

    policy: Policy
    policy_path: Path
    golden: GoldenSet
    precedents: tuple[GoldenCase, ...]
    prior: VerbalizerPrior | None
    pool: tuple[GoldenCase, ...]
    search_cases: tuple[GoldenCase, ...]


@contextmanager
def _opened(config: AppConfig, inputs: _Inputs) -> Iterator[Workspace]:
    with ExitStack() as opened:
        store = ScoreStore(config.scores_url or f"sqlite:///{Path(config.runs_dir) / 'scores.db'}")
        opened.callback(store.close)
        engines: dict[str, JudgeEngine] = {}
        for judge in config.every_judge:
            engines[judge.name] = engine = open_engine(judge)
            opened.callback(engine.close)
            if "reasoned" in config.space.shapes:
                check_can_write(engine)
        check_judge(inputs.prior, engines[config.judge.name].describe())
        study = _open_study(config, inputs, _fingerprints(engines))
        opened.callback(study.close)
        yield Workspace(
            config=config,
            policy=inputs.policy,
            policy_path=inputs.policy_path,
            golden=inputs.golden,
            precedents=inputs.precedents,
            engines=engines,
            store=store,
            study=study,
            maker=CandidateMaker(inputs.policy, config.space, inputs.pool, inputs.precedents, inputs.prior),
            pool=inputs.pool,
            search_cases=inputs.search_cases,
            log=open_run_log(config.tracking, Path(config.runs_dir), _case_texts(inputs.golden, inputs.precedents)),
            openings=OpeningRecord(Path(config.runs_dir) / "test_openings.jsonl"),
        )


def _case_texts(golden: GoldenSet, precedents: tuple[GoldenCase, ...]) -> dict[str, str]:
    return {case.id: case.text for case in (*golden.cases, *precedents)}


def _fingerprints(engines: Mapping[str, JudgeEngine]) -> dict[str, str]:
    """Judge's name to its fingerprint.

    Raises:
        ConfigError: Two judges give the same scores, so that their candidates would be the same twice.
    """
    found: dict[str, str] = {}
    for name, engine in engines.items():
        fingerprint = engine.describe().fingerprint
        if twin := next((other for other, known in found.items() if known == fingerprint), None):
            raise ConfigError(
                f"the judges {twin!r} and {name!r} are one and the same: equal weights, number format and settings",
                where="judges",
                remedy="leave one out, or change what tells them apart, such as dtype",
            )
        found[name] = fingerprint
    return found


def _open_study(config: AppConfig, inputs: _Inputs, fingerprints: Mapping[str, str]) -> SweepStudy:
    search = config.search
    further = {"list of further judges": digest_data({judge.name: fingerprints[judge.name] for judge in config.judges})}
    precedents = {"precedents": digest_data([case.model_dump(mode="json") for case in inputs.precedents])}
    prior = {} if inputs.prior is None else {"verbalizer prior": digest_data(inputs.prior.weights)}
    identity = {
        "policy": inputs.policy.digest,
        "golden set": inputs.golden.digest,
        "golden set's name": inputs.golden.name,
        "judge": fingerprints[config.judge.name],
        "judge's name": config.judge.name,
        **(further if config.judges else {}),
        **(precedents if inputs.precedents else {}),
        **prior,
        "search space": config.space.digest,
        "objective": digest_data(search.objective),
        "racing": digest_data(search.racing),
        "sampler": digest_data(search.sampler),
        "proposers": digest_data(search.proposers),
        "constraints": digest_data([c.model_dump(mode="json") for c in search.constraints]),
        "demo_pool": search.demo_pool,
        "seed": config.seed,
    }
    return SweepStudy(
        config.name,
        config.study_url or f"sqlite:///{config.run_folder / 'study.db'}",
        config.space,
        identity=identity,
        directions=search.objective.directions,
        sampler=search.sampler,
        seed=config.seed,
    )
