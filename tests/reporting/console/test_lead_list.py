"""The list of leads in the console, on both databases."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.db.tables.leads import journal
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.reporting.console.lead_list import LeadPage, list_leads
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, record_signal, recorded_statements, rows

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


def test_leads_are_found_by_the_rule_that_classified_them_and_by_who_has_them(ctx: AppContext) -> None:
    ready = add_lead(ctx, demo_requested=True)
    run_at(ctx, START, START + HOUR)
    new = add_lead(ctx)
    ((rule,),) = rows(ctx, "SELECT readiness FROM lead WHERE id = :id", id=ready)
    assert _ids(ctx, readiness=rule) == _ids(ctx, readiness="any") == _ids(ctx, custodian="sales") == [ready]
    assert _ids(ctx, readiness="none") == [new]


def test_leads_are_found_by_the_way_that_they_took_at_a_fork(ctx: AppContext) -> None:
    first, second, _ = (add_lead(ctx, email=f"a{number}@firm.example", title="Head") for number in range(3))
    run_at(ctx, START, START + HOUR)
    with ctx.database.write() as tx:
        columns = ("lead_id", "at", "stage", "event", "reason", "detail")
        ways = {first: 0, second: 1}
        facts = [
            (lead, START, "advance", "waiting", "", {"ways": [["welcome", "other", 1 - way], ["welcome", "fork", way]]})
            for lead, way in ways.items()
        ]
        tx.insert(journal, columns, facts)
    assert _ids(ctx, track="welcome", step="fork", way=0) == [first]
    assert _ids(ctx, track="welcome", step="fork", way=1, until=START + HOUR) == [second]
    assert _ids(ctx, track="welcome", step="fork", way=1, until=START) == []
    assert _ids(ctx, track="welcome", step="fork", way=1, since=START + HOUR) == []
    assert _ids(ctx, track="welcome", step="fo_k", way=1) == _ids(ctx, track="keep", step="fork", way=1) == []


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


def test_leads_are_found_by_country_consent_rep_and_fit(ctx: AppContext) -> None:
    german = add_lead(ctx, title="Head of planning", country="DE")
    french = add_lead(ctx, title="Clerk", country="FR", consent_basis=None)
    ready = add_lead(ctx, title="Head", demo_requested=True)
    run_at(ctx, START, START + HOUR)
    ((rep,),) = rows(ctx, "SELECT rep FROM offer")
    assert _ids(ctx, country="DE") == [german]
    assert _ids(ctx, consent="none") == [french]
    assert _ids(ctx, consent="consent", country="FR") == []
    assert _ids(ctx, rep=rep) == [ready]
    assert _ids(ctx, rep="nobody") == []


def test_leads_are_found_by_what_they_did_last_and_by_their_silence(ctx: AppContext) -> None:
    early, late, silent = add_leads(ctx, 3, title="Head")
    run_at(ctx, START)
    record_signal(ctx, early, SignalKind.CLICKED, START - 40 * DAY)
    record_signal(ctx, late, SignalKind.REPLIED, START - 2 * DAY)
    assert _ids(ctx, active_days=7) == [late]
    assert _ids(ctx, active_days=90) == [late, early]
    assert _ids(ctx, quiet_days=7) == [silent, early]
    assert _ids(ctx, quiet_days=90) == [silent]


def test_the_policy_grades_the_fit_that_is_asked_for(db: Database, tmp_path: Path) -> None:
    sources = sample_rules()
    sources["sales/policy.yaml"] += "fit: {A: {field: title, is: Head}}\n"
    ctx = make_context(db, tmp_path, rules=sources)
    ids = add_leads(ctx, 3, title="Head")
    add_leads(ctx, 4, title="Clerk")
    assert _ids(ctx, fit="A") == sorted(ids, reverse=True)
    first = _list(ctx, fit="A", limit=2)
    assert (len(first.leads), first.count) == (2, None)
    assert [one.id for one in _list(ctx, first.next_before, fit="A").leads] == [ids[0]]


def test_a_scope_of_reps_hides_leads_of_others_and_shows_those_that_wait(ctx: AppContext) -> None:
    for name in ("ada", "bob"):
        add_lead(ctx, title="Head", email=f"{name}@quay.example", demo_requested=True)
    on_track = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    address = "(SELECT email FROM address WHERE id = lead.address_id)"
    offers = rows(ctx, f"SELECT rep, lead_id, {address} FROM offer JOIN lead ON lead.id = lead_id")
    (own, of_ana), (_, of_ben) = (row[1:] for row in sorted(offers))
    assert _ids(ctx, reps=frozenset({"ana"})) == [own]
    assert _ids(ctx, reps=frozenset({"ana"}), text=of_ben) == []
    assert _ids(ctx, reps=frozenset({"ana"}), text=of_ana) == [own]
    assert _ids(ctx, reps=frozenset()) == []
    assert on_track in _ids(ctx)


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
    "chosen",
    [
        {},
        {"text": "zz"},
        {"track": "welcome"},
        {"did": "clicked"},
        {"source": "test", "custodian": "track"},
        {"country": "DE", "consent": "none", "quiet_days": 30},
        {"rep": "ana", "active_days": 30},
        {"fit": "A", "reps": frozenset({"ana"})},
    ],
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
