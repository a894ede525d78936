"""What is committed works on any machine, and agrees with itself."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tomllib

import pytest

from promptopt import __version__

INDEX_HOST = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|/simple[/]|--(extra-)?index-url|--find[-]links|--trusted[-]host"
    r"|PIP_(EXTRA_)?INDEX_URL|UV_(DEFAULT_)?INDEX"
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|home/\w+|Users/\w+|opt/\w+|mnt/\w+)/|[A-Z]:\\Users\\")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9A-Za-z.]*)")


def _found(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    return [
        f"{name}:{number}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(root) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    matches = [PIN.fullmatch(line) for line in pins]
    assert [line for line, match in zip(pins, matches, strict=True) if match is None] == []
    return {_normalised(match[1]): match[2] for match in matches if match}


def _requirements(root) -> list[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"].get("optional-dependencies", {})
    groups = project["dependency-groups"]
    lists = (project["project"]["dependencies"], *extras.values(), *groups.values())
    return [requirement for requirements in lists for requirement in requirements]


def test_no_file_names_an_index_host(tracked_texts):
    assert _found(INDEX_HOST, tracked_texts) == []


def test_no_file_names_a_path_of_one_machine(tracked_texts):
    assert _found(MACHINE_PATH, tracked_texts) == []


def test_constraints_are_exact_versions_without_addresses_or_builds(root):
    pins = _pins(root)
    assert "torch" in pins
    assert not [name for name in pins if name.startswith(("nvidia-", "cuda-")) or name == "triton"]


def test_every_declared_dependency_is_pinned_within_its_range(root):
    packaging = pytest.importorskip("packaging.requirements")
    pins = _pins(root)
    requirements = [packaging.Requirement(text) for text in _requirements(root)]
    assert [r.name for r in requirements if _normalised(r.name) not in pins] == []
    outside = [str(r) for r in requirements if not r.specifier.contains(pins[_normalised(r.name)])]
    assert outside == []


def test_version_is_the_same_everywhere(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert {project["version"], released[0]} == {__version__}


def test_everything_public_in_the_package_is_documented(root):
    missing = []
    kinds = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
    for path in sorted((root / "src").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
        undocumented = [node for node in (tree, *public) if not (ast.get_docstring(node) or "").strip()]
        missing += [f"{path.relative_to(root)}: {getattr(node, 'name', 'module')}" for node in undocumented]
    assert missing == []


def test_every_script_says_what_it_is_for(root):
    scripts = sorted([*(root / "scripts").glob("*.py"), *(root / "experiments").rglob("*.py")])
    assert scripts
    assert [path.name for path in scripts if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


def test_design_notes_are_short_and_listed(root):
    folder = root / "docs" / "design"
    index = (folder / "README.md").read_text(encoding="utf-8")
    notes = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert notes
    assert [path.name for path in notes if f"]({path.name})" not in index] == []
    assert [path.name for path in notes if len(path.read_text(encoding="utf-8").splitlines()) > 40] == []


def test_links_between_documents_lead_somewhere(root, tracked_texts):
    links = [
        (name, target)
        for name, text in tracked_texts.items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#\s]+)", text)
        if "://" not in target and not target.startswith("mailto:")
    ]
    assert [link for link in links if not (root / link[0]).parent.joinpath(link[1]).exists()] == []


def test_ci_runs_make_test(root):
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "make test"
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_its_targets_and_they_can_be_planned(root):
    listed = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True, timeout=30).stdout
    targets = re.findall(r"^  make (\w+)", listed, re.M)
    assert {"quickstart", "test", "install", "lint", "format", "constraints", "clean"} <= set(targets)
    for target in ("quickstart", "test"):
        plan = subprocess.run(
            ["make", "--dry-run", "VENV=no-such-venv", target], cwd=root, capture_output=True, text=True, timeout=30
        )
        assert plan.returncode == 0, plan.stderr
        assert "-m venv no-such-venv" in plan.stdout
        assert plan.stdout.index("torch==") < plan.stdout.index("--editable .")
