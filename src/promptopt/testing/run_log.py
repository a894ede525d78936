"""What every run log must do.

Subclass :class:`RunLogContract` in a test module and set ``store`` in a fixture; a test runner collects the checks.
"""

# ruff: noqa: S101 (checks are made of assertions)

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment
from promptopt.tracking.base import GoldenRecord, RunLog, RunStatus, TrackingError
from promptopt.tracking.memory import RecordedPrompt, RecordedRun
from promptopt.tracking.redaction import CaseTexts
from promptopt.tracking.template import fill_template

CASE_TEXT = 'The "purple" walrus\nsang twelve songs'
FORBIDDEN = {"case-7": CASE_TEXT}


class RunLogStore(Protocol):
    """A store under test: logs that share it stand for processes that follow each other."""

    def open(
        self,
        forbidden_texts: Mapping[str, str] | None = None,
        log_texts: bool = False,
        registered_prompts: bool = True,
    ) -> RunLog:
        """A new log on the same store and experiment."""
        ...

    def read(self, run_id: str) -> RecordedRun:
        """What the store holds of a run, read past the log."""
        ...

    def read_prompt(self, uri: str) -> RecordedPrompt:
        """A registered prompt, read past the log."""
        ...


class StubFigure:
    """Stands in for a plotly figure.

    Args:
        title: The only text in it.
    """

    def __init__(self, title: str) -> None:
        self.title = title

    def to_json(self) -> str:
        return json.dumps({"title": self.title})

    def to_html(self, *, include_plotlyjs: bool, full_html: bool) -> str:
        return f"<html><script>inline={include_plotlyjs}</script>{self.title}</html>"


def make_prompt(demo: str = "A demonstration with a literal {{x}} and {% raw %}.") -> LoweredPrompt:
    """A small prompt with one demonstration and an item slot."""
    return LoweredPrompt(
        question="violation",
        segments=(
            PromptSegment(role="system", text="Judge the text.\n"),
            PromptSegment(role="system", text=demo),
            PromptSegment(role="user", text="Text: {"),
            PromptSegment(role="user", slot=ITEM_SLOT),
            PromptSegment(role="user", text="}\nAnswer:"),
        ),
        labels=("yes", "no"),
    )


def _case(case_id: str, text: str, **fields: Any) -> GoldenCase:
    return GoldenCase(id=case_id, text=text, group=f"group of {case_id}", split=Split.SEARCH, **fields)


def make_record(text: str = CASE_TEXT, context: str = "search") -> GoldenRecord:
    """A golden set of two cases, one of which has the text."""
    cases = (
        GoldenCase(
            id="case-7", text=text, label=Label.VIOLATION, clause="V1", severity=2, group="g", split=Split.SEARCH
        ),
        GoldenCase(id="case-8", text="harmless words", label=Label.ALLOWED, group="h", split=Split.SEARCH),
    )
    return GoldenRecord(name="walrus", digest="d" * 64, context=context, source="walrus.jsonl", cases=cases)


@contextmanager
def refuses(error: type[Exception], *parts: str) -> Iterator[None]:
    """Checks that the block raises the error with a message that has the parts and no case text."""
    caught = None
    try:
        yield
    except error as cause:
        caught = str(cause)
    assert caught is not None, f"{error.__name__} was not raised"
    assert [part for part in parts if part not in caught] == []
    assert "sang twelve" not in caught


class RunLogContract:
    """The checks. Each opens its own runs, so that a store may serve them all."""

    store: RunLogStore

    def open_run(self, key: str, **settings: Any) -> tuple[RunLog, str]:
        """A log and a run in it."""
        log = self.store.open(**settings)
        return log, log.open_run(f"name of {key}", key)

    def test_a_run_is_started_with_its_name_parent_and_tags(self) -> None:
        log, parent = self.open_run("tags:parent")
        child = log.open_run("the child", "tags:child", parent=parent, tags={"domain": "abuse"})
        run = self.store.read(child)
        assert (run.name, run.parent, run.status) == ("the child", parent, "running")
        assert run.tags["domain"] == "abuse"
        assert run.tags["promptopt.key"] == "tags:child"
        assert self.store.read(parent).parent is None

    def test_the_same_key_continues_the_run(self) -> None:
        log, first = self.open_run("again")
        log.log_params(first, {"a": 1})
        log.finish(first, "killed")
        assert self.store.read(first).status == "killed"
        later = self.store.open()
        assert later.open_run("other name", "again", tags={"attempt": "2"}) == first
        assert later.open_run("another", "another") != first
        run = self.store.read(first)
        assert (run.status, run.tags["attempt"], run.params) == ("running", "2", {"a": "1"})

    def test_each_way_to_end_is_told_apart(self) -> None:
        statuses: tuple[RunStatus, ...] = ("finished", "failed", "killed")
        for status in statuses:
            log, run_id = self.open_run(f"end:{status}")
            log.finish(run_id, status)
            assert self.store.read(run_id).status == status

    def test_a_key_with_quotes_is_refused(self) -> None:
        with refuses(TrackingError, "key"):
            self.store.open().open_run("name", "it's")

    def test_params_are_kept_and_may_be_repeated_but_not_changed(self) -> None:
        log, run_id = self.open_run("params")
        log.log_params(run_id, {"text": "b", "int": 3, "float": 0.25, "bool": True, "none": None})
        log.log_params(run_id, {"int": 3, "new": "n"})
        expected = {"text": "b", "int": "3", "float": "0.25", "bool": "True", "none": "None", "new": "n"}
        assert self.store.read(run_id).params == expected
        with refuses(TrackingError, "'int'"):
            log.log_params(run_id, {"int": 4, "later": 1})
        assert self.store.read(run_id).params == expected

    def test_many_params_fit(self) -> None:
        log, run_id = self.open_run("many-params")
        log.log_params(run_id, {f"p{i}": i for i in range(150)})
        assert len(self.store.read(run_id).params) == 150

    def test_a_param_that_the_store_would_cut_is_refused(self) -> None:
        log, run_id = self.open_run("long-param")
        log.log_params(run_id, {"fits": "x" * 6000})
        with refuses(TrackingError, "'long'", "6001"):
            log.log_params(run_id, {"long": "x" * 6001})
        assert self.store.read(run_id).params == {"fits": "x" * 6000}

    def test_metrics_have_steps_that_a_later_log_can_see(self) -> None:
        log, run_id = self.open_run("steps")
        log.log_metrics(run_id, {"auprc": 0.5, "f1": 0.25}, step=0)
        log.log_metric_history(run_id, {4: {"auprc": 0.75}, 2: {"auprc": 0.125, "f1": 0.5}})
        later = self.store.open()
        assert later.logged_steps(run_id, "auprc") == {0, 2, 4}
        assert later.logged_steps(run_id, "f1") == {0, 2}
        assert later.logged_steps(run_id, "never") == set()
        assert dict(self.store.read(run_id).metrics["auprc"]) == {0: 0.5, 2: 0.125, 4: 0.75}

    def test_a_long_history_fits(self) -> None:
        log, run_id = self.open_run("long-history")
        assert log.log_metric_history(run_id, {step: {"auprc": step / 2048} for step in range(1500)}) == 0
        assert log.logged_steps(run_id, "auprc") == set(range(1500))

    def test_values_that_are_not_finite_are_left_out_and_counted(self) -> None:
        log, run_id = self.open_run("nan")
        assert log.log_metrics(run_id, {"a": math.nan, "b": math.inf, "c": 1.0}, step=1) == 2
        assert log.log_metrics(run_id, {"a": math.nan}) == 1
        assert set(self.store.read(run_id).metrics) == {"c"}

    def test_a_metric_without_steps_is_not_repeated(self) -> None:
        log, run_id = self.open_run("stepless")
        for value in (0.5, 0.5, 0.75, 0.75):
            log.log_metrics(run_id, {"recall": value})
        assert [value for _, value in self.store.read(run_id).metrics["recall"]] == [0.5, 0.75]

    def test_files_are_written_and_replaced(self) -> None:
        log, run_id = self.open_run("files")
        log.log_text(run_id, "old", "notes/a.txt")
        log.log_text(run_id, "grüße ✓", "notes/a.txt")
        log.log_dict(run_id, {"b": [1, math.nan], "a": {"c": None}}, "facts.json")
        files = self.store.read(run_id).files
        assert files["notes/a.txt"] == "grüße ✓"
        assert json.loads(files["facts.json"]) == {"b": [1, None], "a": {"c": None}}

    def test_a_file_outside_the_run_is_refused(self) -> None:
        log, run_id = self.open_run("outside")
        for file in ("/etc/motd", "../up.txt", "a/../../b.txt", "", "a\\b.txt"):
            with refuses(TrackingError, "file"):
                log.log_text(run_id, "x", file)

    def test_tables_are_csv_or_json(self) -> None:
        log, run_id = self.open_run("tables")
        rows = [{"id": "a", "score": 0.5}, {"id": "b, c", "score": math.nan, "more": "x"}]
        log.log_table(run_id, rows, "t.csv")
        log.log_table(run_id, rows, "t.json")
        files = self.store.read(run_id).files
        assert files["t.csv"].split() == ["id,score,more", "a,0.5,", '"b,', 'c",nan,x']
        assert json.loads(files["t.json"])[1] == {"id": "b, c", "score": None, "more": "x"}
        with refuses(TrackingError, ".csv or .json"):
            log.log_table(run_id, rows, "t.xlsx")

    def test_figures_carry_their_script(self) -> None:
        log, run_id = self.open_run("figures")
        log.log_figure(run_id, StubFigure("curve"), "figures/curve.html")
        assert "inline=True" in self.store.read(run_id).files["figures/curve.html"]

    def test_a_golden_set_is_logged_without_texts(self) -> None:
        log, run_id = self.open_run("dataset", forbidden_texts=FORBIDDEN)
        for context in ("search", "test", "search"):
            log.log_dataset(run_id, make_record(context=context))
        run = self.store.read(run_id)
        assert sorted(d["context"] for d in run.datasets) == ["search", "test"]
        assert all(d["digest"] == "d" * 64 and d["source"] == "walrus.jsonl" and d["cases"] == 2 for d in run.datasets)
        lines = run.files["golden/walrus.search.csv"].split()
        assert lines[0] == "id,label,clause,severity,language,split,kind,group,pair"
        assert lines[1].startswith("case-7,violation,V1,2,en,search,")
        assert "sang" not in run.files["golden/walrus.search.csv"]

    def test_a_golden_set_is_logged_with_texts_on_request(self) -> None:
        log, run_id = self.open_run("dataset-texts", forbidden_texts=FORBIDDEN, log_texts=True)
        log.log_dataset(run_id, make_record())
        log.log_params(run_id, {"text": CASE_TEXT})
        assert "sang twelve songs" in self.store.read(run_id).files["golden/walrus.search.csv"]
        assert log.log_texts

    def test_a_prompt_is_registered_once_and_linked_to_every_run_that_uses_it(self) -> None:
        log, first = self.open_run("prompt:1")
        uri = log.register_prompt(first, "walrus.direct", make_prompt(), {"candidate": "abc"})
        assert uri is not None
        assert log.register_prompt(first, "walrus.direct", make_prompt()) == uri
        later, second = self.open_run("prompt:2")
        other = later.register_prompt(second, "walrus.direct", make_prompt("another"))
        assert other is not None
        assert other != uri
        assert later.register_prompt(second, "walrus.direct", make_prompt()) == uri
        assert self.store.read(first).prompts == [uri]
        assert sorted(self.store.read(second).prompts) == sorted([uri, other])
        assert self.store.read_prompt(uri).tags["candidate"] == "abc"
        assert json.loads(self.store.read_prompt(uri).tags["promptopt.labels"]) == ["yes", "no"]

    def test_a_registered_prompt_stands_for_the_exact_messages(self) -> None:
        log, run_id = self.open_run("prompt:exact")
        uri = log.register_prompt(run_id, "walrus.exact", make_prompt())
        assert uri is not None
        template = self.store.read_prompt(uri).messages
        assert "{{x}}" not in template[0]["content"]
        assert template[1]["content"] == "Text: {{{text}}}\nAnswer:"
        assert fill_template(template, {"text": "{{y}}"}) == make_prompt().messages("{{y}}")

    def test_a_bad_prompt_name_is_refused(self) -> None:
        log, run_id = self.open_run("prompt:name")
        with refuses(TrackingError, "prompt name"):
            log.register_prompt(run_id, "a/b", make_prompt())

    def test_prompts_can_stay_files(self) -> None:
        log, run_id = self.open_run("prompt:file", registered_prompts=False)
        assert log.register_prompt(run_id, "walrus.file", make_prompt(), {"t": "1"}) is None
        run = self.store.read(run_id)
        data = json.loads(run.files["prompts/walrus.file.json"])
        assert fill_template(data["messages"], {"text": "z"}) == make_prompt().messages("z")
        assert run.prompts == []

    def test_case_texts_are_refused_everywhere(self) -> None:
        log, run_id = self.open_run("forbidden", forbidden_texts=FORBIDDEN)
        quoted = json.dumps({"demo": CASE_TEXT})
        with refuses(TrackingError, "'case-7'"):
            log.open_run("name", "forbidden:tag", tags={"t": CASE_TEXT})
        with refuses(TrackingError, "'case-7'"):
            log.log_params(run_id, {"p": f"before {CASE_TEXT} after"})
        with refuses(TrackingError, "'case-7'"):
            log.log_dict(run_id, {"deep": [{"er": CASE_TEXT}]}, "d.json")
        with refuses(TrackingError, "'case-7'"):
            log.log_text(run_id, quoted, "t.txt")
        with refuses(TrackingError, "'case-7'"):
            log.log_table(run_id, [{"a": CASE_TEXT}], "t.csv")
        with refuses(TrackingError, "'case-7'"):
            log.log_figure(run_id, StubFigure(CASE_TEXT), "f.html")
        with refuses(TrackingError, "'case-7'"):
            log.register_prompt(run_id, "walrus.forbidden", make_prompt(CASE_TEXT))
        with refuses(TrackingError, "'case-7'"):
            log.register_prompt(run_id, "walrus.forbidden", make_prompt("fine"), {"t": CASE_TEXT})
        run = self.store.read(run_id)
        assert (run.params, run.files, run.prompts) == ({}, {}, [])
        redacted = CaseTexts(FORBIDDEN).redact_prompt(make_prompt(quoted))
        uri = log.register_prompt(run_id, "walrus.redacted", redacted)
        assert uri is not None
        assert "[case case-7]" in self.store.read_prompt(uri).messages[0]["content"]

    def test_an_unknown_run_is_refused(self) -> None:
        with refuses(Exception, "no-such-run"):
            self.store.open().log_params("no-such-run", {"a": 1})
