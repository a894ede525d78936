"""Golden sets are written whole or not at all."""

from __future__ import annotations

import json
import os
from datetime import date

import pytest

from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.manifest import Provenance
from promptopt.golden.reader import read_golden_set, read_manifest
from promptopt.golden.splits import assign_splits
from promptopt.golden.writer import write_golden_set


@pytest.fixture
def golden(toy_cases):
    return GoldenSet(name="toy", domain="toy", cases=assign_splits(toy_cases))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_manifest_counts_and_names_the_cases(tmp_path, golden):
    provenance = Provenance(licence="Apache-2.0", content_warning="careful")
    written = write_golden_set(tmp_path / "toy", golden, provenance, created=date(2026, 1, 2))
    assert written == read_manifest(tmp_path / "toy")
    assert (written.cases, written.licence, written.created) == (60, "Apache-2.0", date(2026, 1, 2))
    assert sum(written.splits.values()) == sum(written.labels.values()) == sum(written.languages.values()) == 60
    assert list(json.loads((tmp_path / "toy" / "manifest.json").read_text()))[:2] == ["name", "domain"]


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_failed_write_leaves_no_new_folder(tmp_path, golden, monkeypatch, fails_at):
    calls, replace = [], os.replace

    def failing(*paths):
        calls.append(paths)
        if len(calls) == fails_at:
            raise OSError("disk full")
        replace(*paths)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="disk full"):
        write_golden_set(tmp_path / "toy", golden, Provenance())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_set(tmp_path, golden, monkeypatch):
    folder = tmp_path / "toy"
    write_golden_set(folder, golden, Provenance())
    (folder / "LICENSE").write_text("kept")
    before = contents(folder)

    def failing(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", failing)
    smaller = golden.model_copy(update={"cases": golden.cases[:50]})
    with pytest.raises(OSError, match="disk full"):
        write_golden_set(folder, smaller, Provenance())
    assert contents(folder) == before


def test_an_existing_set_is_replaced_and_other_files_stay(tmp_path, golden):
    folder = tmp_path / "toy"
    write_golden_set(folder, golden, Provenance())
    (folder / "LICENSE").write_text("kept")
    smaller = golden.model_copy(update={"cases": golden.cases[:50]})
    write_golden_set(folder, smaller, Provenance())
    assert len(read_golden_set(folder).cases) == 50
    assert sorted(contents(folder)) == ["LICENSE", "cases.jsonl", "manifest.json"]


def test_a_set_without_splits_is_not_written(tmp_path, toy_cases):
    with pytest.raises(GoldenSetError, match="60 cases have no split"):
        write_golden_set(tmp_path / "toy", GoldenSet(name="toy", domain="toy", cases=toy_cases), Provenance())
    assert not (tmp_path / "toy").exists()
