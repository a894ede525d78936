"""Near-duplicates are all found, by a search that equals comparing every pair, and never lie in two splits."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import Split
from promptopt.golden.importers.hatecheck import import_hatecheck
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.leakage import merge_near_duplicate_groups, near_duplicates_across_splits
from promptopt.golden.similarity import shingles, similar_pairs
from promptopt.golden.splits import assign_splits

TEXTS = st.lists(st.text("ab ", min_size=1, max_size=14), max_size=12)


def jaccard(a, b):
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


@given(TEXTS, st.sampled_from([0.1, 1 / 3, 0.5, 0.6, 0.75, 0.9, 1.0]))
def test_search_equals_comparing_every_pair(texts, threshold):
    pairs = itertools.combinations(range(len(texts)), 2)
    expected = {(i, j) for i, j in pairs if jaccard(texts[i], texts[j]) >= threshold}
    found = list(similar_pairs(texts, threshold, lambda i, j: True))
    assert {(i, j) for i, j, _ in found} == expected
    assert len(found) == len(expected)
    assert all(similarity == jaccard(texts[i], texts[j]) for i, j, similarity in found)


def test_case_width_and_spaces_do_not_hide_a_duplicate():
    assert shingles("  Some  TEXT here\n") == shingles("some text here")
    assert shingles("\uff33\uff4f\uff4d\uff45 text") == shingles("some text")
    assert shingles("hi") == frozenset({"hi"})


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_unfit_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        list(similar_pairs(["a", "b"], threshold, lambda i, j: True))


def test_leaks_are_named_by_id_most_similar_first(make_case, words):
    base = words(1)
    cases = [
        make_case(1, True, text=base, split="search"),
        make_case(2, True, text=base + " and more", split="test"),
        make_case(3, True, text=base.upper(), split="calibration"),
        make_case(4, True, text=base, split="search"),
        make_case(5, True, text=words(5), split="test"),
    ]
    found = near_duplicates_across_splits(cases)
    assert [pair[:2] for pair in found[:2]] == [("c001", "c003"), ("c003", "c004")]
    assert {pair[:2] for pair in found[2:]} == {("c001", "c002"), ("c002", "c003"), ("c002", "c004")}
    assert found[0].similarity == 1.0 > found[2].similarity


def test_groups_are_merged_along_chains_under_the_first_name(make_case, words):
    first, second = words(1, 8), words(2, 8)
    cases = [
        make_case(1, True, text=first, group="b"),
        make_case(2, True, text=f"{first} x", group="c"),
        make_case(3, True, text=words(3), group="c"),
        make_case(4, False, text=second, group="a"),
        make_case(5, False, text=f"{second} y", group="b"),
        make_case(6, False, text=words(6), group="z"),
    ]
    merged = merge_near_duplicate_groups(cases)
    assert [case.group for case in merged] == ["a"] * 5 + ["z"]
    assert merge_near_duplicate_groups(merged) == merged


def test_hatecheck_is_split_without_leakage_in_seconds(datasets):
    cases = import_hatecheck(datasets / "hatecheck" / "all_cases.csv", ImportOptions()).cases
    start = time.perf_counter()
    placed = assign_splits(merge_near_duplicate_groups(cases))
    leaks = near_duplicates_across_splits(placed)
    assert time.perf_counter() - start < 20
    assert len(placed) == 3901
    assert leaks == ()
    assert near_duplicates_across_splits([c.model_copy(update={"split": _by_parity(c)}) for c in cases])


def _by_parity(case):
    return Split.SEARCH if int(case.id.rpartition("-")[2]) % 2 else Split.TEST
