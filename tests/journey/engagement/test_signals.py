"""Hearing what leads do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import Refused
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import signal_queries
from nurture.journey.outcomes import close
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import custody, due_at, everything, heard, one, rows, same_house, tell, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def _engagement(house: House, lead: int) -> float:
    value: float = one(house, "SELECT engagement FROM lead WHERE id = :id", id=lead)
    return value


def test_a_signal_is_scored_and_wakes_its_lead(house: House) -> None:
    lead = add_lead(house, title="Clerk")
    tick_at(house, START)
    assert due_at(house, lead) > START + DAY  # type: ignore[operator]
    assert tell(house, lead, SignalKind.CLICKED, START + HOUR) == 1
    assert _engagement(house, lead) == 10
    assert due_at(house, lead) == START + HOUR


def test_a_natural_key_counts_once_however_often_it_comes(house: House) -> None:
    lead = add_lead(house)
    for _ in range(3):
        tell(house, lead, SignalKind.CLICKED, START)
    told = [heard(lead, SignalKind.CLICKED, START)] * 3
    assert engagement_signals.record(house, told, START) == 0
    assert one(house, "SELECT count(*) FROM signal") == 1
    assert _engagement(house, lead) == 10


def test_the_same_words_of_the_same_second_are_one_signal_and_others_are_others() -> None:
    one_click = engagement_signals.told(1, SignalKind.CLICKED, None, START, START, "01-hello", "guide")
    keys = {
        one_click.natural_key,
        engagement_signals.told(
            1, SignalKind.CLICKED, None, START, START + DAY, "01-hello", "guide"
        ).natural_key,
        engagement_signals.told(
            1, SignalKind.CLICKED, None, START + timedelta(milliseconds=5), START, "01-hello", "guide"
        ).natural_key,
    }
    assert len(keys) == 1
    others = {
        engagement_signals.told(2, SignalKind.CLICKED, None, START, START, "01-hello", "guide").natural_key,
        engagement_signals.told(1, SignalKind.REPLIED, None, START, START, "01-hello", "guide").natural_key,
        engagement_signals.told(1, SignalKind.CLICKED, None, START + timedelta(seconds=1), START).natural_key,
        engagement_signals.told(1, SignalKind.CLICKED, None, START, START, "02-more", "guide").natural_key,
        engagement_signals.told(1, SignalKind.CLICKED, None, START, START, "01-hello", "price").natural_key,
    }
    assert len(others - keys) == 5


def test_signals_out_of_order_give_the_score_that_they_give_in_order(house: House) -> None:
    one_lead, other = add_lead(house), add_lead(house)
    early, late = START, START + 10 * DAY
    for moment in (early, late):
        engagement_signals.record(house, [heard(one_lead, SignalKind.CLICKED, moment)], late)
    for moment in (late, early):
        engagement_signals.record(house, [heard(other, SignalKind.CLICKED, moment)], late)
    assert _engagement(house, other) == pytest.approx(_engagement(house, one_lead))


def test_an_unsubscription_suppresses_the_address_and_the_lead_leaves_its_track(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    tell(house, lead, SignalKind.UNSUBSCRIBED, START + HOUR)
    tick_at(house, START + HOUR)
    assert custody(house, lead) == ("queue", "suppressed")
    assert rows(house, "SELECT act, scope, source FROM suppression") == [("suppress", "global", "import")]


@pytest.mark.parametrize("kind", [SignalKind.BOUNCED, SignalKind.COMPLAINED])
def test_bounces_and_complaints_suppress_too(house: House, kind: SignalKind) -> None:
    lead = add_lead(house, title="Head")
    tell(house, lead, kind, START)
    tick_at(house, START)
    assert custody(house, lead) == ("queue", "suppressed")


def test_the_newest_statement_of_when_it_decides_counts(house: House) -> None:
    lead = add_lead(house)
    tell(house, lead, SignalKind.DECIDING, START + DAY, "2027-01-31")
    assert one(house, "SELECT count(*) FROM lead WHERE decides_on = :on", on=_day(house, 2027, 1, 31)) == 1
    engagement_signals.record(house, [heard(lead, SignalKind.DECIDING, START, "2026-06-30")], START + 2 * DAY)
    assert one(house, "SELECT count(*) FROM lead WHERE decides_on = :on", on=_day(house, 2027, 1, 31)) == 1


def _day(house: House, *parts: int) -> date | str:
    return date(*parts).isoformat() if house.database.is_sqlite else date(*parts)


@pytest.mark.parametrize("value", [None, "", "soon", "2026-02-30", "31.12.2026", "2026-13-01"])
def test_a_lead_decides_on_a_date(value: str | None) -> None:
    with pytest.raises(Refused, match="2027-03-31"):
        engagement_signals.checked("deciding", value)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(Refused, match="clicked"):
        engagement_signals.checked("clikced", None)


def test_a_date_that_is_none_from_a_door_without_a_check_stops_no_other_signal(house: House) -> None:
    odd, fine = add_lead(house), add_lead(house)
    told = [heard(odd, SignalKind.DECIDING, START, "soon"), heard(fine, SignalKind.CLICKED, START)]
    assert engagement_signals.record(house, told, START) == 2
    assert _engagement(house, fine) == 10
    assert one(house, "SELECT count(*) FROM signal WHERE applied_at IS NULL") == 0
    assert one(house, "SELECT count(*) FROM lead WHERE decides_on IS NOT NULL") == 0


@pytest.mark.parametrize("closing", [Closing.DISCARDED, Closing.LOST, Closing.UNREACHABLE])
def test_a_lead_that_was_given_up_comes_back_with_a_new_interest(house: House, closing: Closing) -> None:
    lead = add_lead(house, title="Clerk")
    tick_at(house, START)
    close.close(house, lead, closing, START + HOUR, reason="quiet")
    tell(house, lead, SignalKind.CLICKED, START + 2 * HOUR)
    assert custody(house, lead) == ("closed", closing.value)
    tell(house, lead, SignalKind.REGISTERED, START + 3 * DAY)
    assert custody(house, lead) == ("intake", "return")
    tick_at(house, START + 3 * DAY)
    assert custody(house, lead) == ("track", "keep")
    assert one(house, "SELECT count(*) FROM enrollment WHERE lead_id = :id", id=lead) == 2


def test_a_customer_stays_one_whatever_it_does(house: House) -> None:
    lead = add_lead(house)
    close.close(house, lead, Closing.WON, START)
    for kind in SignalKind:
        value = "2027-01-01" if kind is SignalKind.DECIDING else None
        tell(house, lead, kind, START + DAY, value)
    assert custody(house, lead) == ("closed", "won")


def test_a_returning_lead_waits_for_re_entry_before_the_same_track_takes_it(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    close.close(house, lead, Closing.LOST, START + HOUR, reason="quiet")
    tell(house, lead, SignalKind.REGISTERED, START + 5 * DAY)
    tick_at(house, START + 5 * DAY)
    assert custody(house, lead) == ("track", "keep")  # welcome only after 30 days


def test_a_lead_that_may_not_be_mailed_comes_back_to_its_queue(house: House) -> None:
    lead = add_lead(house, title="Head")
    tell(house, lead, SignalKind.UNSUBSCRIBED, START)
    close.close(house, lead, Closing.LOST, START, reason="quiet")
    tell(house, lead, SignalKind.REQUESTED_DEMO, START + DAY)
    tick_at(house, START + DAY)
    assert custody(house, lead) == ("queue", "suppressed")


def test_signals_that_were_only_recorded_are_applied_by_the_next_round_once(house: House) -> None:
    lead = add_lead(house)
    with house.database.write() as connection:
        signal_queries.record(house.database, connection, [heard(lead, SignalKind.CLICKED, START)])
    assert engagement_signals.listen(house, START) == 1
    before = everything(house)
    assert engagement_signals.listen(house, START) == 0
    assert everything(house) == before


def test_workers_who_listen_at_once_count_each_signal_once(house: House) -> None:
    lead = add_lead(house)
    told = [heard(lead, SignalKind.CLICKED, START - number * HOUR) for number in range(60)]
    with house.database.write() as connection:
        signal_queries.record(house.database, connection, told)
    workers = [same_house(house) for _ in range(3)]
    for worker in workers:
        worker.batch = 4
    with ThreadPoolExecutor(3) as pool:
        applied = [
            f.result(timeout=60) for f in [pool.submit(engagement_signals.listen, w, START) for w in workers]
        ]
    assert sum(applied) == 60
    alone = add_lead(house)
    engagement_signals.record(
        house, [heard(alone, SignalKind.CLICKED, START - n * HOUR) for n in range(60)], START
    )
    assert _engagement(house, lead) == pytest.approx(_engagement(house, alone))
    for worker in workers:
        worker.database.close()


def test_evidence_before_a_rep_answered_adds_nothing(house: House) -> None:
    lead = add_lead(house)
    write(house, "UPDATE lead SET evidence_since = :at", at=f"{START:%Y-%m-%dT%H:%M:%S}+00:00")
    tell(house, lead, SignalKind.CLICKED, START - HOUR)
    assert _engagement(house, lead) == 0
    tell(house, lead, SignalKind.CLICKED, START)
    assert _engagement(house, lead) == 10
