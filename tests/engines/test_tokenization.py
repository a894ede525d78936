from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from promptopt.engines.base import Segment
from promptopt.engines.tokenization import SegmentTokenizer, without_system_role
from promptopt.errors import EngineError, LabelSetError
from promptopt.testing.tiny_model import SPECIAL_TOKENS, train_tiny_tokenizer

TOKENIZER = train_tiny_tokenizer()
PLAIN = SegmentTokenizer(TOKENIZER)
SPECIAL_IDS = set(TOKENIZER.all_special_ids)


def _case(text: str) -> list[Segment]:
    return [Segment("system", "Judge."), Segment("user", "Text: "), Segment("user", text, from_case=True)]


def _case_ids(tokens: SegmentTokenizer, text: str) -> tuple[int, ...]:
    return next(s.ids for s in tokens.stretches(_case(text)) if s.from_case)


@given(st.lists(st.one_of(st.sampled_from([*SPECIAL_TOKENS, "system", "\n", " ", "<|", "|>"]), st.text()), max_size=8))
def test_a_case_never_becomes_a_special_token(pieces: list[str]) -> None:
    text = "".join(pieces).encode("utf-8", "ignore").decode()
    ids = _case_ids(PLAIN, text)
    assert SPECIAL_IDS.isdisjoint(ids)
    assert TOKENIZER.decode(ids) == text


def test_the_templates_own_markup_is_special() -> None:
    stretches = PLAIN.stretches(_case("<|im_end|>"))
    whole = [token for s in stretches for token in s.ids]
    assert [t for t in whole if t in SPECIAL_IDS] == TOKENIZER.convert_tokens_to_ids(
        ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|im_start|>"]
    )
    assert TOKENIZER.decode(whole).endswith("Text: <|im_end|><|im_end|>\n<|im_start|>assistant\n")


def test_prompts_are_plain_text_too() -> None:
    stretches = PLAIN.stretches([Segment("user", "Explain <|im_start|>.")])
    assert SPECIAL_IDS.isdisjoint(stretches[1].ids)


def test_markup_that_is_an_ordinary_added_token_stays_text() -> None:
    tokenizer = train_tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("</think>", special=False), AddedToken("[/INST]", special=False)])
    assert len(tokenizer("</think>", add_special_tokens=False)["input_ids"]) == 1
    tokens = SegmentTokenizer(tokenizer)
    assert len(_case_ids(tokens, "</think>")) > 1
    assert len(_case_ids(tokens, "[/INST]")) > 1
    assert tokenizer.decode(_case_ids(tokens, "a </think> b")) == "a </think> b"


def test_markup_that_the_vocabulary_itself_holds_is_broken_up() -> None:
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("<s>", -1.0), *((c, -2.0) for c in "<s> abc")], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", chat_template="x")
    assert backend.encode("<s>").ids == [1], "this vocabulary does not show the danger"
    ids = SegmentTokenizer(tokenizer)._plain("a <s> b")
    assert 1 not in ids
    assert len(ids) >= 5


def test_markup_written_in_the_template_as_plain_text_is_broken_up_in_cases() -> None:
    template = "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
    tokens = SegmentTokenizer(TOKENIZER, template, answer_prefix="<score> ")
    decoded = TOKENIZER.decode(_case_ids(tokens, "a [/INST] b <score> c [other]"))
    assert decoded == "a [ /INST] b < score> c [other]"
    prompt = tokens.stretches([Segment("user", "Mind the [/INST] marker.")])
    assert "[/INST] marker" in TOKENIZER.decode([t for s in prompt for t in s.ids])


def test_equal_leading_segments_give_equal_tokens() -> None:
    a, b = PLAIN.stretches(_case("one")), PLAIN.stretches(_case("another text"))
    first = next(i for i, s in enumerate(a) if s.from_case)
    assert a[:first] == b[:first]
    assert a[first + 1 :] == b[first + 1 :]


def test_an_empty_case_keeps_its_place() -> None:
    assert [s.ids for s in PLAIN.stretches(_case("")) if s.from_case] == [()]


def test_the_answer_prefix_follows_the_opening_of_the_judges_turn() -> None:
    tokens = SegmentTokenizer(TOKENIZER, answer_prefix="<think>\n\n</think>\n\n")
    assert TOKENIZER.decode(tokens.stretches(_case("x"))[-1].ids).endswith("assistant\n<think>\n\n</think>\n\n")


def test_a_space_at_the_end_of_the_answer_prefix_goes_to_the_labels() -> None:
    tokens = SegmentTokenizer(TOKENIZER, answer_prefix="<score> ")
    assert TOKENIZER.decode(tokens.stretches(_case("x"))[-1].ids).endswith("<score>")
    assert tokens.label_ids(("yes", "no")) == PLAIN.label_ids((" yes", " no")) != PLAIN.label_ids(("yes", "no"))


@pytest.mark.parametrize("labels", [("no", "no"), ("no", "no way"), ("no",), (), ("", "no")])
def test_label_sets_that_cannot_be_told_apart(labels: tuple[str, ...]) -> None:
    with pytest.raises(LabelSetError):
        PLAIN.label_ids(labels)


def test_dates_in_templates_stand_still() -> None:
    template = (
        "{% macro opening() %}{{ strftime_now('%Y-%m-%d') }}, {{ strftime_now('%B %d') }}{% endmacro %}"
        "{{ opening() }}, {{ date_string }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    stretches = SegmentTokenizer(TOKENIZER, template).stretches(_case("x"))
    assert TOKENIZER.decode(stretches[0].ids) == "2025-01-01, January 01, 01 Jan 2025"


def test_templates_that_drop_or_repeat_turns_are_refused() -> None:
    for template in ("{{ messages[-1].content }}", "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"):
        with pytest.raises(EngineError, match="shows the turns"):
            SegmentTokenizer(TOKENIZER, template).stretches(_case("x"))


def test_template_mistakes_are_one_sentence() -> None:
    with pytest.raises(EngineError, match=r"refuses the turns \['system', 'user'\].*judge\.chat_template"):
        SegmentTokenizer(TOKENIZER, "{% for %}").stretches(_case("x"))


def test_named_templates_have_a_default() -> None:
    tokenizer = train_tiny_tokenizer()
    tokenizer.chat_template = {"default": "{% for m in messages %}{{ m.content }}{% endfor %}", "tools": "x"}
    assert SegmentTokenizer(tokenizer).chat_template == tokenizer.chat_template["default"]


def test_lone_surrogates_are_reported() -> None:
    with pytest.raises(UnicodeEncodeError):
        PLAIN.stretches(_case("broken \ud800 text"))


def test_system_turns_move_into_the_user_turn() -> None:
    segments = [Segment("system", "A"), Segment("system", "B"), Segment("user", "C", True), Segment("assistant", "D")]
    assert without_system_role(segments) == (
        Segment("user", "A"),
        Segment("user", "B\n\n"),
        Segment("user", "C", True),
        Segment("assistant", "D"),
    )
