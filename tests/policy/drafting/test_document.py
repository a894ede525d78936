"""A document in Markdown: its title, its sections, and what cannot be laid out."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptopt.errors import PolicyError
from promptopt.policy.drafting.document import MAX_DOCUMENT_BYTES, MAX_SECTIONS, read_document

GUIDE = """---
author: someone
---
# Selling here

We want people to trade safely.

## Not allowed

### 1. Weapons

Do not offer **firearms** or `ammunition`:

- rifles,
- single rounds.

```
# no heading, only code
```

Setext heading
--------------

<b>No HTML</b> of it.

## Allowed
"""


@pytest.fixture
def read(tmp_path):
    def run(content):
        path = tmp_path / "guide.md"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_document(path)

    return run


def test_finds_title_sections_and_their_lines(read):
    document = read(GUIDE)
    assert (document.name, document.title) == ("guide.md", "Selling here")
    assert document.preamble == "We want people to trade safely."
    told = [(s.line, s.path, s.heading, s.text) for s in document.sections]
    assert told == [
        (
            10,
            ("Not allowed",),
            "1. Weapons",
            "Do not offer firearms or ammunition: rifles; single rounds.",
        ),
        (21, (), "Setext heading", "No HTML of it."),
        (26, (), "Allowed", ""),
    ]


def test_a_heading_that_only_groups_others_is_no_section_and_one_with_text_is(read):
    assert [s.heading for s in read("# A\n\n## B\n\n### C\n\ntext\n").sections] == ["C"]
    assert [s.heading for s in read("## A\n\nown text\n\n### B\n").sections] == ["A", "B"]


def test_several_headings_of_the_first_level_are_sections(read):
    document = read("Before.\n\n# A\n\na\n\n# B\n\nb\n")
    assert (document.title, document.preamble) == ("", "Before.")
    assert [s.heading for s in document.sections] == ["A", "B"]


def test_a_lonely_heading_is_a_section(read):
    assert [s.heading for s in read("# Only\n\ntext\n").sections] == ["Only"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the document is empty; write headings"),
        (b" \n\t\n", "the document is empty"),
        (b"Just prose, and more of it.\n", "has no headings, of which clauses could be made; put a heading"),
        (b"# A\n\n\xff\xfe\n", "guide.md:3: byte 5 is not UTF-8; save the file as UTF-8"),
        (b"# A\n\n" + b"word " * (MAX_DOCUMENT_BYTES // 5), "more than 204800, which line 3 exceeds"),
        (b"# A\n\n" * (MAX_SECTIONS + 1), "has 61 sections, and a policy is laid out from at most 60; divide"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_with_the_way_out(read, content, sentence):
    with pytest.raises(PolicyError) as refusal:
        read(content)
    assert sentence in str(refusal.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PolicyError, match="does not exist"):
        read_document(tmp_path / "no.md")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(read, text):
    try:
        document = read(("# A\n\n" + text).encode("utf-8", errors="replace"))
    except PolicyError:
        return
    assert document.sections
    assert all("\n" not in said for s in document.sections for said in (s.heading, s.text))
