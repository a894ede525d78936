"""A search space says at once what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.config import load_config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": {"shape": "reasoned"}}, "seed.shape is 'reasoned', not one of ['direct', 'checklist']"),
        ({"seed": {"shap": "direct"}}, "seed names unknown dimension 'shap' (known: shape, aggregate"),
        ({"seed": {"demo_count": 4}}, "seed.demo_count is 4, not one of [0, 2]"),
        ({"seed": {"demo_count": False}}, "seed.demo_count is False, not one of [0, 2]"),
        ({"instructions": {"plain": " \n"}}, "instruction 'plain' is empty"),
        ({"shapes": []}, "dimension 'shape' needs distinct choices, found []"),
        ({"quotings": ["tags", "tags"]}, "dimension 'quoting' needs distinct choices"),
        ({"policies": ["everything"]}, "policies.0"),
        ({"demos": {"counts": [-1]}}, "greater than or equal to 0"),
        ({"demos": {"draws": 0}}, "greater than or equal to 1"),
        ({"label_words": {"a": {"violation": "yes", "allowed": "yes"}}}, "found 'yes' and 'yes'"),
        ({"label_words": {"a": {"violation": "y", "allowed": "n", "applies": " "}}}, "found ' ' and 'no'"),
        ({"label_words": {"a": {"violation": "y"}}}, "label_words.a.allowed"),
        ({"temperature": [0, 1]}, "temperature"),
    ],
)
def test_a_mistake_is_named(make_space, changes, said):
    with pytest.raises(ValidationError) as caught:
        make_space(**changes)
    assert said in str(caught.value)


def test_the_seed_point_takes_the_first_choice_where_the_seed_says_nothing(make_space):
    point = make_space().seed_point()
    assert point["policy"] == "summary"
    assert point["quoting"] == "quotes"
    assert point["demo_count"] == 0
    assert point["labels"] == "yes_no"


def test_the_size_is_the_product_of_the_choices(make_space):
    assert make_space().size == 2 * 2 * 3 * 2 * 2 * 2 * 2 * 2 * 2 * 1 * 2


@given(st.permutations(["plain", "strict", "other"]))
def test_another_order_of_choices_is_another_space(make_space, names):
    """Optuna's proposals depend on the order, so a study must not go on under another one."""
    texts = {"plain": "Apply.", "strict": "Report.", "other": "Think."}
    listed = make_space(instructions=texts, seed={})
    space = make_space(instructions={name: texts[name] for name in names}, seed={})
    assert (space.digest == listed.digest) == (names == list(texts))


@pytest.mark.parametrize(
    ("choice", "inactive"),
    [
        ({"shape": "direct"}, {"aggregate"}),
        ({"demo_count": 0}, {"demo_choice", "demo_order", "demo_draw"}),
        ({"policy": "summary"}, {"clause_order"}),
        ({"policy": "none"}, {"clause_order"}),
    ],
)
def test_a_dimension_counts_only_where_others_let_it(make_space, choice, inactive):
    space = make_space(clause_orders=["file", "severity"])
    everything = {**space.seed_point(), "shape": "checklist", "demo_count": 2, "policy": "full"}
    assert space.active(everything) == set(space.dimensions)
    assert space.active({**everything, **choice}) == set(space.dimensions) - inactive


@pytest.mark.parametrize("program", ["all", "direct"])
def test_the_shipped_spaces_are_sound(program):
    space = load_config([f"program={program}"]).program
    assert space.seed_point()["shape"] == "direct"
    assert space.size > 1000


def test_two_judges_are_a_dimension_and_one_is_none(make_space):
    several = make_space(judges=["small", "large"])

    assert several.seed_point()["judge"] == "small"
    assert several.size == 2 * make_space().size
    assert "judge" in several.active(several.seed_point())
    assert make_space(judges=["small"]).dimensions == make_space().dimensions
    assert make_space(judges=["small"]).digest == make_space().digest != several.digest
