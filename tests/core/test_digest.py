"""The same content has the same name, and other content another."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.digest import canonical_json, digest_all, digest_data, digest_file, digest_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def _reversed(value):
    """The same data with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(entry) for entry in value] if isinstance(value, list) else value


@given(DATA)
def test_canonical_json_reads_back_and_ignores_the_order_of_keys(value):
    assert json.loads(canonical_json(value)) == value
    assert digest_data(_reversed(value)) == digest_data(value)


@given(st.lists(st.integers(), min_size=2, unique=True))
def test_the_order_of_a_list_counts(numbers):
    assert digest_data(numbers) != digest_data(numbers[::-1])


def test_canonical_json_has_no_spaces_and_keeps_letters():
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, -math.inf]])
def test_what_json_cannot_carry_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_digests_are_sha256_of_the_utf8_bytes(tmp_path):
    expected = hashlib.sha256("déjà".encode()).hexdigest()
    (tmp_path / "file").write_bytes("déjà".encode())
    assert digest_text("déjà") == digest_file(tmp_path / "file") == expected
    assert len(digest_text("\ud800")) == 64, "half a surrogate pair has a digest too"


@given(st.lists(st.text(alphabet="0123456789abcdef", min_size=4, max_size=4), max_size=6), st.randoms())
def test_a_set_of_digests_has_no_order_but_a_count(digests, draw):
    shuffled = list(digests)
    draw.shuffle(shuffled)
    assert digest_all(shuffled) == digest_all(digests)
    assert digest_all([*digests, "ffff"]) != digest_all(digests)
