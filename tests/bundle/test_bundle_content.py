"""Bundles on content with parts: each question reads what its clause is about, and the verdict says what was cut."""

from __future__ import annotations

import json

import numpy as np
import pytest

from promptopt.bundle.domains import MultiDomainJudge
from promptopt.bundle.model import ParityCase
from promptopt.bundle.runtime import EMPTY_TEXT, BundleJudge
from promptopt.bundle.table_readers import TableError
from promptopt.bundle.tables import TableOptions, judge_table
from promptopt.core.case import Label
from promptopt.core.content import PartedText, PartLimit
from promptopt.core.reading import Reading
from promptopt.policy.asking import answer, bind

PHOTO = {"kind": "image", "reference": "photos/7.png", "media_type": "image/png"}


@pytest.fixture
def about_titles(bundle):
    """V1 and V3 read titles, V2 reads everything but at most eight letters of a transcript."""
    limits = {"transcript": PartLimit(max_chars=8)}
    readings = {"V1": Reading(parts=("title",)), "V2": Reading(limits=limits), "V3": Reading(parts=("title",))}
    prompts = [p.model_copy(update={"reading": readings[p.question]}) for p in bundle.prompts]
    return bundle.model_copy(update={"prompts": tuple(prompts)})


def _items(engine):
    return [[s.text for s in query.segments if s.from_case] for call in engine.calls for query in call]


def test_each_question_gets_the_parts_that_it_reads(about_titles, engine):
    item = PartedText({"title": "t", "transcript": "a long transcript", "author_note": "n"})
    [verdict] = BundleJudge(about_titles, engine).judge([item])

    whole = "Title: t\nTranscript: a long t [...]\nAuthor note: n"
    assert _items(engine) == [["Title: t"], [whole], ["Title: t"]]
    assert verdict.truncated
    asked = {p.question: whole if p.question == "V2" else "Title: t" for p in about_titles.prompts}
    by_hand = {
        p.question: float(np.exp(engine.score([bind(p, {"text": asked[p.question]})]).logprobs[0, 0]))
        for p in about_titles.prompts
    }
    answers = answer(about_titles.prompts, [item], engine)
    assert answers.of_case(0) == pytest.approx(by_hand)


def test_a_case_that_is_one_text_is_asked_about_as_before(about_titles, bundle, engine):
    texts = [f"text {i}" for i in range(8)] + ["Title: t\nBody: b", PartedText({"text": "a text"})]

    assert BundleJudge(about_titles, engine).judge(texts) == BundleJudge(bundle, engine).judge(texts)


def test_what_is_not_there_falls_under_no_clause_and_is_not_asked(about_titles, engine):
    item = PartedText({"body": "b"})
    answers = answer(about_titles.prompts, [item, "a text"], engine)
    judge = BundleJudge(about_titles, engine)
    [verdict] = judge.judge([item])

    assert (answers.of_case(0)["V1"], answers.of_case(0)["V3"]) == (0.0, 0.0)
    assert 0 < answers.of_case(0)["V2"] < 1
    assert 0 < answers.of_case(1)["V1"] < 1
    assert _items(engine)[-1] == ["Body: b"]
    assert verdict.is_judged
    assert verdict.clause != "V1"
    assert judge.usage.queries == 1


def test_a_block_in_which_nothing_is_asked_reaches_no_engine(about_titles, engine):
    prompts = [p for p in about_titles.prompts if p.question != "V2"]
    answers = answer(prompts, [PartedText({"body": "b"})], engine)

    assert answers.of_case(0) == {"V1": 0.0, "V3": 0.0}
    assert engine.calls == []


def test_a_case_with_an_image_is_unjudged_where_a_question_reads_it(bundle, about_titles, engine):
    items = [PartedText({"title": "t", "photo": PHOTO}), PartedText({"photo": PHOTO}), "a text", PartedText({})]
    verdicts = BundleJudge(bundle, engine).judge(items)

    assert [v.is_judged for v in verdicts] == [False, False, True, False]
    assert verdicts[0].unjudged_reason == "V1: part `photo` is an image (image/png), and the judge reads text only"
    assert verdicts[3].unjudged_reason == EMPTY_TEXT
    assert all("photo" not in text for texts in _items(engine) for text in texts)
    titles_only = about_titles.model_copy(
        update={"prompts": tuple(p.model_copy(update={"reading": Reading(parts=("title",))}) for p in bundle.prompts)}
    )
    assert BundleJudge(titles_only, engine).judge(items[:1])[0].is_judged


def test_domains_read_the_parts_that_each_of_them_is_about(about_titles, bundle, engine):
    bundles = [about_titles, bundle.model_copy(update={"domain": "spam"})]
    items = [PartedText({"title": "t", "body": "b"}), "a text", PartedText({"body": "b", "photo": PHOTO})]
    judged = MultiDomainJudge(bundles, lambda _: engine).judge(items)

    for own in bundles:
        assert [each.verdicts[own.domain] for each in judged] == BundleJudge(own, engine).judge(items)
    assert judged[2].action is None


def test_prompts_that_read_everything_are_written_as_before(bundle, about_titles):
    assert all("reading" not in prompt.model_dump() for prompt in bundle.prompts)
    first = about_titles.prompts[0]
    assert first.digest == bundle.prompts[0].digest
    assert type(first).model_validate_json(first.model_dump_json()) == first
    assert about_titles.digest != bundle.digest


def test_pinned_cases_keep_their_parts():
    facts = {"id": "a", "answers": {"V1": 0.5}, "score": 0.5, "label": Label.ALLOWED}
    item = PartedText({"title": "t", "body": "b"})
    case = ParityCase(text=str(item), parts=item.parts, **facts)

    assert (case.item, case.item.parts) == (item, item.parts)
    assert ParityCase.model_validate_json(case.model_dump_json()) == case
    assert "parts" not in ParityCase(text="a", **facts).model_dump()
    with pytest.raises(ValueError, match="not the rendering of the parts"):
        ParityCase(text="other", parts=item.parts, **facts)


def _table(path, rows):
    if path.suffix == ".csv":
        names = list(rows[0])
        lines = [",".join(names), *(",".join(str(row[name] or "") for name in names) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("extension", ["jsonl", "csv", "parquet"])
def test_columns_of_a_table_are_parts(bundle, engine, tmp_path, extension):
    rows = [{"head": "h1", "post": "b1", "n": "1"}, {"head": None, "post": "b2", "n": "2"}]
    source = _table(tmp_path / f"in.{extension}", rows)
    options = TableOptions(part_columns={"body": "post", "title": "head"}, output_format="jsonl", part_rows=1)
    judge_table(BundleJudge(bundle, engine).judge, source, tmp_path / "out.jsonl", options)

    assert _items(engine)[::3] == [["Title: h1\nBody: b1"], ["Body: b2"]]
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["post"] for row in judged] == ["b1", "b2"]


def test_json_lines_may_hold_parts_or_texts(bundle, engine, tmp_path):
    rows = [{"text": "one"}, {"parts": {"title": "t", "body": "b"}}, {"text": None, "parts": {"photo": PHOTO}}]
    source = _table(tmp_path / "in.jsonl", rows)
    tally = judge_table(BundleJudge(bundle, engine).judge, source, tmp_path / "out.jsonl")

    assert (tally.rows, tally.unjudged) == (3, 1)
    assert _items(engine)[::3] == [["one"], ["Title: t\nBody: b"]]
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert "part `photo` is an image" in judged[2]["judge_unjudged_reason"]


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([{"text": "a", "parts": {"title": "t"}}], {}, ":1: the row has `text` and `parts`; leave one"),
        ([{"text": "a"}, {"parts": {"Title": "t"}}], {}, ":2: 'Title' is no name for a part"),
        ([{"parts": {"title": ["secret"]}}], {}, ":1: part `title` holds list, neither"),
        ([{"head": "a"}], {"part_columns": {"title": "heed"}}, "there is no column `heed` (columns: head); name"),
        ([{"head": 7}], {"part_columns": {"title": "head"}}, ":1: part `title` holds int, neither"),
        ([{"body": "a"}], {}, ":1: there is no column `text` (columns: body)"),
    ],
)
def test_tables_whose_parts_do_not_fit(tmp_path, rows, options, says):
    source = _table(tmp_path / "in.jsonl", rows)

    with pytest.raises(TableError) as refused:
        judge_table(lambda _: pytest.fail("judged"), source, tmp_path / "out.jsonl", TableOptions(**options))
    assert says in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_mapping_of_parts_is_judged_like_its_rendering(about_titles, engine):
    parts = [
        {"title": "t", "body": "b"},
        {},
        {"title": None},
        {"Title": "t"},
        {"title": "half \ud83d"},
        {"text": "a text"},
    ]
    verdicts = BundleJudge(about_titles, engine).judge(parts)

    assert verdicts[0] == BundleJudge(about_titles, engine).judge([PartedText(parts[0])])[0]
    assert verdicts[5] == BundleJudge(about_titles, engine).judge(["a text"])[0]
    assert [v.unjudged_reason for v in verdicts[1:3]] == [EMPTY_TEXT] * 2
    assert verdicts[3].unjudged_reason.startswith("'Title' is no name for a part")
    assert "not valid Unicode" in verdicts[4].unjudged_reason
    [judged] = MultiDomainJudge([about_titles], lambda _: engine).judge(parts[:1])
    assert judged.verdicts == {about_titles.domain: verdicts[0]}
