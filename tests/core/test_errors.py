from __future__ import annotations

import pickle

import pytest

from promptopt.errors import EngineError, LabelSetError, UserError


@pytest.mark.parametrize("kind", [UserError, EngineError, LabelSetError])
@pytest.mark.parametrize("parts", [{}, {"where": "judge.model"}, {"where": "a.yaml:3", "remedy": "correct the line"}])
def test_errors_arrive_whole_from_another_process(kind: type[UserError], parts: dict[str, str]) -> None:
    error = kind("something is wrong", **parts)
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert (arrived.what, arrived.where, arrived.remedy) == (error.what, error.where, error.remedy)
