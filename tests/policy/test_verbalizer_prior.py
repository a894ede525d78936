"""A prior of words: a file, and the weights of a panel in its own order."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from promptopt.policy.procedure import Procedure
from promptopt.policy.verbalizer import Verbalizer
from promptopt.policy.verbalizer_prior import VerbalizerPrior

SOURCE = {"domain": "toy", "golden": "a" * 64, "cases": 30, "violations": 12}


@pytest.fixture
def prior():
    weights = {"yes": 0.5, "no": -0.25, "Bad": 1.0}
    return VerbalizerPrior(model="m", weights_digest="d", weights=weights, sources=(SOURCE,))


def test_weights_follow_the_words_and_an_unknown_word_has_none(prior):
    assert prior.of(("Bad", "Fine", "yes")) == (1.0, 0.0, 0.5)


def test_it_survives_its_file_and_no_other_key_gets_in(prior):
    assert VerbalizerPrior.model_validate_json(prior.model_dump_json()) == prior
    with pytest.raises(ValidationError, match="extra"):
        VerbalizerPrior.model_validate({**prior.model_dump(), "bias": 1.0})


def test_only_an_unfitted_verbalized_procedure_has_one(policy):
    plain = Procedure.of(policy, "verbalized")
    assert "word_prior" not in plain.model_dump(), "procedures from before keep their bytes"
    fitted = {"verbalizer": Verbalizer(intercept=0.0, weights=(1.0, 0.0, 0.0))}
    for changes in ({"shape": "direct"}, fitted):
        with pytest.raises(ValidationError, match="a prior of words"):
            Procedure.model_validate({**dict(plain), **changes, "word_prior": (0.1, 0.2, 0.3)})
