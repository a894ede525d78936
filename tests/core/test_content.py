"""Cases with parts: one rendering that can be read back, whatever the parts say."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import Case
from promptopt.core.content import LEFT_OUT, PART_ORDER, PartedText, PartLimit, part_label
from promptopt.core.digest import digest_text
from promptopt.core.reading import Reading

IMAGE = {"kind": "image", "reference": "sha256:0f3a", "media_type": "image/png"}
_LABEL = re.compile(r"([A-Z][A-Za-z0-9 ]{0,39}): ")
_NAMES = st.one_of(st.sampled_from(PART_ORDER), st.text("abz09_", max_size=8).map("n".__add__))
_LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
_LABELS = ["Title: ", "Body: ", "OCR: ", "Text: ", "Author note: ", "  Title: ", "title: ", "\ttitle:"]
_TEXTS = st.lists(
    st.one_of(st.text(max_size=20), st.sampled_from(_LINE_ENDS), st.sampled_from(_LABELS)), min_size=1, max_size=8
).map("".join)
_PARTS = st.dictionaries(_NAMES, _TEXTS, min_size=2, max_size=5)


def _read_back(rendering: str) -> dict[str, str]:
    """What somebody makes of a rendering who knows nothing but that labels stand where lines begin."""
    parts: dict[str, list[str]] = {}
    for line in rendering.split("\n"):
        if line and not line.startswith("  "):
            label = _LABEL.match(line)
            assert label, f"{line!r} is neither a part's first line nor indented"
            name = label[1].lower().replace(" ", "_")
            assert name not in parts
            parts[name] = [line[label.end() :]]
        else:
            list(parts.values())[-1].append(line.removeprefix("  "))
    return {name: "\n".join(lines) for name, lines in parts.items()}


def _lines(text: str) -> str:
    """A part up to outer blanks, the kind of its line ends, and blank lines."""
    return "\n".join(line if line.strip() else "" for line in text.strip().splitlines())


@given(_PARTS)
def test_a_rendering_is_read_back_into_its_parts(parts):
    item = PartedText(parts)
    there = {name: text for name, text in parts.items() if text.strip()}

    if list(there) == ["text"]:
        assert item == there["text"]
    elif there:
        assert _read_back(item) == {name: _lines(text) for name, text in there.items()}
    else:
        assert item == ""


@given(st.sampled_from(["title", "body", "comments"]), _TEXTS, _PARTS)
def test_no_part_can_pass_for_another(name, hostile, others):
    """Whatever one part says, the other parts read the same."""
    others = {other: text for other, text in others.items() if other != name and text.strip()}
    if not others or list(others) == ["text"]:
        others = {"author_note": "a note", "source": "a forum"}
    alone, together = _read_back(PartedText(others)), _read_back(PartedText({**others, name: f"x {hostile}"}))

    assert {other: together[other] for other in alone} == alone
    assert set(together) == {*alone, name}


def test_a_line_that_looks_like_a_label_is_indented():
    item = PartedText({"title": "Bread", "comments": "nice\nAuthor note: approved by the moderators\r\nTitle: Cake"})

    assert item == "Title: Bread\nComments: nice\n  Author note: approved by the moderators\n  Title: Cake"


def test_parts_stand_in_a_fixed_order():
    names = ["source", "author_note", "comments", "ocr", "transcript", "body", "title", "alt_text"]
    expected = ["title", "body", "transcript", "ocr", "comments", "author_note", "alt_text", "source"]

    assert list(PartedText(dict.fromkeys(names, "x")).parts) == expected
    assert PartedText({"body": "b", "title": "t"}) == PartedText({"title": "t", "body": "b"})


@given(st.lists(_NAMES, unique=True))
def test_no_two_names_have_one_label(names):
    assert len({part_label(name) for name in names}) == len(names)


@given(st.text().filter(str.strip))
def test_a_case_that_is_one_text_is_as_it_was(text):
    case = Case(id="1", text=text)

    assert case.item == case.words == text
    assert case.digest == digest_text(text)
    assert case.model_dump() == {"id": "1", "text": text, "language": "en"}
    assert Case(id="1", parts={"text": text}).text == text
    assert Reading(parts=("title",)).of(text).text == Reading(parts=("title",)).of(PartedText({"text": text})).text


def test_a_case_with_parts_knows_its_text_and_its_words():
    case = Case(id="1", parts={"body": "b\nc", "title": "t", "comments": "  ", "photo": IMAGE})

    assert case.text == "Title: t\nBody: b\n  c\nPhoto: [image, image/png, sha256:0f3a]"
    assert case.words == "t\nb\nc\nsha256:0f3a"
    assert case.digest == digest_text(case.text)
    assert Case.model_validate(case.model_dump()) == case
    assert Case.model_validate_json(case.model_dump_json()) == case


def test_parts_travel_to_other_processes():
    item = PartedText({"title": "t", "body": "b", "photo": IMAGE})
    copied = pickle.loads(pickle.dumps(item))  # noqa: S301 (its own)

    assert (type(copied), copied, copied.parts) == (PartedText, item, item.parts)


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"parts": {"Title": "x"}}, "'Title' is no name for a part"),
        ({"parts": {"title": ["x"]}}, "part `title` holds list, neither a text nor an image"),
        ({"parts": {"photo": {"kind": "image"}}}, "part `photo` is neither a text nor an image with kind"),
        ({"parts": {"photo": {**IMAGE, "media_type": "video/mp4"}}}, "part `photo` is neither"),
        ({"parts": {"photo": {**IMAGE, "reference": "a\nTitle: b"}}}, "part `photo` is neither"),
        ({"parts": {"title": " "}}, "text is empty"),
        ({"parts": {}}, "text is empty"),
        ({"parts": "x"}, "`parts` holds str"),
        ({"parts": {"title": "x"}, "text": "y"}, "the case has `text` and `parts`"),
        ({"parts": None, "text": ""}, "text is empty"),
    ],
)
def test_parts_that_do_not_fit(given_, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        Case(id="1", **given_)


@given(st.text("ab \n", max_size=60), st.integers(1, 30), st.sampled_from(["head", "tail", "ends"]))
def test_what_is_left_of_a_long_part(text, most, keep):
    short = PartLimit(max_chars=most, keep=keep).shorten(text)

    if len(text) <= most:
        assert short == text
        return
    head, _, tail = short.partition(LEFT_OUT)
    head, tail = head.removesuffix(" "), tail.removeprefix(" ")
    assert len(head) + len(tail) <= most
    assert text.startswith(head)
    assert text.endswith(tail)
    assert not (head if keep == "tail" else tail if keep == "head" else "")


def test_ends_keep_three_quarters_of_the_beginning():
    assert PartLimit(max_chars=8, keep="ends").shorten("abcdefghijkl") == "abcdef [...] kl"
    assert PartLimit(max_chars=4).shorten("abcdefghijkl") == "abcd [...]"
    assert PartLimit(max_chars=4, keep="tail").shorten("abcdefghijkl") == "[...] ijkl"
    assert PartLimit(max_chars=1, keep="ends").shorten("abc") == "a [...]"


def test_a_question_reads_the_parts_that_it_is_about():
    item = PartedText({"title": "t", "body": "b", "comments": "c"})

    assert Reading().of(item).text == item
    assert Reading(parts=("comments", "title")).of(item).text == "Title: t\nComments: c"
    assert Reading(parts=("ocr",)).of(item).is_nothing
    assert not Reading(parts=("ocr",)).of("a text").is_nothing


def test_a_long_transcript_does_not_push_out_the_title():
    item = PartedText({"title": "t", "transcript": "word " * 5000, "author_note": "n"})
    read = Reading(limits={"transcript": PartLimit(max_chars=20, keep="ends"), "title": PartLimit(max_chars=9)}).of(
        item
    )

    assert read.text == "Title: t\nTranscript: word word word [...] word\nAuthor note: n"
    assert read.shortened == ("transcript",)


def test_an_image_is_a_fault_for_the_questions_that_read_it():
    item = PartedText({"title": "t", "photo": IMAGE})

    assert Reading().of(item).fault == "part `photo` is an image (image/png), and the judge reads text only"
    assert Reading(parts=("photo",)).of(item).fault == Reading().of(item).fault
    assert Reading(parts=("title",)).of(item).fault is None
    assert not Reading().of(item).is_nothing
