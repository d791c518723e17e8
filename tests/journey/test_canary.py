"""Test that names and texts of people reach neither SQL text nor logs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nurture.journey.consent import suppression
from nurture.journey.erasure import erase
from nurture.journey.intake.api import batches
from nurture.journey.leads import find
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import run_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW
from tests.journey.erasure.test_erase import ADDRESS, SECRETS, create_full_history
from tests.journey.erasure.test_erase import ctx as ctx  # noqa: PLC0414 - the fixture
from tests.journey.observe import one, recorded_statements

HOSTILE = "'; DROP TABLE lead; -- canary"


def test_values_are_bound_and_no_log_names_a_person(
    ctx: AppContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), recorded_statements(ctx.database) as statements:
        lead = create_full_history(ctx, tmp_path)
        named = {"external_id": HOSTILE, "email": "canary@people.example", "full_name": HOSTILE}
        done = batches.post_leads(ctx, "crm", [named | {"title": HOSTILE, "zone": HOSTILE}], "website", NOW)
        assert done.accepted == 1, done.rejected
        signal = {"lead": {"id": lead}, "kind": "visited", "occurred_at": NOW.isoformat()}
        batches.post_signals(ctx, [signal | {"value": HOSTILE, "link": HOSTILE}], NOW)
        run_at(ctx, NOW + 2 * HOUR, NOW + 3 * HOUR)
        explain.explain(ctx, find.find_lead(ctx, ADDRESS), NOW + 3 * HOUR)
        find.find_lead(ctx, "canary@people.example")
        suppression.suppress(ctx, ["canary@people.example", "o'hara@people.example"], NOW + 3 * HOUR)
        erase.erase_person(ctx, ADDRESS, NOW + DAY)
    assert one(ctx, "SELECT count(*) FROM identity WHERE external_id = :id", id=HOSTILE) == 1
    assert len(statements) > 100
    asked_by_the_test = "external_id = 'c-4711'"
    sent = "\n".join(one for one in statements if asked_by_the_test not in one).lower()
    logged = " ".join(record.getMessage() + str(vars(record)) for record in caplog.records).lower()
    for word in (*SECRETS, "canary", "o'hara"):
        assert word not in sent, word
        assert word not in logged, word
