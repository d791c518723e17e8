"""Simulated calendars of the shipped tracks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.definitions.folder import read_folder
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidDefinitions, InvalidState, NotFound
from nurture.journey.handoff import responses
from nurture.simulation.behavior import ScriptedReaction
from nurture.simulation.engine import SimulatedCalendar, run_simulation, simulate
from tests.journey.builders import add_lead, make_context
from tests.journey.handoff.waiting.test_lists import waiting_rules
from tests.journey.observe import events, one, rows

pytestmark = pytest.mark.quick

TEMPLATES = Path(__file__).parents[2] / "templates"
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


def _simulated(
    track: str, days: int = 180, zone: str = "UTC", country: str = "", **fields: object
) -> SimulatedCalendar:
    return simulate(read_folder(TEMPLATES), track, MONDAY, days, fields, zone, country)


def _emails(calendar: SimulatedCalendar) -> list[tuple[str, str]]:
    return [
        (f"{day.at:%m-%d %H:%M}", day.title.removeprefix("email "))
        for day in calendar.days
        if day.title.startswith("email ")
    ]


def test_an_attendee_who_does_nothing() -> None:
    shown = _simulated("webinar-attended", attended=True, title="Head of Planning")
    assert _emails(shown)[:5] == [
        ("03-02 13:00", "01-recording"),
        ("03-09 13:00", "02-five-minute-version"),
        ("03-16 13:00", "03-how-others-started"),
        ("03-31 10:00", "04-when-do-you-decide"),  # ten days later is a Thursday; the next Tuesday
        ("04-21 10:00", "05-your-own-data"),
    ]
    onward = next(day for day in shown.days if day.title.startswith("moves"))
    assert onward.title == "moves to keep-warm"
    assert [name for _, name in _emails(shown)[5:8]] == ["01-one-idea", "02-story", "03-when-do-you-decide"]


def test_who_has_no_track_to_go_back_to_is_classified_again() -> None:
    rules = dict(read_folder(TEMPLATES))
    path = "tracks/webinar-attended/track.yaml"
    rules[path] = rules[path].replace("finally: keep-warm", "finally: previous")
    titles = [day.title for day in simulate(rules, "webinar-attended", MONDAY, 60).days]
    assert "is classified again" in titles


def test_an_attendee_from_finance_reads_what_it_costs() -> None:
    shown = _simulated("webinar-attended", 20, title="CFO")
    assert _emails(shown)[2] == ("03-16 13:00", "03-what-it-costs")


def test_somebody_who_did_not_come() -> None:
    emails = _emails(_simulated("webinar-no-show", 70))
    assert emails[0] == ("03-03 09:00", "01-we-missed-you")
    assert emails[1] == ("03-09 09:00", "02-three-findings")
    assert emails[2][0] == "03-17 09:00"
    assert emails[2][1] in ("03-a-bad-monday", "03-four-numbers")
    assert emails[3] == ("04-01 10:00", "04-next-date")
    assert emails[4] == ("04-22 10:00", "05-what-should-we-send")


@pytest.mark.parametrize(("zone", "country"), [("UTC", ""), ("Asia/Tokyo", "JP"), ("Europe/Berlin", "DE")])
def test_keep_warm_is_never_silent_for_more_than_sixty_days(zone: str, country: str) -> None:
    shown = _simulated("keep-warm", 730, zone, country)
    timestamps = [day.at for day in shown.days if day.title.startswith("email ")]
    gaps = [later - earlier for earlier, later in pairwise(timestamps)]
    assert len(timestamps) > 12
    assert max(gaps) <= timedelta(days=60)
    assert max(gaps) > min(gaps)  # they grow


def test_times_are_in_the_time_zone_of_the_lead() -> None:
    emails = _emails(_simulated("webinar-attended", 10, "America/New_York"))
    assert emails[0] == ("03-02 14:00", "01-recording")  # 09:00 local time
    assert emails[1] == ("03-09 13:00", "02-five-minute-version")  # after the clock change


def test_holidays_of_the_leads_country_are_skipped() -> None:
    at = datetime(2026, 5, 1, 5, tzinfo=UTC)  # Labour Day, a Friday
    shown = simulate(read_folder(TEMPLATES), "webinar-attended", at, 10, {}, "Europe/Berlin", "DE")
    assert _emails(shown)[0] == ("05-04 07:00", "01-recording")


def test_the_same_arguments_give_the_same_calendar() -> None:
    assert _simulated("webinar-no-show", 90) == _simulated("webinar-no-show", 90)


def test_an_unknown_track_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match="keep-warm, webinar-attended, webinar-no-show"):
        _simulated("keep-cool")


def test_faulty_rules_are_not_simulated() -> None:
    rules = dict(read_folder(TEMPLATES))
    rules["tracks/keep-warm/track.yaml"] += "colour: blue\n"
    with pytest.raises(InvalidDefinitions, match="colour"):
        simulate(rules, "keep-warm", MONDAY, 10)


def test_the_calendar_says_what_the_cap_moved_and_what_that_moved() -> None:
    sources = read_folder(TEMPLATES)
    steps = [("a", "at once"), ("b", "3 days"), ("c", "3 days"), ("d", "4 days"), ("e", "2 days")]
    lines = "".join(f"  - {{email: {name}, after: {after}}}\n" for name, after in steps)
    head = "name: trial\ngoal: A trial that is paid\naudience: nobody\nfinally: keep-warm\nsteps:\n"
    email = sources["tracks/keep-warm/01-one-idea.md"]
    more = {"tracks/trial/track.yaml": head + lines, **{f"tracks/trial/{name}.md": email for name, _ in steps}}
    calendar = simulate({**sources, **more}, "trial", datetime(2026, 12, 1, 9, tzinfo=UTC), 21, zone="Europe/Berlin")
    reasons = {day.title: day.reason for day in calendar.days if day.is_email}
    moved = "c, due on Monday 7 December, moved to Tuesday 8 December: already 2 emails in 7 days; 2 later steps count"
    assert reasons["email c"].startswith(moved)
    assert [day.at.day for day in calendar.days if day.is_email][:5] == [1, 4, 8, 14, 16]


def test_a_lead_does_what_it_is_scripted_and_the_track_answers() -> None:
    script = [
        ScriptedReaction("01-recording"),
        ScriptedReaction("02-checklist", SignalKind.REPLIED, "Not interested, thanks."),
    ]
    calendar = simulate(read_folder(TEMPLATES), "webinar-attended", MONDAY, 30, script=script)
    assert [day.title for day in calendar.days] == [
        "email 01-recording",
        "clicks 01-recording",
        "email 02-checklist",
        "replies to 02-checklist",
        "moves to discarded",
    ]
    with pytest.raises(NotFound, match="Did you mean `01-recording`"):
        simulate(read_folder(TEMPLATES), "webinar-attended", MONDAY, 30, script=[ScriptedReaction("01-recordng")])


def test_a_released_broadcast_is_on_the_calendar_and_the_lead_reacts_to_it() -> None:
    rules, at, script = read_folder(TEMPLATES), datetime(2027, 2, 20, 9, tzinfo=UTC), [ScriptedReaction("invitation")]

    def titles(**fields: object) -> list[str]:
        days = simulate(rules, "keep-warm", at, 20, fields, script=script, broadcasts=["planning-webinar"]).days
        return [f"{day.at:%m-%d} {day.title}" for day in days]

    fits, does_not_fit = titles(attended=True), titles(attended=False)
    assert "03-02 email invitation" in fits
    assert "03-02 clicks invitation" in fits
    assert not [one for one in does_not_fit if "invitation" in one]
    with pytest.raises(InvalidState, match="is over"):
        simulate(rules, "keep-warm", at + timedelta(days=365), 20, broadcasts=["planning-webinar"])


def test_the_clocks_of_queues_and_of_reps_wake_the_simulation(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, MONDAY, waiting_rules())
    waits, asked = add_lead(ctx, email=None, at=MONDAY), add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_simulation(ctx, MONDAY, MONDAY)
    responses.accept(ctx, one(ctx, "SELECT id FROM offer WHERE lead_id = :id", id=asked), MONDAY)
    run_simulation(ctx, MONDAY, MONDAY + timedelta(days=14))
    assert {rep for (rep,) in rows(ctx, "SELECT rep FROM message WHERE kind = 'waiting'")} >= {"ana", "lena"}
    assert "reminder" in events(ctx, waits)
    assert one(ctx, "SELECT state FROM offer WHERE lead_id = :id ORDER BY id LIMIT 1", id=asked) == "lapsed"
