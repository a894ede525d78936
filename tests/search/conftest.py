"""A small domain with a golden set, a fake judge that finds some of it, and sweeps over a small space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from promptopt.core.case import CaseKind, GoldenCase, Split
from promptopt.engines.fake import FakeEngine
from promptopt.golden.golden_set import GoldenSet
from promptopt.policy.model import Policy
from promptopt.scores.store import ScoreStore
from promptopt.search.blocks import demo_pool
from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import SearchConfig
from promptopt.search.evaluation import Evaluator
from promptopt.search.evaluators import Evaluators
from promptopt.search.judging import StoredJudge
from promptopt.search.lockstep_sweep import LockstepSweep
from promptopt.search.space import SearchSpace
from promptopt.search.study import SweepStudy
from promptopt.search.sweep import Sweep


@pytest.fixture(scope="session")
def policy():
    """V1 and V2 violate, V3 permits."""
    clause = {"title": "t", "definition": "d", "includes": ["a"], "excludes": ["b"]}
    return Policy.model_validate(
        {
            "schema_version": 1,
            "domain": "toy",
            "title": "Toy",
            "version": "1.0.0",
            "language": "en",
            "purpose": "p",
            "question": "Does the text violate the policy?",
            "summary": "No hate, no threats.",
            "clauses": [
                {"id": "V1", "severity": 2, "action": "remove", "question": "Is it hate?", **clause},
                {"id": "V2", "severity": 3, "action": "remove", "question": "Is it a threat?", **clause},
                {"id": "V3", "severity": 0, "action": "allow", "question": "Is it news?", **clause},
            ],
            "precedence": ["V2", "V1"],
            "routing": [
                {"id": "R1", "when": {"any": ["V1", "V2"], "none": ["V3"]}, "then": "violation"},
                {"id": "R2", "when": {}, "then": "allowed"},
            ],
        }
    )


def _make_case(number, violation, *, text=None, clause="?", **other):
    words = hashlib.sha256(str(number).encode()).hexdigest()
    if clause == "?":
        clause = (("V1", "V2") if violation else ("V3", None))[number // 2 % 2]
    signal = "hate kill" if violation else "nice"
    return GoldenCase(
        id=f"c{number:03d}",
        text=text or f"{signal} {words[:8]} {words[8:16]}",
        label="violation" if violation else "allowed",
        clause=clause,
        severity={"V1": 2, "V2": 3}.get(clause, 1) if violation else 0,
        **{"group": f"g{number // 3:03d}", **other},
    )


@pytest.fixture(scope="session")
def make_case():
    """A golden case from its number and label; every third one opens a new group."""
    return _make_case


@pytest.fixture(scope="session")
def golden():
    """60 search, 36 calibration and 36 test cases, half of them violations, two thirds of them in contrast pairs."""
    cases = []
    for number in range(132):
        split = Split.SEARCH if number < 60 else Split.CALIBRATION if number < 96 else Split.TEST
        alone = number % 3 == 2  # the first two cases of a group are the halves of a contrast pair
        violation = number % 2 == 0 if alone else number % 3 == 0
        kind = CaseKind.PLAIN if alone else CaseKind.CONTRAST
        pair = None if alone else f"pair{number // 3}"
        cases.append(_make_case(number, violation, split=split, kind=kind, pair=pair))
    return GoldenSet(name="toy", domain="toy", cases=tuple(cases))


SPACE = {
    "shapes": ["direct", "checklist"],
    "aggregates": ["routing", "strongest"],
    "policies": ["none", "summary", "full"],
    "instructions": {"plain": "Apply {title}.", "strict": "Report all."},
    "label_words": {
        "yes_no": {"violation": "yes", "allowed": "no"},
        "bad_good": {"violation": "bad", "allowed": "good"},
    },
    "quotings": ["quotes", "tags"],
    "placements": ["item_first", "question_first"],
    "demos": {"counts": [0, 2], "choices": ["balanced", "contrast"], "draws": 2},
    "seed": {"shape": "direct", "policy": "summary", "instruction": "plain"},
}


@pytest.fixture(scope="session")
def make_space():
    """The space with some of its keys replaced."""

    def make(**changes):
        return SearchSpace.model_validate(SPACE | changes)

    return make


@dataclass
class Watcher:
    """Remembers what a sweep told."""

    started: list = field(default_factory=list)
    finished: list = field(default_factory=list)
    blocks: list = field(default_factory=list)

    def trial_started(self, number, candidate):
        self.started.append((number, candidate.digest))

    def trial_finished(self, record, records):
        assert records[-1] == record
        self.finished.append(record)

    def race_block(self, race, candidates, cases, of_cases):
        self.blocks.append((race, candidates, cases, of_cases))


@pytest.fixture(scope="session")
def make_watcher():
    return Watcher


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def open_sweep(tmp_path, open_sweep_in):
    """Opens the parts of a sweep in a folder of its name; opening it again resumes it."""

    def make(name="sweep", engine=None, **config):
        return open_sweep_in(tmp_path / name, name, engine, **config)

    return make


@pytest.fixture(scope="session")
def open_sweep_in(policy, golden, make_space):
    """As ``open_sweep``, in any folder."""
    opened = []

    def make(folder, name="sweep", engine=None, space=None, seed=0, cases=None, proposers=None, **config):
        engine = engine or FakeEngine()
        space = space or make_space()
        config = SearchConfig.model_validate(
            {"racing": {"blocks": [16]}, "sampler": {"startup": 4}, "demo_pool": 9, **config}
        )
        store = ScoreStore(f"sqlite:///{folder / 'scores.db'}")
        opened.append(store)
        pool, search_cases = demo_pool(cases or golden.split(Split.SEARCH), config.demo_pool, seed)
        study = SweepStudy(
            name,
            f"sqlite:///{folder / 'study.db'}",
            space,
            identity={"space": space.digest},
            directions=config.objective.directions,
            sampler=config.sampler,
            seed=seed,
        )
        maker = CandidateMaker(policy, space, pool)
        judge = StoredJudge(engine, store, name)
        evaluator = Evaluator(judge, engine, config.objective)
        evaluators = Evaluators.one(evaluator)
        parts = (study, maker, evaluators, judge, search_cases, config, seed)
        sweep = LockstepSweep(*parts, proposers) if config.racing.rule == "lockstep" else Sweep(*parts)
        return SimpleNamespace(
            sweep=sweep,
            study=study,
            store=store,
            maker=maker,
            evaluator=evaluator,
            evaluators=evaluators,
            judge=judge,
            engine=engine,
            pool=pool,
            cases=search_cases,
            config=config,
            space=space,
        )

    yield make
    for store in opened:
        store.close()
