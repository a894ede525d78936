"""What a bundle refuses to be."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from promptopt.core.prompt import LoweredPrompt, PromptSegment


def test_created_is_kept_in_utc(make_bundle):
    paris = timezone(timedelta(hours=2))
    made = make_bundle(created=datetime(2026, 6, 1, 12, tzinfo=paris))
    assert made.model_dump(mode="json")["created"] == "2026-06-01T10:00:00Z"


def test_created_needs_a_time_zone(make_bundle):
    with pytest.raises(ValidationError, match="timezone"):
        make_bundle(created=datetime(2026, 6, 1, 12))


def test_prompts_must_ask_the_procedures_questions(make_bundle, bundle, direct):
    with pytest.raises(ValidationError, match="the procedure needs"):
        make_bundle(prompts=bundle.prompts[:2])
    with pytest.raises(ValidationError, match="the procedure needs"):
        make_bundle(procedure=direct, prompts=bundle.prompts)


@pytest.mark.parametrize("slot", [None, "context"])
def test_prompts_must_have_the_text_slot_and_no_other(make_bundle, bundle, slot):
    bad = LoweredPrompt(question="V1", segments=(PromptSegment(role="user", slot=slot),), labels=("Yes", "No"))
    with pytest.raises(ValidationError, match="one slot 'text'"):
        make_bundle(prompts=(bad, *bundle.prompts[1:]))


def test_the_fingerprint_must_be_that_of_the_card(make_bundle, bundle):
    with pytest.raises(ValidationError, match="fingerprint"):
        make_bundle(fingerprint="0" * 64)
    with pytest.raises(ValidationError, match="weights_digest"):
        make_bundle(engine={key: value for key, value in bundle.engine.items() if key != "weights_digest"})
    assert bundle.engine_card.fingerprint == bundle.fingerprint


def test_pinned_cases_must_fit(make_bundle, bundle):
    first = bundle.parity[0]
    with pytest.raises(ValidationError, match="used twice"):
        make_bundle(parity=(first, first))
    with pytest.raises(ValidationError, match="case-0 does not answer"):
        make_bundle(parity=(first.model_copy(update={"answers": {"V1": 0.5}}),))
    with pytest.raises(ValidationError):
        make_bundle(parity=())
    with pytest.raises(ValidationError):
        make_bundle(parity=tuple(first.model_copy(update={"id": f"c{i}"}) for i in range(25)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_carry_are_refused(make_bundle, bundle, value):
    with pytest.raises(ValidationError, match="JSON"):
        make_bundle(judge={"temperature": value})
    with pytest.raises(ValidationError, match="JSON"):
        make_bundle(operating_point=bundle.operating_point.model_copy(update={"threshold": value}))


def test_the_digest_names_the_content(make_bundle, bundle):
    assert make_bundle(policy_source=bundle.policy_source).digest == bundle.digest
    assert make_bundle(name="other").digest != make_bundle().digest
