"""A domain is a policy, a golden set and a configuration: the package knows none of them by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "promptopt"
DOMAINS = sorted(path.stem for path in (ROOT / "data" / "policies").glob("*.yaml"))
# `abuse` or `violence` may stand in prose, or in --help as an example; a name like `self_harm` is no English word.
UNMISTAKABLE = [domain for domain in DOMAINS if "_" in domain]


def _files_with(pattern: str, suffixes: set[str]) -> list[str]:
    wanted = re.compile(pattern, re.IGNORECASE)
    files = (path for path in PACKAGE.rglob("*") if path.suffix in suffixes)
    return [str(path.relative_to(PACKAGE)) for path in files if wanted.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("domain", UNMISTAKABLE)
def test_no_file_of_the_package_mentions_a_domain(domain):
    assert _files_with(re.escape(domain), {".py", ".j2"}) == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_code_holds_a_domain_as_a_value(domain):
    found = _files_with(rf"[\"']{re.escape(domain)}[\"']", {".py", ".j2"})
    assert [name for name in found if not name.startswith("testing/")] == []


def test_the_search_finds_what_is_mentioned():
    assert "_" in "".join(UNMISTAKABLE)
    assert "cli/options.py" in _files_with("domain=abuse", {".py"})
