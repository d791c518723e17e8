"""Published sending rules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.delivery.sending_limits import SendingLimits, SendingRules
from nurture.publishing.publish import PublishedChange, publish
from nurture.publishing.unpublished import find_kept_files
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import one

pytestmark = pytest.mark.quick

SLOW = "on_unknown: {resend_after: 24 hours}\ndefault: {per_day: 50}\n"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def sending(ctx: AppContext) -> SendingRules:
    with ctx.database.read() as tx:
        fresh = PublishedDefinitions().current(tx).sending
        assert ctx.definitions.current(tx).sending == fresh
    return fresh


def test_without_published_rules_the_built_in_ones_apply(ctx: AppContext) -> None:
    assert sending(ctx) == SendingRules()


def test_sending_rules_have_numbered_versions_of_their_own(ctx: AppContext) -> None:
    rules = sample_rules() | {"sending.yaml": SLOW}
    assert publish(ctx, rules, START, dry_run=True) == [PublishedChange("sending", "sending", None, 1)]
    assert sending(ctx) == SendingRules()
    assert publish(ctx, rules, START) == [PublishedChange("sending", "sending", None, 1)]
    assert sending(ctx) == SendingRules(SendingLimits(per_day=50), resend_after=timedelta(hours=24))
    assert publish(ctx, rules, START) == []
    faster = rules | {"sending.yaml": SLOW.replace("50", "80")}
    assert publish(ctx, faster, START) == [PublishedChange("sending", "sending", 1, 2)]
    assert sending(ctx).default.per_day == 80


def test_a_folder_without_sending_rules_keeps_the_published_ones(ctx: AppContext) -> None:
    assert find_kept_files(ctx, sample_rules()) == []
    publish(ctx, sample_rules() | {"sending.yaml": SLOW}, START)
    assert publish(ctx, sample_rules(), START) == []
    assert sending(ctx).default.per_day == 50
    assert find_kept_files(ctx, sample_rules()) == ["sending.yaml"]
    assert find_kept_files(ctx, sample_rules() | {"sending.yaml": SLOW}) == []


def test_publishing_sending_rules_wakes_no_lead(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    due = one(ctx, "SELECT due_at FROM custody")
    publish(ctx, sample_rules() | {"sending.yaml": SLOW}, START)
    assert one(ctx, "SELECT due_at FROM custody") == due
