"""Every fault of a YAML file becomes one sentence with its place."""

from __future__ import annotations

from itertools import pairwise

import pytest
from pydantic import Field, ValidationError

from promptopt.core.addresses import without_credentials
from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import MAX_DEPTH, MAX_YAML_BYTES, explain_validation, read_yaml, read_yaml_file
from promptopt.errors import ConfigError, PolicyError


class _Inner(FrozenModel):
    text: str = Field(max_length=3)
    count: int = 0


class _Outer(FrozenModel):
    name: str
    inner: tuple[_Inner, ...] = ()


def _refused(tmp_path, content, error=PolicyError):
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error) as caught:
        read_yaml(path, error)
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value), "one sentence"
    return str(caught.value)


def test_a_mapping_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("\ufeffname: é\nlist: [1, two]\n", encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml", ConfigError) == {"name": "é", "list": [1, "two"]}


def test_a_missing_file_or_a_folder(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigError, match="does not exist"):
            read_yaml(path, ConfigError)


def test_a_bomb_of_aliases_is_refused_before_it_grows(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in pairwise("abcdefghi"):
        lines.append(f"{name}: &{name} [{', '.join(['*' + before] * 10)}]")
    message = _refused(tmp_path, "\n".join(lines))
    assert "aliases are not allowed" in message
    assert ".yaml:2:" in message, "the line of the first alias"


def test_nesting_is_bounded_and_the_line_is_named(tmp_path):
    deep = "a:\n  " + "[" * MAX_DEPTH + "]" * MAX_DEPTH
    message = _refused(tmp_path, deep)
    assert "nested too deeply" in message
    assert ".yaml:2:" in message
    assert read_yaml(_write(tmp_path, "a: " + "[" * 20 + "]" * 20), PolicyError)["a"]


def test_every_value_knows_its_line(tmp_path):
    text = "name: n\nlist:\n  - id: one\n    note: >-\n      folded\n      text\n  - {id: two, more: [1,\n      2]}\n"
    read = read_yaml_file(_write(tmp_path, text), PolicyError)
    assert read.data["list"][0] == {"id": "one", "note": "folded text"}
    places = {("name",): 1, ("list",): 2, ("list", 0): 3, ("list", 0, "note"): 4, ("list", 1, "more", 1): 8}
    assert {place: read.line(place) for place in places} == places
    assert read.line(("list", 1, "absent", 3)) == 7, "the nearest place above"
    assert read.line(()) == read.line(("absent",)) == 1


def test_size_and_encoding_name_the_line(tmp_path):
    path = _write(tmp_path, "a: b\n" * 10)
    with pytest.raises(PolicyError, match="has 50 bytes, more than 20, which line 5 exceeds"):
        read_yaml_file(path, PolicyError, max_bytes=20)
    path.write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(PolicyError, match=r"file\.yaml:2: byte 8 is not UTF-8"):
        read_yaml_file(path, PolicyError)


def _write(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_key_that_stands_twice_is_refused(tmp_path):
    message = _refused(tmp_path, "routing: [a]\nother: {x: 1, y: 2, x: 3}\n")
    assert "key `x` stands twice" in message
    assert ".yaml:2:" in message
    assert "key `routing`" in _refused(tmp_path, "routing: [a]\nname: n\nrouting: [b]\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: \xff\xfe", "byte 3 is not UTF-8"),
        (b"x" * (MAX_YAML_BYTES + 1), f"{MAX_YAML_BYTES + 1} bytes, more than {MAX_YAML_BYTES}"),
        ("a: [1, 2", "not valid YAML"),
        ("a: 1\n b: 2", ":2: not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("date: 2026-02-45", "not valid YAML (day"),
        ("a: \0", "special characters are not allowed"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("- 1\n- 2", "found list"),
        ("# nothing\n", "found nothing"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_a_malformed_file_says_what_and_where(tmp_path, content, said):
    assert said in _refused(tmp_path, content)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"nam": "x", "name": "y"}, "unknown key `nam`"),
        ({}, "key `name` is missing"),
        ({"name": 3}, "`name`: input should be a valid string (found 3)"),
        ({"name": "n", "inner": [{"text": "a", "count": "many"}]}, "`inner.0.count`"),
        ({"name": "n", "inner": [{"text": "a", "x": 1, "y": 2}]}, "unknown key `inner.0.x` (and 1 more)"),
    ],
)
def test_the_first_fault_is_explained(data, said):
    with pytest.raises(ValidationError) as caught:
        _Outer.model_validate(data)
    assert said in explain_validation(caught.value)


@pytest.mark.parametrize("data", [{"name": {"text": "secret"}}, {"name": ["secret"]}])
def test_containers_that_may_hold_case_texts_are_not_shown(data):
    with pytest.raises(ValidationError) as caught:
        _Outer.model_validate(data)
    assert "secret" not in explain_validation(caught.value)


def test_texts_are_never_shown():
    with pytest.raises(ValidationError) as caught:
        _Outer.model_validate({"name": "n", "inner": [{"text": "a secret"}]})
    assert "secret" not in explain_validation(caught.value)
    assert "`inner.0.text`" in explain_validation(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://me:pass@host:5432/db", "postgresql+psycopg://host:5432/db"),
        ("postgresql://me:p@ss@host/db?x=1", "postgresql://host/db?x=1"),
        ("sqlite:///runs/a@b.db", "sqlite:///runs/a@b.db"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_addresses_lose_their_credentials(address, shown):
    assert without_credentials(address) == shown
