from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

from promptopt.engines import loading
from promptopt.engines.local import LocalEngine
from promptopt.errors import EngineError
from promptopt.testing.engine import query

QUERIES = [query(text) for text in ("short", "a somewhat longer text about the weather", "I will find you")]


@pytest.mark.skipif(find_spec("torchao") is None, reason="the package torchao is not installed")
def test_quantised_weights_are_another_judge(make_engine: Callable[..., LocalEngine]) -> None:
    plain, quantised = make_engine(), make_engine(quantization="torchao-int8")
    drift = np.abs(np.exp(quantised.score(QUERIES).logprobs) - np.exp(plain.score(QUERIES).logprobs)).max()
    assert 0 < drift < 0.1
    assert quantised.describe().quantization == "torchao-int8"
    assert quantised.describe().fingerprint != plain.describe().fingerprint


def test_an_unknown_quantisation_is_refused(make_engine: Callable[..., LocalEngine]) -> None:
    with pytest.raises(
        EngineError, match=r"judge\.quantization: unknown quantisation 'int3'; choose bitsandbytes-8bit"
    ):
        make_engine(quantization="int3")


def test_a_library_that_is_missing_is_named(
    make_engine: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"needs the package bitsandbytes.*pip install bitsandbytes"):
        make_engine(quantization="bitsandbytes-4bit")


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
def test_compiled_blocks_compute_the_same(make_engine: Callable[..., LocalEngine]) -> None:
    plain, compiled = make_engine(), make_engine(compile=True)
    found = np.exp(compiled.score(QUERIES).logprobs)
    assert np.abs(found - np.exp(plain.score(QUERIES).logprobs)).max() <= 1e-4
    assert compiled.describe().fingerprint == plain.describe().fingerprint
