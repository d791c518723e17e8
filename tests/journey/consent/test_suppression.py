"""Opt-outs come in by one door, and only the lead's own newer word takes one back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.consent.suppression import Scope, Source, key_of
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound, Refused
from nurture.journey.consent import opt_in, suppression_files
from nurture.journey.consent.suppression import EVERYTHING, About, OptOut, address, opt_out, suppress
from nurture.journey.engagement import signals
from nurture.journey.leads import suppression_queries
from nurture.journey.tracks import manual
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import (
    counted,
    crowd,
    custody,
    due_at,
    events,
    everything,
    heard,
    messages,
    one,
    rows,
    tell,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SAID = "asked for it again on the phone in March"
WORKS = "the company says that the mailbox is back"


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    rules = tiny_rules()
    rules["tracks/welcome/track.yaml"] += "topic: Hellos and more\n"
    rules["tracks/keep/track.yaml"] += "topic: News\n"
    return make_house(db, tmp_path, rules=rules)


def standing(house: House, email: str) -> list[tuple[str, str, str]]:
    return [(each.scope, each.ref, each.source) for each in suppression_files.listed(house, email)]


def test_an_address_is_suppressed_once_known_or_not(house: House) -> None:
    lead = add_lead(house, title="Head", email="Ana@people.example")
    tick_at(house, START)
    assert suppress(house, [" ana@PEOPLE.example", "stranger@people.example"], START) == (2, 0)
    assert suppress(house, ["ana@people.example"], START + DAY) == (0, 1)
    tick_at(house, START + HOUR)
    assert custody(house, lead) == ("queue", "suppressed")
    assert messages(house) == []


@pytest.mark.parametrize(
    "written",
    [
        "ana@b\u00fccher.example",
        "ANA@BU\u0308CHER.EXAMPLE",
        "ana@xn--bcher-kva.example",
        "Ana@XN--BCHER-KVA.example.",
        "Ana Lee <ana@b\u00fccher.example>",
        "mailto:ana@b\u00fccher.example\u200b",
    ],
)
def test_every_spelling_of_an_address_stops_the_same_mailbox(house: House, written: str) -> None:
    lead = add_lead(house, title="Head", email="ana@xn--bcher-kva.example")
    tick_at(house, START)
    suppress(house, [written], START)
    tick_at(house, START)
    assert custody(house, lead) == ("queue", "suppressed")


def test_a_plus_tag_is_another_mailbox(house: House) -> None:
    suppress(house, ["ana+news@people.example"], START)
    assert standing(house, "ana@people.example") == []


@pytest.mark.parametrize("written", ["", "nobody", "a@b", "a@people.example b@people.example", "<>"])
def test_what_is_no_address_is_refused_and_stops_nobody(house: House, written: str) -> None:
    before = everything(house)
    with pytest.raises(Refused, match="address"):
        suppress(house, ["good@people.example", written], START)
    assert everything(house) == before


@pytest.mark.parametrize(
    ("about", "known"),
    [
        (About(Scope.TRACK, "welcom"), "keep, welcome"),
        (About(Scope.TOPIC, "Nws"), "Hellos and more, News"),
        (About(Scope.TOPIC, ""), "Hellos and more, News"),
    ],
)
def test_a_topic_or_track_that_nobody_publishes_is_refused_with_the_known_names(
    house: House, about: About, known: str
) -> None:
    with pytest.raises(NotFound, match=known):
        suppress(house, ["ana@people.example"], START, about=about)
    assert one(house, "SELECT count(*) FROM suppression") == 0


def test_names_of_topics_and_tracks_are_kept_as_they_are_published(house: House) -> None:
    suppress(house, ["ana@people.example"], START, about=About(Scope.TOPIC, " hellos  AND more "))
    suppress(house, ["ana@people.example"], START, about=About(Scope.TRACK, "KEEP"))
    assert standing(house, "ana@people.example") == [
        ("topic", "Hellos and more", "admin"),
        ("track", "keep", "admin"),
    ]


def test_whoever_leaves_a_topic_leaves_its_track_at_once_and_enters_another(house: House) -> None:
    lead, fresh = (add_lead(house, title="Head", email=f"{name}@people.example") for name in ("ana", "bo"))
    write(
        house,
        "UPDATE custody SET due_at = :far, version = version + 1 WHERE lead_id = :id",
        far="2027-01-01T00:00:00+00:00",
        id=fresh,
    )
    tick_at(house, START)
    topic = About(Scope.TOPIC, "Hellos and more")
    suppress(house, ["ana@people.example", "bo@people.example"], START + HOUR, about=topic)
    tick_at(house, START + 2 * HOUR)
    assert custody(house, lead) == ("queue", "suppressed")
    assert [row[2] for row in messages(house)] in ([], ["cancelled"])
    with pytest.raises(Refused, match="Hellos and more"):
        manual.enrol(house, lead, "welcome", START + 2 * HOUR)
    manual.enrol(house, lead, "keep", START + 2 * HOUR)
    write(
        house,
        "UPDATE custody SET due_at = :now, version = version + 1 WHERE lead_id = :id",
        now="2026-01-05T08:00:00+00:00",
        id=fresh,
    )
    tick_at(house, START + 3 * HOUR)
    assert custody(house, fresh) == ("track", "keep")
    assert custody(house, lead) == ("track", "keep")


def test_an_unsubscription_stands_before_the_rules_are_read_again(house: House, db: Database) -> None:
    lead = add_lead(house, email="ana@people.example", title="Head")
    tick_at(house, START)
    write(house, "INSERT INTO publication (kind, name, version, digest, sources, published_at) "
                 "VALUES ('track', 'welcome', 9, 'x', '{}', '2026-01-05T08:00:00+00:00')")  # fmt: skip
    with pytest.raises(Exception, match=r".+"):
        tell(house, lead, SignalKind.UNSUBSCRIBED, START + HOUR)
    assert standing(house, "ana@people.example") == [("global", "", "import")]


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        (SignalKind.UNSUBSCRIBED, "import"),
        (SignalKind.BOUNCED, "bounce"),
        (SignalKind.COMPLAINED, "complaint"),
    ],
)
def test_signals_are_logged_with_their_source_and_once(house: House, kind: SignalKind, source: str) -> None:
    lead = add_lead(house, email="ana@people.example")
    for _ in range(3):
        signals.record(house, [heard(lead, kind, START)], START)
    assert rows(house, "SELECT act, scope, source FROM suppression") == [("suppress", "global", source)]


def test_a_bounce_hides_no_opt_out_that_comes_after_it(house: House) -> None:
    lead = add_lead(house, email="ana@people.example")
    tell(house, lead, SignalKind.BOUNCED, START)
    assert suppress(house, ["ana@people.example"], START + HOUR) == (1, 0)
    opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START + 2 * HOUR, said_at=START, works=WORKS)
    assert standing(house, "ana@people.example") == [("global", "", "admin")]


def test_a_newer_opt_in_brings_the_lead_back_and_its_evidence_is_kept(house: House) -> None:
    lead = add_lead(house, title="Head", email="ana@people.example")
    tick_at(house, START)
    tell(house, lead, SignalKind.COMPLAINED, START + HOUR)
    tick_at(house, START + HOUR)
    assert custody(house, lead) == ("queue", "suppressed")
    done = opt_in.opt_in(house, "Ana@people.example", EVERYTHING, SAID, START + DAY)
    assert ([each.source for each in done.lifted], done.standing) == ([Source.COMPLAINT], ())
    assert rows(house, "SELECT act, source, evidence FROM suppression ORDER BY id")[1] == (
        "opt_in",
        "admin",
        SAID,
    )
    tick_at(house, START + DAY)
    assert custody(house, lead)[0] == "track"
    assert "returned" in events(house, lead)
    assert SAID not in repr(rows(house, "SELECT because FROM journal"))


def test_an_opt_in_that_is_older_than_the_opt_out_is_refused(house: House) -> None:
    suppress(house, ["ana@people.example"], START)
    with pytest.raises(Refused, match="Only a newer opt-in"):
        opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START + DAY, said_at=START - HOUR)
    with pytest.raises(Refused, match="Only a newer opt-in"):
        opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START)
    with pytest.raises(Refused, match="future"):
        opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START, said_at=START + DAY)
    assert standing(house, "ana@people.example") != []


def test_an_opt_in_for_a_topic_lifts_no_global_opt_out(house: House) -> None:
    suppress(house, ["ana@people.example"], START)
    with pytest.raises(Refused, match="lifts none of what stands"):
        opt_in.opt_in(house, "ana@people.example", About(Scope.TOPIC, "News"), SAID, START + DAY)


def test_a_bounce_is_lifted_only_by_knowing_that_the_address_works(house: House) -> None:
    lead = add_lead(house, email="ana@people.example")
    tell(house, lead, SignalKind.BOUNCED, START)
    with pytest.raises(Refused, match="--works"):
        opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START + DAY)
    done = opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START + DAY, works=WORKS)
    assert done.standing == ()
    assert standing(house, "ana@people.example") == []


def test_where_nothing_stands_an_opt_in_writes_nothing(house: House) -> None:
    before = everything(house)
    assert opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START).lifted == ()
    assert everything(house) == before


@pytest.mark.parametrize(
    "evidence",
    ["", "ok", "... --- ...", "yes yes yes", "wrote from ana@people.example on Monday", "x y z", "w " * 400],
)
def test_evidence_says_something_and_names_no_address(house: House, evidence: str) -> None:
    suppress(house, ["ana@people.example"], START)
    with pytest.raises(Refused, match="evidence"):
        opt_in.opt_in(house, "ana@people.example", EVERYTHING, evidence, START + DAY)


def test_evidence_may_be_written_in_any_script() -> None:
    assert opt_in.checked_evidence(" 电话中 同意再次接收邮件 ") == "电话中 同意再次接收邮件"


def test_a_late_event_of_before_the_opt_in_does_not_stop_what_the_lead_asked_for_since(house: House) -> None:
    lead = add_lead(house, email="ana@people.example")
    suppress(house, ["ana@people.example"], START)
    opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START + DAY)
    signals.record(house, [heard(lead, SignalKind.UNSUBSCRIBED, START + HOUR)], START + 2 * DAY)
    assert standing(house, "ana@people.example") == []
    signals.record(house, [heard(lead, SignalKind.UNSUBSCRIBED, START + 2 * DAY)], START + 2 * DAY)
    assert standing(house, "ana@people.example") == [("global", "", "import")]


def test_an_opt_out_from_the_future_counts_from_now(house: House) -> None:
    lead = add_lead(house, email="ana@people.example")
    with house.database.write() as connection:
        address_id = suppression_queries.addresses_of(house.database, connection, [lead])[lead]
        act = OptOut(address_id, Source.IMPORT, at=START + 900 * DAY)
        assert opt_out(house.database, connection, [act], START) == [True]
    opt_in.opt_in(house, "ana@people.example", EVERYTHING, SAID, START + DAY)
    assert standing(house, "ana@people.example") == []


@pytest.mark.parametrize("count", [20, 2_000])
def test_two_thousand_addresses_cost_the_statements_of_twenty(house: House, count: int) -> None:
    ids = crowd(house, count, title="Head")
    tick_at(house, START)
    emails = [row[0] for row in rows(house, "SELECT email FROM address")]
    strangers = [f"stranger{number}@people.example" for number in range(count)]
    with counted(house.database) as seen:
        assert suppress(house, [*emails, *strangers], START + HOUR) == (2 * count, 0)
    assert len([each for each in seen if not each.startswith(("BEGIN", "PRAGMA"))]) <= 11, seen
    assert {due_at(house, lead) for lead in ids[:20]} == {START + HOUR}


_LAW = settings(max_examples=25, deadline=None)


@_LAW
@given(st.lists(st.tuples(st.sampled_from(list(Source)), st.integers(0, 5), st.booleans()), max_size=8))
def test_whatever_comes_in_by_the_door_stays_said(
    sqlite_db: Database, acts: list[tuple[Source, int, bool]]
) -> None:
    house = House(sqlite_db, None)  # type: ignore[arg-type] - no mail is sent
    with house.database.write() as connection:
        connection.execute(text("INSERT INTO address (email, normal) VALUES ('x', 'x' || random())"))
        address_id = connection.execute(text("SELECT max(id) FROM address")).scalar_one()
        for source, hours, again in acts:
            opt_out(
                house.database,
                connection,
                [OptOut(address_id, source, at=START + hours * HOUR, again=again)],
                START + DAY,
            )
        found = suppression_queries.standing(house.database, connection, [address_id]).get(address_id, ())
    lifts = {source: key_of(Scope.GLOBAL, "", source) for source in Source}
    assert {lifts[each.source] for each in found} == {lifts[source] for source, _, _ in acts}
    if not any(again for _, _, again in acts):
        for alike in {lifts[source] for source, _, _ in acts}:
            newest = max(hours for source, hours, _ in acts if lifts[source] == alike)
            (kept,) = [each for each in found if lifts[each.source] == alike]
            assert kept.newest == START + newest * HOUR


@given(st.emails())
def test_an_address_in_brackets_or_with_a_dot_behind_it_is_the_address(email: str) -> None:
    try:
        plain = address(email)
    except Refused:
        return
    assert address(f"Somebody <{email}>") == plain
    assert address(f" {email}. ") == plain
