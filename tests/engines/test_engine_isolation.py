"""Engines run on machines that hold numpy, torch and transformers only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import promptopt.engines

FOLDER = Path(promptopt.engines.__file__).parent
ALLOWED = {"numpy", "torch", "transformers", "huggingface_hub"}
# What one file may import besides, when it is used: each is an engine or a format that asks for its own library.
OPTIONAL = {"server/": {"httpx"}, "ray/": {"ray"}, "loading": {"torchao"}}
PROBE = """
import sys

SOURCES = {root!r}
REFUSED = {{"pydantic", "yaml", "dspy", "optuna", "mlflow", "sqlalchemy", "rich", "hydra", "omegaconf", "pandas"}}


class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            frame = sys._getframe(1)
            while frame and "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            if frame and frame.f_code.co_filename.startswith(SOURCES):
                raise ImportError(f"promptopt asked for {{name}}")
        return None


sys.meta_path.insert(0, Guard())
import promptopt.engines.local
import promptopt.engines.fake

ours = {{name for name in sys.modules if name.startswith("promptopt.")}}
strangers = {{name for name in ours if not name.startswith(("promptopt.engines", "promptopt.errors"))}}
assert not strangers, strangers
print("isolated")
"""


def test_sources_import_nothing_else() -> None:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
                names = [node.module or ""]
            else:
                continue
            for name in names:
                room = ".".join(name.split(".")[:2])
                own = {
                    lib
                    for start, libs in OPTIONAL.items()
                    if path.relative_to(FOLDER).as_posix().startswith(start)
                    for lib in libs
                }
                known = name.split(".")[0] in ALLOWED | own | sys.stdlib_module_names
                assert known or room in {"promptopt.engines", "promptopt.errors"}, f"{path.name}:{node.lineno}: {name}"


def test_importing_an_engine_loads_no_other_room() -> None:
    code = PROBE.format(root=str(FOLDER.parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "isolated"


def test_the_contract_and_the_fake_engine_need_no_torch() -> None:
    code = "import promptopt.engines.fake, promptopt.engines.folders, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
