from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.forward import BATCHED_MODEL_TYPES, SharedPrefixForward, supports_trees
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.engines.padded import PaddedForward
from promptopt.errors import EngineError, LabelSetError
from promptopt.testing.engine import check_unjudged, query
from promptopt.testing.tiny_model import ARCHITECTURES, save_tiny_model

LONG_POLICY = " ".join(f"Rule {i}: nobody may be threatened in the way number {i}." for i in range(24))
TEXTS = ["short", "a somewhat longer text about the weather and the road", "", "I will find you. " * 6]
LABELS = [("violates", "allowed"), ("breaks the rule", "breaks no rule", "unsure")]


def load(folder: Path) -> LoadedModel:
    return load_model(str(folder), revision="", device=torch.device("cpu"), dtype=torch.float32)


def _mixed_queries(policies: tuple[str, ...] = ("Judge.", LONG_POLICY)) -> list[LabelQuery]:
    """Direct questions and checklists that share cases, with label sets of one and of several tokens."""
    asks = ("\nAnswer.", "\nDoes rule 1 apply?", "\nDoes rule 2 apply? Think of exceptions.")
    return [query(t, labels, p, ask) for p in policies for t in TEXTS for ask in asks for labels in LABELS]


def _probabilities(engine: LocalEngine, queries: list[LabelQuery]) -> np.ndarray:
    scores = engine.score(queries)
    assert not scores.unjudged
    return np.exp(scores.logprobs.astype(np.float64))


@pytest.fixture(scope="module")
def reference(llama_folder: Path) -> np.ndarray:
    settings = LocalEngineSettings(str(llama_folder), device="cpu", dtype="float32", packed=False)
    return _probabilities(LocalEngine(settings), _mixed_queries())


@pytest.mark.parametrize("batch_tokens", [16, 200, 4096])
def test_packed_equals_padded(
    batch_tokens: int, make_engine: Callable[..., LocalEngine], reference: np.ndarray
) -> None:
    engine = make_engine(batch_tokens=batch_tokens)
    assert isinstance(engine._forward, SharedPrefixForward)
    found = _probabilities(engine, _mixed_queries())
    assert np.abs(found - reference).max() <= 1e-4
    assert np.ptp(found[::2, 0]) > 0.1, "a model that answers everything alike would prove nothing"


def test_a_prefix_cache_that_holds_nothing_changes_nothing(
    make_engine: Callable[..., LocalEngine], reference: np.ndarray
) -> None:
    engine = make_engine(prefix_cache_mib=0)
    queries = _mixed_queries()
    first = _probabilities(engine, queries)
    again = _probabilities(engine, queries)
    assert np.abs(first - reference).max() <= 1e-4
    assert np.array_equal(first, again), "prefix values depend on what was cached"


def test_a_kept_prefix_is_not_computed_again(make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine()
    queries = [query(text, policy=LONG_POLICY) for text in TEXTS]
    first, second = engine.score(queries).usage, engine.score(queries).usage
    counted = engine.count_tokens(queries)
    assert first.tokens_computed == counted.prefix + counted.marginal
    assert second.tokens_computed == counted.marginal
    assert second.tokens_submitted == first.tokens_submitted > len(TEXTS) * counted.prefix
    assert second.queries == len(TEXTS)
    assert second.seconds >= second.model_seconds > 0


def _variants(shared: int, own: int, count: int, one_segment: bool) -> list[LabelQuery]:
    """Prompts that begin alike, about two cases each; in one segment, or parting where a segment ends."""
    common = " ".join(f"rule {i}" for i in range(shared))
    out = []
    for v in range(count):
        rest = " ".join(f"way {(v * 7 + i) % 100}" for i in range(own))
        parts = [f"{common} {rest}"] if one_segment else [common, f" {rest}"]
        system = tuple(Segment("system", part) for part in parts)
        out += [LabelQuery((*system, *query(text).segments[1:]), LABELS[0]) for text in TEXTS[:2]]
    return out


@pytest.mark.parametrize("one_segment", [True, False])
def test_variants_compute_what_they_share_once(one_segment: bool, make_engine: Callable[..., LocalEngine]) -> None:
    queries = _variants(90, 30, 32, one_segment)
    engine = make_engine()
    prompts = [[t for s in engine._tokens.stretches(q.segments) for t in s.ids] for q in queries]
    edges = len({tuple(p[:n]) for p in prompts for n in range(1, len(p) + 1)})
    scores = engine.score(queries)
    assert edges <= scores.usage.tokens_computed <= 1.03 * edges
    plain = make_engine(packed=False).score(queries)
    assert np.abs(np.exp(scores.logprobs) - np.exp(plain.logprobs)).max() <= 1e-4
    assert np.ptp(np.exp(scores.logprobs[:, 0])) > 0.05, "prompts that all score alike would prove nothing"


def test_prompts_in_one_call_score_as_they_do_alone_and_stay_resident(make_engine: Callable[..., LocalEngine]) -> None:
    queries = _variants(60, 40, 6, True)
    engine = make_engine(batch_tokens=64)
    together = engine.score(queries)
    assert engine.score(queries).usage.tokens_computed == engine.count_tokens(queries).marginal
    alone = np.concatenate([make_engine().score(queries[i : i + 2]).logprobs for i in range(0, 12, 2)])
    assert np.abs(np.exp(together.logprobs) - np.exp(alone)).max() <= 1e-4


def test_a_prompt_on_its_own_scores_the_same_to_the_bit_whatever_was_cached(
    make_engine: Callable[..., LocalEngine],
) -> None:
    queries = [_variants(60, 40, 6, False)[i : i + 2] for i in range(0, 12, 2)]
    engine = make_engine()
    forwards = [engine.score(q).logprobs for q in queries]
    other = make_engine()
    backwards = [other.score(q).logprobs for q in queries[::-1]][::-1]
    assert np.array_equal(np.concatenate(forwards), np.concatenate(backwards))


def test_questions_about_one_case_share_it(make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine()
    text = "one long text about the weather " * 8
    asks = [f"\nDoes rule {i} apply?" for i in range(6)]
    together = engine.count_tokens([query(text, ask=ask) for ask in asks])
    alone = [engine.count_tokens([query(text, ask=ask)]) for ask in asks]
    case = engine.count_tokens([query(text)]).marginal - engine.count_tokens([query("")]).marginal
    assert together.marginal <= sum(count.marginal for count in alone) - 5 * case


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_architectures(kind: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / kind, kind)
    settings = LocalEngineSettings(str(folder), device="cpu", dtype="float32", batch_tokens=300)
    queries = _mixed_queries(("Judge.",))[2:14]
    engine = LocalEngine(settings)
    assert isinstance(engine._forward, SharedPrefixForward if kind in BATCHED_MODEL_TYPES else PaddedForward)
    found = _probabilities(engine, queries)
    model = load(folder).model
    expected = np.stack([_full_logits_answer(model, engine, q) for q in queries])
    assert np.abs(found - expected).max() <= 1e-4


def _full_logits_answer(model: Any, engine: LocalEngine, q: LabelQuery) -> np.ndarray:
    """Label probabilities from whole-vocabulary logits of one unshared sequence per label, as textbooks have it."""
    prompt = [token for stretch in engine._tokens.stretches(q.segments) for token in stretch.ids]
    labels = engine._tokens.label_ids(q.labels)
    out = np.zeros(3)
    for i, label in enumerate(labels):
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *label]])).logits[0, len(prompt) - 1 :].double()
        p, rest = 1.0, list(labels)
        for depth, token in enumerate(label):
            options = sorted({other[depth] for other in rest if len(other) > depth})
            p *= float(torch.softmax(logits[depth, options], 0)[options.index(token)])
            rest = [other for other in rest if other[depth] == token]
        out[i] = p
    return out


def test_architectures_whose_attention_is_not_plain_take_the_padded_path(tmp_path: Path) -> None:
    windowed = load(save_tiny_model(tmp_path / "windowed", "mistral", sliding_window=64)).model
    assert not supports_trees(windowed)
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert not supports_trees(load(save_tiny_model(tmp_path / "dynamic", "llama", rope_parameters=rope)).model)


def test_labels_that_begin_alike_for_the_tokenizer_are_refused(make_engine: Callable[..., LocalEngine]) -> None:
    with pytest.raises(LabelSetError, match=r"cannot tell label 'violates' .*do not begin alike"):
        make_engine().score([query("text", ("violates", "violates the rule"))])


def test_order_of_labels_does_not_matter(make_engine: Callable[..., LocalEngine]) -> None:
    labels = ("breaks the rule", "breaks no rule", "unsure")
    p = _probabilities(make_engine(), [query("text", labels, ask="?"), query("text", labels[::-1], ask="?")])
    assert np.abs(p[0] - p[1, ::-1]).max() <= 1e-6


def test_long_texts_lose_their_middle_and_say_so(make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine(max_item_tokens=40)
    head, tail = "The road was dry. " * 30, " and back before supper" * 9
    scores = engine.score([query(head + "x" * 50 + tail), query(head + "y" * 50 + tail), query("short")])
    assert set(scores.dropped_tokens) == {0, 1}
    assert np.array_equal(scores.logprobs[0], scores.logprobs[1]), "the middle was not dropped"
    whole = make_engine().score([query(head + tail)])
    assert not np.allclose(scores.logprobs[0], whole.logprobs[0])
    assert engine.describe().fingerprint != make_engine().describe().fingerprint


def test_long_texts_can_be_left_unjudged(make_engine: Callable[..., LocalEngine]) -> None:
    scores = make_engine(max_item_tokens=10, too_long="unjudged").score([query("short"), query("long " * 50)])
    check_unjudged(scores, {1})
    assert "more than 10" in scores.unjudged[1]


def test_texts_longer_than_the_context_are_truncated_to_it(make_engine: Callable[..., LocalEngine]) -> None:
    scores = make_engine().score([query("weather " * 3000)])
    check_unjudged(scores, ())
    assert scores.dropped_tokens[0] > 1000


def test_a_prompt_longer_than_the_context_is_unjudged(make_engine: Callable[..., LocalEngine]) -> None:
    scores = make_engine().score([query("fine"), query("text", policy=LONG_POLICY * 3)])
    check_unjudged(scores, {1})
    assert "1024 tokens" in scores.unjudged[1]


def test_weights_that_are_not_numbers_give_unjudged_rows(tmp_path: Path, llama_folder: Path) -> None:
    loaded = load(llama_folder)
    with torch.inference_mode():
        loaded.model.get_output_embeddings().weight[:] = float("nan")
    scores = LocalEngine(LocalEngineSettings("x", device="cpu"), loaded).score([query("a"), query("b")])
    check_unjudged(scores, {0, 1})
    assert "not finite" in scores.unjudged[0]


def test_nan_in_one_row_stays_there(llama_folder: Path, make_engine: Callable[..., LocalEngine]) -> None:
    loaded = load(llama_folder)
    poison = loaded.tokenizer("Q", add_special_tokens=False)["input_ids"]
    assert len(poison) == 1
    with torch.inference_mode():
        loaded.model.get_input_embeddings().weight[poison[0]] = float("nan")
    engine = LocalEngine(LocalEngineSettings("x", device="cpu"), loaded)
    queries = [query("Q"), query("a longer text than the first"), query("b Q and more"), query("c")]
    scores = engine.score(queries)
    check_unjudged(scores, {0, 2})
    clean = make_engine().score([queries[1], queries[3]])
    assert np.allclose(scores.logprobs[[1, 3]], clean.logprobs, atol=1e-5)


def test_running_out_of_memory_halves_the_batch(
    make_engine: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    queries = [query(f"text number {i}") for i in range(9)] + [query("too big " * 40)]
    expected = engine.score(queries).logprobs
    real = engine._forward.hidden

    def hidden(batch: Any) -> torch.Tensor:
        trees = [tree for rows in batch for tree in rows.trees]
        if len(trees) > 2 or max(map(len, trees)) > 60:
            raise torch.OutOfMemoryError("no memory")
        return real(batch)

    monkeypatch.setattr(engine._forward, "hidden", hidden)
    scores = engine.score(queries)
    check_unjudged(scores, {9})
    assert np.allclose(scores.logprobs[:9], expected[:9], atol=1e-5)
    assert engine.batch_tokens < 512, "the next call would run out of memory again"


def test_models_without_a_system_turn_get_it_in_the_user_turn(make_engine: Callable[..., LocalEngine]) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    with pytest.raises(EngineError, match="system_role=false"):
        make_engine(chat_template=template).score([query("text")])
    folded = make_engine(chat_template=template, system_role=False)
    joined = query("text").segments
    by_hand = LabelQuery((Segment("user", joined[0].text + "\n\n"), *joined[1:]), ("violates", "allowed"))
    scores = folded.score([query("text"), by_hand])
    assert np.array_equal(scores.logprobs[0], scores.logprobs[1])


def test_closing_twice_is_harmless(make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine()
    engine.close()
    engine.close()
    assert engine.describe().model == "tiny-llama"


def test_the_card_names_the_same_model_wherever_it_lies(
    tmp_path: Path, llama_folder: Path, make_engine: Callable[..., LocalEngine]
) -> None:
    copy = Path(shutil.copytree(llama_folder, tmp_path / "elsewhere" / "tiny-llama"))
    there = LocalEngine(LocalEngineSettings(str(copy), device="cpu", dtype="float32"))
    assert there.describe() == make_engine().describe()
    assert make_engine(answer_prefix="So: ").describe().fingerprint != there.describe().fingerprint
