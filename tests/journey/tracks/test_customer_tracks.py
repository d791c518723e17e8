"""Tracks for customers take customers and nobody else; other tracks never take one."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState, NotFound
from nurture.journey.delivery import stopping
from nurture.journey.handoff import responses
from nurture.journey.outcomes import outcomes
from nurture.journey.tracks import manual
from nurture.publishing import publish
from nurture.reporting import audit
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.intake.test_import_laws import fresh
from tests.journey.observe import custody, due_at, one, record_signal, rows, write
from tests.journey.routing.test_router import account

_numbers = itertools.count()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CUSTOMER, RENEWAL = ("resting", "customer"), ("track", "renewal")
_RENEWAL = """
name: renewal
goal: Renew
for: customers
audience: AUDIENCE
re_entry: after 60 days
steps: [{email: 01-year, after: 1 hour}]
finally: {close: unreachable}
"""


def rules(audience: str = "everybody") -> dict[str, str]:
    mail = sample_rules()["tracks/keep/01-news.md"].replace("News", "Your year")
    track = {"tracks/renewal/track.yaml": _RENEWAL.replace("AUDIENCE", audience), "tracks/renewal/01-year.md": mail}
    return sample_rules() | track


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=rules("{field: plan, is: gold}"))


def test_a_customer_enters_when_a_field_changes_and_rests_when_its_track_ends(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    close_lead(ctx, lead, Closing.WON, START)
    run_at(ctx, START)
    assert custody(ctx, lead) == CUSTOMER
    manual.qualify(ctx, lead, {"budget": "known"}, START, source="sales")  # any new fact makes it due
    assert due_at(ctx, lead) == START
    write(ctx, """UPDATE lead SET fields = '{"plan": "gold"}'""")
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead) == RENEWAL
    run_at(ctx, START + 2 * HOUR)
    run_at(ctx, START + 3 * HOUR, START + 3 * HOUR)
    assert custody(ctx, lead) == CUSTOMER
    assert rows(ctx, "SELECT step, state FROM message WHERE kind = 'touch'") == [("01-year", "accepted")]
    assert due_at(ctx, lead) == START + 3 * HOUR + 60 * DAY  # from then on it may enter again
    assert one(ctx, "SELECT count(*) FROM lead WHERE readiness <> ''") == 0


def test_a_customer_returns_to_the_track_for_customers_that_another_one_interrupted(
    db: Database, tmp_path: Path
) -> None:
    care = _RENEWAL.replace("renewal", "care").replace("AUDIENCE", "{field: plan, is: red}").replace("1 hour", "9 days")
    care = care.replace("{close: unreachable}", "previous") + "until: {field: plan, is: gold}\npriority: 9\n"
    sources = rules("{field: plan, in: [gold, red]}")
    files = {"tracks/care/track.yaml": care, "tracks/care/01-year.md": sources["tracks/renewal/01-year.md"]}
    ctx = make_context(db, tmp_path, rules=sources | files)
    lead = add_lead(ctx, plan="gold")
    close_lead(ctx, lead, Closing.WON, START)
    run_at(ctx, START)
    for plan, track, at in (("red", "care", START + HOUR / 2), ("gold", "renewal", START + HOUR)):
        write(ctx, f"""UPDATE lead SET fields = '{{"plan": "{plan}"}}'""")
        manual.qualify(ctx, lead, {"budget": "known" if plan == "red" else "unknown"}, at, source="sales")
        run_at(ctx, at)
        assert custody(ctx, lead) == ("track", track)
    stays = rows(ctx, "SELECT track, end_reason FROM enrollment ORDER BY id")
    assert stays == [("renewal", None), ("care", "goal")]
    run_at(ctx, START + 3 * HOUR, START + 4 * HOUR)
    assert rows(ctx, "SELECT step, state FROM message WHERE kind = 'touch'") == [("01-year", "accepted")]
    assert custody(ctx, lead) == CUSTOMER


def test_a_track_for_customers_takes_no_lead(ctx: AppContext) -> None:
    lead = add_lead(ctx, plan="gold", title="Clerk")
    run_at(ctx, START)
    assert custody(ctx, lead) == ("track", "keep")
    with pytest.raises(InvalidState, match="renewal is for customers"):
        manual.enroll(ctx, lead, "renewal", START)
    with pytest.raises(InvalidState, match="it is for customers"):
        stopping.retire(ctx, "keep", "renewal", "old", "Sam", START)
    close_lead(ctx, lead, Closing.WON, START + HOUR)
    with pytest.raises(InvalidState, match="keep is for leads"):
        manual.enroll(ctx, lead, "keep", START + HOUR)
    manual.enroll(ctx, lead, "renewal", START + HOUR)
    assert custody(ctx, lead) == RENEWAL


def test_a_new_track_takes_resting_customers_with_the_next_run(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    close_lead(ctx, lead, Closing.WON, START)
    run_at(ctx, START)
    publish.publish(ctx, rules(), START + DAY)
    assert due_at(ctx, lead) == START + DAY
    run_at(ctx, START + DAY)
    assert custody(ctx, lead) == RENEWAL


def test_a_track_that_is_for_others_from_now_on_lets_its_leads_go(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    assert custody(ctx, lead) == ("track", "keep")
    keep = sample_rules()["tracks/keep/track.yaml"].replace("goal:", "for: customers\ngoal:")
    welcome = sample_rules()["tracks/welcome/track.yaml"].replace("finally: keep", "finally: {close: lost}")
    policy = {"sales/policy.yaml": sample_rules()["sales/policy.yaml"].replace("{track: keep}", "resume")}
    publish_approved(ctx, rules() | policy, START)
    files = {"tracks/keep/track.yaml": keep, "tracks/welcome/track.yaml": welcome}
    publish.publish(ctx, rules() | policy | files, START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead)[0] != "track"
    assert audit.run_audit(ctx, START + DAY).ok


def test_a_customer_that_opts_out_leaves_its_track_and_rests(ctx: AppContext) -> None:
    lead = add_lead(ctx, plan="gold")
    close_lead(ctx, lead, Closing.WON, START)
    run_at(ctx, START)
    assert custody(ctx, lead) == RENEWAL
    record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, START + HOUR / 2)
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead) == CUSTOMER
    assert one(ctx, "SELECT count(*) FROM message WHERE state = 'accepted' AND kind = 'touch'") == 0


_ACTIONS = st.sampled_from(
    ("won", "lost", "discarded", "resolve", "reply", "opt out", "enroll", "renew", "reject", "accept", "run", "wait")
)


@settings(max_examples=15, deadline=None)
@given(history=st.lists(st.tuples(_ACTIONS, st.integers(0, 1)), min_size=4, max_size=14))
def test_the_ledger_balances_and_no_customer_is_on_a_track_for_leads(
    sqlite_url: str, tmp_path: Path, history: list[tuple[str, int]]
) -> None:
    with fresh(sqlite_url, tmp_path) as db:
        ctx = make_context(db, tmp_path / str(next(_numbers)), rules=rules())
        account(ctx, "People", "people.example", "ben")
        leads = [add_lead(ctx, title=title) for title in ("Head", "Clerk")]
        now = START
        for action, number in history:
            now += HOUR
            with suppress(InvalidState, NotFound):
                _act(ctx, leads[number], action, now)
            if action in ("run", "wait"):
                now += 20 * DAY if action == "wait" else HOUR
                run_at(ctx, now)
            found = audit.run_audit(ctx, now)
            assert [one.kind for one in found.findings if one.is_violation and one.kind != "sweep-stuck"] == []
            assert found.total.is_balanced
            on_tracks = rows(ctx, _TRACKS_OF_CUSTOMERS)
            assert {(track == "renewal") == bool(customer) for track, customer in on_tracks} <= {True}, on_tracks


_TRACKS_OF_CUSTOMERS = """
SELECT custody.ref, lead.customer_since IS NOT NULL FROM custody JOIN lead ON lead.id = custody.lead_id
WHERE custody.kind = 'track'
"""


def _act(ctx: AppContext, lead: int, action: str, now: datetime) -> None:
    match action:
        case "won" | "lost" | "discarded":
            close_lead(ctx, lead, Closing(action), now, happened_at=now)
        case "resolve":
            for one in outcomes.list_contradictions(ctx):
                outcomes.resolve_contradiction(ctx, one.id, accept=True, by="Sam", now=now)
        case "reply" | "opt out":
            record_signal(ctx, lead, SignalKind.REPLIED if action == "reply" else SignalKind.UNSUBSCRIBED, now)
        case "enroll" | "renew":
            manual.enroll(ctx, lead, "keep" if action == "enroll" else "renewal", now)
        case "accept" | "reject":
            for (offer,) in rows(ctx, "SELECT id FROM offer WHERE state = 'offered' AND lead_id = :id", id=lead):
                if action == "accept":
                    responses.accept(ctx, offer, now)
                else:
                    responses.reject(ctx, offer, "not-now", now)
