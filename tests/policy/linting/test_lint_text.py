"""Words, syllables and reading level."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.policy.linting.text import (
    content_words,
    estimated_tokens,
    likeness,
    reading_grade,
    syllables,
    without_quotations,
    words,
)


@pytest.mark.parametrize(
    ("number", "spoken"),
    [
        (1, "a the cat vote votes praised wished free text through"),
        (2, "people hated wishes agree tables handled person attack"),
        (3, "recruitment however another embassy"),
        (4, "intimidate definition authority"),
    ],
)
def test_syllables(number, spoken):
    assert {word: syllables(word) for word in spoken.split()} == dict.fromkeys(spoken.split(), number)


def test_reading_grade_is_that_of_flesch_and_kincaid():
    # 6 words, 6 syllables, 1 sentence
    assert reading_grade(["The cat sat on the mat."]) == pytest.approx(0.39 * 6 + 11.8 * 1 - 15.59)
    # 7 words, 15 syllables, 3 sentences: each text ends one, and so does a semicolon
    pair = ["Definition of another", "attack; people hated it"]
    assert reading_grade(pair) == pytest.approx(0.39 * 7 / 3 + 11.8 * (4 + 1 + 3 + 2 + 2 + 2 + 1) / 7 - 15.59)
    assert math.isnan(reading_grade(["", "- 12"]))


@given(st.lists(st.sampled_from(["threat", "threats", "no", "of", "photo", "posts"])).map(" ".join), st.text())
def test_likeness_is_a_symmetric_share(one, other):
    first, second = content_words(one), content_words(other)
    assert likeness(first, second) == likeness(second, first)
    assert 0.0 <= likeness(first, second) <= 1.0
    assert likeness(first, first) == (1.0 if first else 0.0)


def test_forms_of_a_word_compare_equal_and_polarity_counts():
    assert content_words("the trading of images") == content_words("Trades an image")
    assert content_words("with praise") != content_words("without praise")


def test_what_is_quoted_is_left_out():
    assert words(without_quotations('calls it "usually" fine and “often” bad')) == ["calls", "it", "fine", "and", "bad"]


def test_chinese_counts_a_token_a_character():
    assert estimated_tokens("暴力威胁") == 4
    assert estimated_tokens("threatens a person") == 5
