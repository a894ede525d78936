"""The procedure that annotators follow, as Markdown and as one HTML file."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from promptopt.errors import PolicyError
from promptopt.policy.changes.between import changes_between
from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.model import Policy
from promptopt.policy.sop import contrasts, example_pairs, ladder, render_html, render_markdown
from promptopt.policy.wording import condition

VOID = {"meta", "br", "link", "img", "hr", "input"}
EVIL = "<img src=x onerror=alert(1)> | `code` [x](javascript:y) **b** </td>"


class _Page(HTMLParser):
    """Tags with their attributes, texts, and whether every element is closed in turn."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(" ".join(data.split()))

    @property
    def ids(self):
        return [a["id"] for _, a in self.tags if "id" in a]

    @property
    def text(self):
        return " ".join(filter(None, self.texts))


@pytest.fixture
def evil(data):
    for clause in data["clauses"]:
        for name in ("title", "definition", "question"):
            clause[name] = EVIL
        clause["includes"] = clause["excludes"] = [EVIL]
    for name in ("title", "purpose", "summary", "question", "version"):
        data[name] = EVIL
    data["terms"] = [{"term": EVIL, "definition": EVIL}]
    data["boundary_examples"] = [{"text": EVIL, "label": "violation", "clause": "V1", "why": EVIL}]
    data["templates"] = [{"clause": "V1", "text": "{a} " + EVIL, "slots": {"a": ["x"]}, "controls": {"a": [EVIL]}}]
    data["changelog"] = [{"version": EVIL, "date": "2026-01-01", "change": EVIL}]
    return Policy.model_validate(data)


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(shipped_policies):
    for policy in shipped_policies:
        html = render_html(policy)
        page = _Page(html)
        assert page.open == []
        assert len(page.ids) == len(set(page.ids))
        assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object"})
        for tag, attributes in page.tags:
            assert "src" not in attributes
            assert not any(name.startswith("on") for name in attributes)
            if tag == "a":
                assert attributes["href"].startswith("#")
                assert attributes["href"][1:] in page.ids
        assert "url(" not in html.replace("url(#tree-arrow)", "")
        assert "@import" not in html


def test_the_page_is_for_everyone(shipped_policies):
    page = _Page(render_html(shipped_policies[0]))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    attributes = [a for _, a in page.tags]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in attributes
    assert next(a for tag, a in page.tags if tag == "html")["lang"] == "en"
    (drawing,) = [a for tag, a in page.tags if tag == "svg"]
    assert drawing["role"] == "img"
    assert set(drawing["aria-labelledby"].split()) <= set(page.ids)
    assert {"main", "nav", "header", "section", "article"} <= set(tags)
    assert all("scope" in a for tag, a in page.tags if tag == "th")


def test_the_content_warning_comes_before_every_example(shipped_policies):
    for policy in shipped_policies:
        for text in (_Page(render_html(policy)).text, render_markdown(policy)):
            first = min(text.index(e.text.split("[")[0][:20].strip()) for e in policy.boundary_examples)
            assert text.index("Content warning") < text.index("Purpose") < first


def test_both_say_every_step_clause_term_and_example(shipped_policies):
    for policy in shipped_policies:
        tree = compile_tree(policy)
        page, markdown = _Page(render_html(policy)), render_markdown(policy)
        assert {f"step-{s.number}" for s in tree.steps} <= set(page.ids)
        assert {f"end-{e.id}" for e in tree.endings} <= set(page.ids)
        assert {f"clause-{c.id}" for c in policy.clauses} <= set(page.ids)
        said = [
            *(c.definition for c in policy.clauses),
            *(c.question for c in policy.clauses),
            *(item for c in policy.clauses for item in (*c.includes, *c.excludes)),
            *(t.definition for t in policy.terms),
            *(e.text for e in policy.boundary_examples),
            *(e.why for e in policy.boundary_examples),
        ]
        unescaped = re.sub(r"\\(.)", r"\1", markdown)
        for text in said:
            flat = " ".join(text.split())
            assert flat in page.text
            assert flat in unescaped


def test_tables_have_a_row_for_every_step_with_where_each_answer_leads(policy):
    rows = [line for line in render_markdown(policy).splitlines() if re.match(r"\| \d+ \| \*\*", line)]
    assert [re.match(r"\| (\d+) \| \*\*(V\d)", row).groups() for row in rows] == [
        ("1", "V2"),
        ("2", "V1"),
        ("3", "V4"),
        ("4", "V3"),
        ("5", "V4"),
        ("6", "V5"),
    ]
    assert rows[0].endswith("| **end A**: Violation, escalate: cite V2 | step 2 |")
    assert "As in step 3" in rows[4]
    for line in render_markdown(policy).splitlines():
        if line.startswith("| ") and "step 2 |" in line:
            assert line.count("|") == 6


def test_nothing_that_a_policy_says_is_markup(evil):
    page = _Page(render_html(evil, evil))
    assert page.open == []
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    assert EVIL in page.text
    fence, markdown = False, render_markdown(evil, evil)
    for line in markdown.splitlines():
        fence = not fence if line.startswith("```") else fence
        bare = re.sub(r"\\[\\`*_\[\]<>|~&#$]", "", line)
        assert "<img" not in bare
        assert "](" not in bare
        if not fence and not line.startswith("```"):
            assert "`" not in bare
        assert "**b**" not in bare
        if re.match(r"\| \d+ \|", line):
            assert bare.count("|") in (5, 6)


def test_numbers_that_open_a_line_do_not_become_lists(data):
    data["purpose"] = "1. not a list"
    data["clauses"][0]["includes"] = ["- dash", "2.5 litres"]
    markdown = render_markdown(Policy.model_validate(data))
    assert "\n1\\. not a list" in markdown
    assert "\n- \\- dash\n- 2.5 litres" in markdown


def test_examples_stand_beside_what_the_policy_sets_them_against(shipped_policies, data):
    for policy in shipped_policies:
        pairs = list(example_pairs(policy.boundary_examples))
        told = [e for pair in pairs for e in (pair.violation, pair.allowed) if e is not None]
        assert told == list(policy.boundary_examples)
        assert all(p.violation is None or p.violation.label == "violation" for p in pairs)
        assert all(p.allowed is None or p.allowed.label == "allowed" for p in pairs)
    labels = ("allowed", "violation", "violation", "allowed", "violation")
    data["boundary_examples"] = [{"text": str(i), "label": x, "why": "w"} for i, x in enumerate(labels)]
    pairs = example_pairs(Policy.model_validate(data).boundary_examples)
    told = [(p.violation and p.violation.text, p.allowed and p.allowed.text) for p in pairs]
    assert told == [(None, "0"), ("1", None), ("2", "3"), ("4", None)]


def test_contrasts_come_from_templates_with_controls(data):
    data["templates"] = [
        {
            "clause": "V1",
            "text": "{who} said {what}",
            "slots": {"who": ["A"], "what": ["bad"]},
            "controls": {"what": ["good"]},
        },
        {"clause": "V1", "text": "only {what}", "slots": {"what": ["bad"]}},
    ]
    policy = Policy.model_validate(data)
    (contrast,) = contrasts(policy)
    assert (contrast.clause.id, contrast.applies, contrast.does_not) == ("V1", "A said bad", "A said good")
    for text in (render_html(policy), render_markdown(policy)):
        assert "A said bad" in text
        assert "A said good" in text


def test_the_ladder_goes_from_grave_to_permitted(policy):
    assert [(level.severity, [c.id for c in level.clauses]) for level in ladder(policy)] == [
        (4, ["V2"]),
        (3, ["V1"]),
        (1, ["V3"]),
        (0, ["V4", "V5"]),
    ]


def test_a_policy_with_only_what_it_must_have_is_rendered(data):
    for name in ("terms", "boundary_examples"):
        data[name] = []
    policy = Policy.model_validate(data)
    page, markdown = _Page(render_html(policy)), render_markdown(policy)
    assert page.open == []
    assert "definitions" not in page.ids
    assert "examples" not in page.ids
    assert "The policy keeps no list of its versions." in page.text
    assert "## Definitions" not in markdown


def test_what_escalates_is_listed_whether_the_rule_or_the_clause_says_so(data):
    data["clauses"][1]["action"] = "remove"
    data["clauses"][2]["action"] = "escalate"
    policy = Policy.model_validate(data)
    for text in (_Page(render_html(policy)).text, render_markdown(policy)):
        path = text.rpartition("Escalation path")[2]
        assert "End A" in path
        assert "(rule R1): escalate every text that comes to it." in path
        assert "V3 Title of V3: escalate every text that it is cited for." in path
        assert "V2 Title of V2: escalate" not in path


def test_changes_since_a_version(policy, data, clause):
    assert changes_between(policy, policy) == ()
    data["clauses"][0] |= {"severity": 4, "includes": ["inside V1", "more"], "definition": "Another."}
    data["clauses"][2]["exceptions"] = ["V4", "V6"]
    data["clauses"][4] = clause("V6", 0)
    data["routing"][2]["when"] = {"all": ["V3"], "none": ["V4", "V6"]}
    data["precedence"] = ["V1", "V2", "V3"]
    data["boundary_examples"][0] |= {"label": "allowed", "clause": "V4"}
    data["terms"].append({"term": "new", "definition": "Just so."})
    data["summary"] = "Shorter."
    told = {(c.where, c.what) for c in changes_between(policy, Policy.model_validate(data))}
    assert told == {
        ("V1", "Severity: 4; before: 3"),
        ("V1", "Definition: Another.; before: Definition of V1."),
        ("V1", "Includes: added more"),
        ("V3", "Exceptions: added V6; removed V5"),
        ("V6", "New clause: Title of V6 (severity 0, allow)"),
        ("V5", "Clause removed: Title of V5"),
        ("R3", "Rule: all of V3; none of V4, V6: violation; before: all of V3; none of V4, V5: violation"),
        ("Precedence", "Order: V1, V2, V3; before: V2, V1, V3"),
        ("new", "New term: Just so."),
        ("Examples", "Now allowed under V4; before violation under V1: “on the wrong side”"),
        ("Summary", "Shorter.; before: The whole policy in short."),
    }


def test_the_order_of_rules_is_a_change(policy, data):
    data["routing"][0], data["routing"][1] = data["routing"][1], data["routing"][0]
    (change,) = changes_between(policy, Policy.model_validate(data))
    assert (change.where, change.what) == ("Routing", "Order: R2, R1, R3, R4; before: R1, R2, R3, R4")


def test_pages_list_the_changes(policy, data):
    data["version"] = "1.1.0"
    data["clauses"][0]["severity"] = 4
    data["changelog"] = [
        {"version": "1.0.0", "date": "2026-01-01", "change": "First."},
        {"version": "1.1.0", "date": "2026-02-01", "change": "V1 is graver."},
    ]
    new = Policy.model_validate(data)
    page, markdown = _Page(render_html(new, policy)).text, render_markdown(new, policy)
    assert "Since version 1.0.0 V1 Severity: 4; before: 3" in page
    assert "Since version 1.0.0:\n\n- **V1** Severity: 4; before: 3\n" in markdown
    for text in (page, markdown):
        assert text.index("V1 is graver.") < text.index("First.")
        assert "Nothing that changes" not in text
    assert "Nothing that changes a decision" in render_markdown(new, new)


def test_another_domain_is_no_former_version(policy, data):
    data["domain"] = "other"
    with pytest.raises(PolicyError, match="about other, not demo"):
        render_html(policy, Policy.model_validate(data))


def test_a_condition_in_words(policy):
    assert [condition(rule) for rule in policy.routing] == [
        "any of V2",
        "any of V1; none of V4",
        "all of V3; none of V4, V5",
        "in every other case",
    ]
