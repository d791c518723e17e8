"""The list of leads in the console, on both databases."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.reporting.console.lead_list import LeadPage, list_leads
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import add_leads, record_signal, recorded_statements

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _list(ctx: AppContext, before: int | None = None, limit: int = 50, **chosen: Any) -> LeadPage:
    with ctx.database.read() as tx:
        return list_leads(ctx, tx, LeadFilter(**chosen), START, before=before, limit=limit)


def _ids(ctx: AppContext, **chosen: Any) -> list[int]:
    return [one.id for one in _list(ctx, **chosen).leads]


@pytest.mark.parametrize(
    "text",
    [
        "ada",
        "ADA low",
        "quay",
        "ada@quay.example",
        "quay.example",
        "ext-1",
        "title:clerk",
        "company:Quay low",
        'o"h',
        "100%",
    ],
)
def test_a_lead_is_found_by_its_name_company_address_domain_external_id_or_field(ctx: AppContext, text: str) -> None:
    lead = add_lead(
        ctx,
        email="ada@quay.example",
        external_id="ext-1",
        first_name="Ada",
        last_name="Low",
        company='Quay O"Hara 100%',
        title="Clerk",
    )
    add_lead(ctx, email="bob@pier.example", first_name="Bob", company="Pier", title="Head")
    assert _ids(ctx, text=text) == [lead]


def test_what_is_searched_is_no_pattern(ctx: AppContext) -> None:
    add_lead(ctx, company="Pier")
    assert _ids(ctx, text="%") == _ids(ctx, text="_ier") == _ids(ctx, text="company:P%r") == []


def test_filters_narrow_each_other(ctx: AppContext) -> None:
    head = add_lead(ctx, title="Head", source="fair")
    add_lead(ctx, title="Head", source="web")
    clerk = add_lead(ctx, title="Clerk", source="fair")
    ready = add_lead(ctx, demo_requested=True)
    without = add_lead(ctx, email=None)
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    record_signal(ctx, head, SignalKind.CLICKED, START + 2 * HOUR)
    assert _ids(ctx, source="fair") == [clerk, head]
    assert _ids(ctx, track="welcome", source="fair") == [head]
    assert _ids(ctx, track="welcome", step="wait-for-click", source="fair") == [head]
    assert _ids(ctx, track="welcome", step="02-more") == []
    assert _ids(ctx, custodian="track", source="fair") == [clerk, head]
    assert _ids(ctx, queue="no-address") == [without]
    assert _ids(ctx, waiting=True) == _ids(ctx, custodian="offer") == [ready]
    assert _ids(ctx, did="clicked", since=START) == [head]
    assert _ids(ctx, did="clicked", since=START + DAY) == []
    assert head in _ids(ctx, did="emailed", since=START, track="welcome", step="01-hello")
    assert _ids(ctx, text="nobody", source="fair") == []


def test_pages_follow_each_other_without_repeats_or_gaps(ctx: AppContext) -> None:
    ids = add_leads(ctx, 7, title="Head")
    first = _list(ctx, limit=3, source="test")
    assert (first.count, first.is_partial) == (7, False)
    second = _list(ctx, first.next_before, 3, source="test")
    third = _list(ctx, second.next_before, 3, source="test")
    seen = [one.id for page in (first, second, third) for one in page.leads]
    assert seen == sorted(ids, reverse=True)
    assert (second.count, third.next_before) == (None, None)


def test_a_lead_shows_its_step_and_an_unknown_filter_is_refused(ctx: AppContext) -> None:
    add_lead(ctx, title="Head", first_name="Ada")
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    (row,) = _list(ctx, track="welcome").leads
    assert (row.name, row.custodian, row.ref, row.step) == ("Ada", "track", "welcome", "wait-for-click")
    with pytest.raises(NotFound, match="track"):
        _list(ctx, custodian="trakc")
    with pytest.raises(NotFound, match="clicked"):
        _list(ctx, did="cliked")


@pytest.mark.parametrize(
    "chosen", [{}, {"text": "zz"}, {"track": "welcome"}, {"did": "clicked"}, {"source": "test", "custodian": "track"}]
)
def test_the_number_of_statements_does_not_grow_with_the_leads(ctx: AppContext, chosen: dict[str, Any]) -> None:
    add_leads(ctx, 10, title="Head")
    run_at(ctx, START)
    _list(ctx, **chosen)
    with recorded_statements(ctx.database) as few:
        _list(ctx, **chosen)
    add_leads(ctx, 190, title="Head")
    run_at(ctx, START + HOUR)
    with recorded_statements(ctx.database) as many:
        _list(ctx, **chosen)
    assert len(few) == len(many) <= 8
