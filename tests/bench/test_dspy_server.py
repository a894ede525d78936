"""DSPy against a real llama.cpp server."""

from __future__ import annotations

import pytest

from promptopt.bench import dspy_server, llama_server
from promptopt.bench.gguf import gguf_of
from promptopt.bench.workload import Cell, make_workload
from promptopt.errors import UserError
from promptopt.judges.catalog import list_models

MODEL = "smollm2-135m"


@pytest.mark.peer
@pytest.mark.slow
def test_dspy_and_llama_cpp_are_timed():
    if not llama_server.is_installed():
        pytest.skip(llama_server.MISSING)
    (model,) = (status for status in list_models() if status.name == MODEL)
    if not model.ready:
        pytest.skip(f"{MODEL} has not been pulled")
    try:
        gguf = gguf_of(MODEL, print)
    except UserError as refusal:
        pytest.skip(str(refusal))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    work = make_workload(tokenizer, Cell(128, 12, 2), 40, 8192)
    options = dspy_server.ServerOptions(gguf, cores=2, client_threads=(1, 2), seconds=2)
    timing = dspy_server.time_dspy_server(work, options, tokenizer, cases=40)
    assert timing.cases >= 4
    assert timing.threads in (1, 2)
    assert 0 < timing.rate <= timing.marginal_rate
    assert timing.failures + len(timing.verdicts) >= 4
    assert set(timing.verdicts.values()) <= {0, 1}
    # The policy came from the server's cache, and answers ended early: what was computed is the case, DSPy's closing
    # words and a dozen tokens.
    assert 12 < timing.tokens_computed / timing.cases < 128
    assert timing.memory_mib > 100


def test_a_catalog_model_without_gguf_is_one_sentence():
    with pytest.raises(UserError, match=r"^no GGUF file of 'other' is known; name one with --gguf\.$"):
        gguf_of("other", print)
