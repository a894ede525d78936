from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptopt.engines.base import GenerationRequest, JudgeEngine, LabelQuery, LabelScores, Segment
from promptopt.engines.fake import FakeEngine
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.engines.ray.engine import RayEngine, RayEngineSettings
from promptopt.errors import ConfigError, EngineError, LabelSetError
from promptopt.judges.config import JudgeConfig, RayOptions
from promptopt.judges.factory import open_engine
from promptopt.testing import engine as kit

ray = pytest.importorskip("ray", reason="needs promptopt[ray]")
pytestmark = pytest.mark.slow
TWO = RayEngineSettings(actors=2)
POLICIES = [f"Policy {i}: nobody may be threatened." for i in range(6)]


class _Fatal(FakeEngine):
    """A fake engine whose process ends on a text with a certain word, and that can tell where it runs.

    Args:
        folder: Where each process notes what it was asked.
        once: It ends only the first time in all processes.
        never_opens: It ends when it is opened.
    """

    def __init__(self, folder: Path | None = None, once: bool = False, word: str = "fatal", delay: float = 0.0) -> None:
        super().__init__(delay=delay)
        self._folder, self._once, self._word = folder, once, word

    def score(self, queries):  # type: ignore[no-untyped-def]
        if any(self._word in s.text for q in queries for s in q.segments):
            marker = self._folder / "died" if self._once and self._folder else None
            if marker is None or not marker.exists():
                if marker is not None:
                    marker.touch()
                os._exit(1)
        if self._folder is not None:
            with (self._folder / str(os.getpid())).open("a", encoding="utf-8") as notes:
                notes.writelines(q.segments[0].text + "\n" for q in queries)
        return super().score(queries)


def _open_refused() -> JudgeEngine:
    raise EngineError("the weights are torn", where="judge.model", remedy="download them again")


def _open_broken() -> JudgeEngine:
    raise RuntimeError("no such device")


def _open_one_of_two(folder: Path) -> JudgeEngine:
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        return FakeEngine(seed=2)
    return FakeEngine(seed=1)


def _open_dying() -> JudgeEngine:
    os._exit(1)


def _open_local(folder: Path) -> JudgeEngine:
    return LocalEngine(LocalEngineSettings(str(folder), device="cpu", dtype="float32", batch_tokens=96))


class _Threads(FakeEngine):
    """A fake engine whose card tells how many threads its process computes with."""

    def describe(self):  # type: ignore[no-untyped-def]
        import torch

        threads = f"{os.environ['OMP_NUM_THREADS']} {torch.get_num_threads()}"
        return replace(super().describe(), versions={"threads": threads})


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cluster for the module; the functions and classes above travel by value."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        patch.setenv("PROMPTOPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield
        ray.shutdown()


@pytest.fixture
def start() -> Iterator[Callable[..., RayEngine]]:
    """Opens Ray engines that are closed after the test."""
    opened = []

    def start(open_engine: Callable[[], JudgeEngine], settings: RayEngineSettings = TWO) -> RayEngine:
        opened.append(RayEngine(open_engine, settings))
        return opened[-1]

    yield start
    for engine in opened:
        engine.close()


@pytest.fixture(scope="module")
def fakes(cluster: None) -> Iterator[RayEngine]:
    engine = RayEngine(FakeEngine, TWO)
    yield engine
    engine.close()


def _queries(count: int, policies: list[str] = POLICIES[:1]) -> list[LabelQuery]:
    return [query for policy in policies for query in (kit.query(f"text {i} you", policy=policy) for i in range(count))]


def _same(found: LabelScores, queries: list[LabelQuery]) -> None:
    """The scores are those of an undisturbed engine and every query was counted once."""
    expected = FakeEngine().score(queries)
    assert np.array_equal(found.logprobs, expected.logprobs, equal_nan=True)
    assert not found.unjudged
    assert found.usage.queries == len(queries)
    assert found.usage.tokens_submitted == expected.usage.tokens_submitted


@pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)
def test_fake_engines_in_actors_conform(check: kit.Check, fakes: RayEngine) -> None:
    check(fakes, 0.0)


def test_a_model_in_actors_conforms_and_scores_as_it_does_here(
    llama_folder: Path, start: Callable[..., RayEngine]
) -> None:
    engine = start(partial(_open_local, llama_folder))
    kit.check_engine(engine, 1e-4)
    here = _open_local(llama_folder)
    assert engine.describe() == here.describe()
    queries = _queries(40, POLICIES[:3])
    scores, expected = engine.score(queries), here.score(queries)
    assert np.abs(np.exp(scores.logprobs) - np.exp(expected.logprobs)).max() <= 1e-4
    assert scores.usage.tokens_submitted == expected.usage.tokens_submitted
    assert scores.usage.model_seconds > 0


def test_rows_come_in_order(fakes: RayEngine) -> None:
    queries = _queries(150, POLICIES)
    order = np.random.default_rng(1).permutation(len(queries))
    _same(fakes.score([queries[i] for i in order]), [queries[i] for i in order])


def test_label_sets_and_unjudged_rows_keep_their_places(start: Callable[..., RayEngine]) -> None:
    open_fake = partial(FakeEngine, unjudged_words=("oops",))
    queries = [
        replace(q, labels=("a", "b", "c") if i % 3 else ("a", "b"))
        for i, q in enumerate(kit.query(f"{'oops' if i % 7 == 0 else 'text'} {i}") for i in range(90))
    ]
    found, expected = start(open_fake).score(queries), open_fake().score(queries)
    assert np.array_equal(found.logprobs, expected.logprobs, equal_nan=True)
    assert found.unjudged == expected.unjudged
    kit.check_unjudged(found, expected.unjudged)


def test_texts_are_written_in_order(fakes: RayEngine) -> None:
    requests = [
        GenerationRequest((Segment("user", f"write {i}"),), max_tokens=3, temperature=1.0, seed=i) for i in range(11)
    ]
    assert fakes.generate(requests) == FakeEngine().generate(requests)
    assert fakes.generate([]) == []


def _prompts_by_process(folder: Path) -> dict[str, set[str]]:
    return {path.name: set(path.read_text().splitlines()) for path in folder.iterdir() if path.name.isdigit()}


def test_a_prompt_stays_with_its_actor_and_prompts_use_all_actors(
    tmp_path: Path, start: Callable[..., RayEngine]
) -> None:
    engine = start(partial(_Fatal, tmp_path))
    for policy in (*POLICIES, *POLICIES[::-1]):
        engine.score(_queries(4, [policy]))
    seen = _prompts_by_process(tmp_path)
    assert len(seen) == 2
    assert [len(prompts) for prompts in seen.values()] == [3, 3]
    assert not set.intersection(*seen.values())


def test_one_prompt_with_many_cases_uses_all_actors(tmp_path: Path, start: Callable[..., RayEngine]) -> None:
    engine = start(partial(_Fatal, tmp_path, delay=0.001))
    _same(engine.score(_queries(300)), _queries(300))
    lines = [len(path.read_text().splitlines()) for path in tmp_path.iterdir()]
    assert len(lines) == 2
    assert min(lines) > 75


def test_an_engine_that_dies_once_changes_no_result(tmp_path: Path, start: Callable[..., RayEngine]) -> None:
    queries = [*_queries(60, POLICIES[:2]), kit.query("fatal you", policy=POLICIES[0])]
    engine = start(partial(_Fatal, tmp_path, once=True))
    before = engine.actors
    _same(engine.score(queries), queries)
    assert (tmp_path / "died").exists()
    assert sum(a != b for a, b in zip(before, engine.actors, strict=True)) == 1
    _same(engine.score(queries), queries)


@pytest.mark.parametrize("victims", [(0,), (0, 1)], ids=["one", "all"])
def test_actors_killed_in_the_middle_of_a_call_change_no_result(
    victims: tuple[int, ...], start: Callable[..., RayEngine]
) -> None:
    queries = _queries(150, POLICIES[:2])
    engine = start(partial(FakeEngine, delay=0.005))
    before = engine.actors

    def kill() -> None:
        time.sleep(0.4)
        for victim in victims:
            ray.kill(before[victim])

    killer = threading.Thread(target=kill)
    killer.start()
    found = engine.score(queries)
    killer.join()
    _same(found, queries)
    assert [i for i in range(2) if engine.actors[i] != before[i]] == list(victims)


def test_an_actor_killed_between_calls_is_replaced(start: Callable[..., RayEngine]) -> None:
    engine = start(FakeEngine, RayEngineSettings(actors=1))
    ray.kill(engine.actors[0])
    _same(engine.score(_queries(5)), _queries(5))
    ray.kill(engine.actors[0])
    counted, expected = engine.count_tokens(_queries(5)), FakeEngine().count_tokens(_queries(5))
    assert counted == expected


@pytest.mark.parametrize("actors", [1, 2])
def test_texts_that_kill_are_unjudged_and_their_neighbours_judged(actors: int, start: Callable[..., RayEngine]) -> None:
    queries = _queries(6)
    queries[1:3] = [kit.query("fatal one", policy=POLICIES[0]), kit.query("fatal two", policy=POLICIES[0])]
    found = start(_Fatal, RayEngineSettings(actors=actors, replacements=2)).score(queries)
    kit.check_unjudged(found, {1, 2})
    assert set(found.unjudged.values()) == {"the actor died on this text"}
    kept = [0, 3, 4, 5]
    expected = FakeEngine().score([queries[i] for i in kept]).logprobs
    assert np.array_equal(found.logprobs[kept], expected)
    assert found.usage.queries == len(kept)


def test_an_engine_that_dies_of_everything_is_given_up(start: Callable[..., RayEngine]) -> None:
    engine = start(partial(_Fatal, word="Policy"), RayEngineSettings(actors=1, replacements=2))
    with pytest.raises(EngineError, match=r"3 Ray actors died in a row and nothing was computed"):
        engine.score(_queries(40))


def test_an_engine_that_dies_when_it_is_opened_is_given_up() -> None:
    with pytest.raises(EngineError, match=r"3 Ray actors died in a row"):
        RayEngine(_open_dying, RayEngineSettings(actors=1, replacements=2))


def test_a_refusal_to_open_comes_out_as_it_was_raised() -> None:
    with pytest.raises(EngineError) as caught:
        RayEngine(_open_refused, TWO)
    assert type(caught.value) is EngineError
    assert str(caught.value) == "judge.model: the weights are torn; download them again."
    assert (caught.value.where, caught.value.remedy) == ("judge.model", "download them again")


def test_any_other_failure_to_open_is_one_sentence() -> None:
    with pytest.raises(EngineError, match=r"could not open its engine \(RuntimeError: no such device\)") as caught:
        RayEngine(_open_broken, TWO)
    assert "\n" not in str(caught.value)


def test_user_errors_come_out_as_themselves_and_the_engine_goes_on(fakes: RayEngine) -> None:
    queries = _queries(80)
    with pytest.raises(LabelSetError) as caught:
        fakes.score([*queries, replace(queries[0], labels=("no", "no way"))])
    assert type(caught.value) is LabelSetError
    with pytest.raises(LabelSetError) as expected:
        FakeEngine().score([replace(queries[0], labels=("no", "no way"))])
    assert str(caught.value) == str(expected.value)
    _same(fakes.score(queries), queries)


def test_actors_that_host_different_judges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"different judges: weights_digest"):
        RayEngine(partial(_open_one_of_two, tmp_path), TWO)


def test_actors_that_find_no_room_are_refused() -> None:
    with pytest.raises(EngineError, match=r"2 of 2 Ray actors were not ready .*CPUs"):
        RayEngine(FakeEngine, RayEngineSettings(actors=2, cpus_per_actor=50, open_seconds=1.5))
    with pytest.raises(EngineError, match=r"GPUs"):
        RayEngine(FakeEngine, RayEngineSettings(actors=2, gpus_per_actor=1))


def test_actors_compute_with_the_threads_that_they_reserve(start: Callable[..., RayEngine]) -> None:
    engine = start(_Threads, RayEngineSettings(actors=1, cpus_per_actor=3))
    assert engine.describe().versions["threads"].startswith("3 ")


def _call_until_it_is_dead(handle: Any, seconds: float = 30.0) -> None:
    """``ray.kill`` does not wait: an actor may serve another call before it dies."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ray.get(handle.call.remote("score", []), timeout=seconds)
        time.sleep(0.05)


def test_close_ends_the_actors_and_leaves_a_cluster_that_others_started() -> None:
    engine = RayEngine(FakeEngine, TWO)
    handles = engine.actors
    engine.close()
    engine.close()
    assert ray.is_initialized()
    for handle in handles:
        with pytest.raises(ray.exceptions.RayActorError):
            _call_until_it_is_dead(handle)
    with pytest.raises(EngineError, match="closed"):
        engine.score(_queries(1))


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'promptopt\[ray\]'"):
        RayEngine(FakeEngine, TWO)


def test_a_judge_in_the_configuration_opens_actors() -> None:
    engine = open_engine(JudgeConfig(name="mine", engine="ray", ray=RayOptions(engine="fake", actors=1)))
    try:
        assert isinstance(engine, RayEngine)
        assert engine.describe() == FakeEngine().describe()
        _same(engine.score(_queries(3)), _queries(3))
    finally:
        engine.close()
    with pytest.raises(ConfigError, match="names no model"):
        open_engine(JudgeConfig(name="mine", engine="ray", ray=RayOptions(actors=1)))


_OWN_CLUSTER = """
import ray
from promptopt.engines.fake import FakeEngine
from promptopt.engines.ray.engine import RayEngine, RayEngineSettings
from promptopt.testing.engine import query

first = RayEngine(FakeEngine, RayEngineSettings(actors=2))
second = RayEngine(FakeEngine, RayEngineSettings())
first.close()
assert ray.is_initialized()
assert not second.score([query("text")]).unjudged
second.close()
assert not ray.is_initialized()
third = RayEngine(FakeEngine, RayEngineSettings(actors=1))
third.close()
print("quiet")
"""


def test_a_cluster_of_ones_own_is_quiet_and_is_stopped_by_the_last_engine() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-c", _OWN_CLUSTER]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("quiet\n", "")
