"""Replay a real funnel with the shipped definitions: 17 months, 8,000 leads, 842 deals, or one in eight."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from statistics import quantiles

import pytest
from sqlalchemy import Row, select

from nurture.domain.planning.calendar import is_open
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.program import Program
from nurture.reporting.audit import run_audit
from nurture.reporting.tracks import wins_by_age
from tests.reporting.daily_ledger import ledger_by_day
from tests.stories.olist import END, LEADS, ONE_IN, START, WINS, Replay, replay
from tests.stories.world import table

CAP, CAP_PER = 2, timedelta(days=7)
MOST_SILENCE = timedelta(days=60)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    played = replay(tmp_path_factory.mktemp("olist"))
    yield played
    played.ctx.database.close()


@pytest.fixture(scope="module")
def touches(story: Replay) -> dict[int, list[datetime]]:
    """Return when each lead was mailed."""
    message = table("message")
    wanted = select(message.c.lead_id, message.c.accepted_at).where(
        message.c.kind == "touch", message.c.accepted_at.is_not(None)
    )
    found = defaultdict(list)
    with story.ctx.database.read() as tx:
        for lead_id, at in tx.execute(wanted.order_by(message.c.accepted_at)):
            found[lead_id].append(at)
    return dict(found)


@pytest.fixture(scope="module")
def leads(story: Replay) -> dict[int, Row[tuple[object, ...]]]:
    lead = table("lead")
    with story.ctx.database.read() as tx:
        return {row.id: row for row in tx.execute(select(lead))}


@pytest.fixture(scope="module")
def keep_warm(story: Replay) -> Program:
    with story.ctx.database.read() as tx:
        return story.ctx.definitions.current(tx).programs["keep-warm"]


@pytest.fixture(scope="module")
def won(story: Replay) -> dict[int, datetime]:
    """Return when each deal was won, by the file."""
    return {story.leads[mql_id]: at for mql_id, at in story.funnel.wins.items()}


def test_every_lead_has_a_custodian_on_every_day(story: Replay) -> None:
    days = ledger_by_day(story.ctx, START.date(), END.date())
    came = sorted(story.funnel.contacts.values())
    reported = sorted(map(story.funnel.reported_at, story.funnel.wins))
    assert [one.day for one in days] == [START.date() + timedelta(days=n) for n in range(len(days))]
    assert days[-1].day == END.date()
    for one in days:
        night = datetime.combine(one.day, time.max, UTC)
        customers = bisect_right(reported, night)
        assert one.residual == 0, one
        assert one.leads == bisect_right(came, night), one
        assert (one.custody["resting"], one.custody["track"]) == (customers, one.leads - customers), one


def test_in_the_end_the_ledger_balances(story: Replay) -> None:
    books = run_audit(story.ctx, END)
    assert books.total.leads == len(story.funnel.rows) >= LEADS // ONE_IN
    assert books.total.residual == books.total.journal_residual == 0
    assert not books.findings
    assert books.ok


def test_every_deal_is_won_at_the_time_in_the_file(story: Replay, won: dict[int, datetime]) -> None:
    outcome, custody = table("outcome"), table("custody")
    with story.ctx.database.read() as tx:
        outcomes = tx.execute(select(outcome.c.lead_id, outcome.c.closing, outcome.c.happened_at)).all()
        customers = select(custody.c.lead_id).where(custody.c.kind == "resting", custody.c.ref == "customer")
        assert set(tx.execute(customers).scalars()) == won.keys()
    assert len(outcomes) == len(won) > WINS // ONE_IN // 2
    assert {(lead_id, "won", at) for lead_id, at in won.items()} == set(map(tuple, outcomes))


def test_no_lead_is_mailed_after_a_win(won: dict[int, datetime], touches: dict[int, list[datetime]]) -> None:
    assert sum(len(touches.get(lead_id, ())) for lead_id in won) > len(won) / 2
    late = [(lead_id, at) for lead_id, when in won.items() for at in touches.get(lead_id, ()) if at > when]
    assert not late


def test_a_lead_won_before_its_first_contact_is_never_mailed(story: Replay, touches: dict[int, list[datetime]]) -> None:
    early = [mql_id for mql_id, at in story.funnel.wins.items() if at < story.funnel.contacts[mql_id]]
    assert len(early) == 1
    assert story.leads[early[0]] not in touches


def test_mail_is_sent_only_in_the_leads_send_window(
    story: Replay, touches: dict[int, list[datetime]], leads: dict[int, Row[tuple[object, ...]]], keep_warm: Program
) -> None:
    times = Counter((leads[lead_id].zone, leads[lead_id].country, at) for lead_id in touches for at in touches[lead_id])
    assert {(zone, country) for zone, country, _ in times} == {("America/Sao_Paulo", "BR")}
    closed = [
        (zone, at)
        for zone, country, at in times
        if not is_open(keep_warm.window, zone, story.ctx.holidays(country, at), at)
    ]
    assert times.total() > 6 * len(story.funnel.rows)
    assert not closed


def test_no_lead_gets_more_than_the_cap(touches: dict[int, list[datetime]], keep_warm: Program) -> None:
    assert keep_warm.caps == (FrequencyCap(CAP, CAP_PER),)
    crowded = [
        lead_id
        for lead_id, times in touches.items()
        for first, last in zip(times, times[CAP:], strict=False)
        if last - first < CAP_PER
    ]
    assert not crowded


def test_no_lead_waits_for_mail_for_more_than_60_days(
    story: Replay, won: dict[int, datetime], touches: dict[int, list[datetime]]
) -> None:
    longest = timedelta()
    for mql_id, lead_id in story.leads.items():
        until = max(won.get(lead_id, END), story.funnel.contacts[mql_id])
        contact_times = [story.funnel.contacts[mql_id], *touches.get(lead_id, ()), until]
        longest = max(longest, *(later - earlier for earlier, later in pairwise(contact_times)))
    assert timedelta(days=30) < longest <= MOST_SILENCE


def test_many_deals_are_won_long_after_the_first_contact(
    story: Replay, touches: dict[int, list[datetime]], record_property: Callable[[str, object], None]
) -> None:
    contacts, wins = story.funnel.contacts, story.funnel.wins
    ages = [(at.date() - contacts[mql_id].date()).days for mql_id, at in wins.items()]
    late = sum(age > 90 for age in ages)
    found = wins_by_age(story.ctx)
    assert (found.wins, found.after_day_90) == (len(wins), late)
    assert found.share_after_day_90 == late / len(wins) > 0.1
    record_property(
        "story",
        f"olist: {late} of {found.wins} wins came after day 90 ({found.share_after_day_90:.1%}), "
        f"half of all within {quantiles(ages)[1]:.0f} days; {sum(map(len, touches.values())):,} touches, "
        f"{START:%Y-%m-%d} to {END:%Y-%m-%d}",
    )
