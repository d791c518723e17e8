"""The preference center performs exactly the action of the pressed button, at once."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource
from nurture.domain.signals import SignalKind
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.consent.suppression import SuppressionTarget
from nurture.journey.delivery import run
from nurture.journey.engagement import signals
from nurture.journey.tracks import advance, manual
from nurture.reporting import explain
from nurture.web.public import preference_center
from tests.journey.builders import run_at
from tests.web.world import NOW, ONE_CLICK, TOPICS, TestClient, World, advance_clock

_LOG = (
    "SELECT action, scope, ref, suppression.source, evidence FROM suppression "
    "JOIN lead ON lead.address_id = suppression.address_id WHERE lead.id = :id ORDER BY suppression.id"
)
_LEAD = "SELECT paused_until, touch_interval_days, decides_on FROM lead WHERE id = :id"
_SENT = "SELECT count(*) FROM message WHERE lead_id = :id AND kind = 'touch' AND state = 'accepted'"
_TODAY = date(2026, 1, 5)


def _open(world: World, who: str = "mia") -> str:
    page = world.client.get(world.path(who, "preferences"))
    assert page.status_code == 200
    return page.text


def _press(world: World, do: str, who: str = "mia", status: int = 200, **fields: str) -> str:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    page = world.client.post(world.path(who, "preferences"), data={"do": do, **named})
    assert page.status_code == status, page.text
    return page.text


def _rows(world: World, sql: str, who: str = "mia") -> list[tuple[Any, ...]]:
    with world.ctx.database.read() as tx:
        return [tuple(row) for row in tx.execute(text(sql), {"id": world.ids[who]})]


def _wakes_now(world: World, who: str = "mia") -> bool:
    explanation = explain.explain(world.ctx, world.ids[who], world.clock.now())
    return explanation.due_at == world.clock.now()


def test_viewing_the_page_changes_nothing(world: World) -> None:
    before = world.all_rows()
    for method in ("GET", "HEAD", "GET", "OPTIONS", "PUT", "DELETE", "PATCH"):
        for query in ("", "?do=stop", "?List-Unsubscribe=One-Click"):
            page = world.client.request(method, world.path("mia", "preferences") + query)
            assert page.status_code == (200 if method in ("GET", "HEAD") else 405)
    assert world.all_rows() == before


def test_the_page_shows_the_address_masked(sqlite_world: World) -> None:
    for page in (_open(sqlite_world), _press(sqlite_world, "stop"), _open(sqlite_world)):
        assert "mia@people.example" not in page
    assert "m•••@people.example" in _open(sqlite_world)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"do": ""},
        {"do": "everything"},
        {"do": "stop-topic"},
        {"do": "stop-topic", "topic": "Cooking"},
        {"do": "start-topic", "topic": "welcome"},
        {"topic": "News"},
    ],
)
def test_an_unknown_action_does_nothing(sqlite_world: World, fields: dict[str, str]) -> None:
    before = sqlite_world.all_rows()
    page = sqlite_world.client.post(sqlite_world.path("mia", "preferences"), data=fields)
    assert page.status_code == 400
    assert "Your email choices" in page.text
    assert sqlite_world.all_rows() == before


def test_a_topic_is_stopped_alone_and_resumed_only_by_a_logged_opt_in(world: World) -> None:
    assert _open(world).count("Stop emails about") == len(TOPICS)
    for _ in range(2):
        page = _press(world, "stop-topic", topic="News")
        advance_clock(world, minutes=5)
    assert "No more emails about News" in page
    assert "Send me emails about News again" in page
    assert _rows(world, _LOG) == [("suppress", "topic", "News", "page", None)]
    assert "Send me emails about News" in _open(world)
    for _ in range(2):
        _press(world, "start-topic", topic="News")
        advance_clock(world, minutes=5)
    _, opted_in = _rows(world, _LOG)
    assert opted_in[:4] == ("opt_in", "topic", "News", "page")
    assert "preference page" in opted_in[4]
    assert _open(world).count("Stop emails about") == len(TOPICS)
    assert _rows(world, _LOG, "noor") == []


def test_a_lead_that_stops_one_topic_goes_on_with_the_others(world: World) -> None:
    _press(world, "stop-topic", topic=TOPICS["welcome"])
    run_at(world.ctx, advance_clock(world, hours=1))
    assert world.custodian("mia") == ("track", "keep")
    assert world.custodian("noor") == ("track", "welcome")
    _press(world, "stop-topic", topic=TOPICS["keep"])
    run_at(world.ctx, advance_clock(world, hours=1), advance_clock(world, hours=1))
    assert world.custodian("mia") == ("queue", "suppressed")
    advance_clock(world, days=1)
    _press(world, "start-topic", topic=TOPICS["welcome"])
    assert world.custodian("mia")[0] == "intake"


def test_an_unpublished_topic_is_still_shown_to_leads_who_stopped_it(sqlite_world: World) -> None:
    with sqlite_world.ctx.database.write() as tx:
        address = tx.execute(
            text("SELECT address_id FROM lead WHERE id = :id"), {"id": sqlite_world.ids["mia"]}
        ).scalar_one()
        act = suppression.OptOut(
            address, SuppressionSource.PAGE, *SuppressionTarget(SuppressionScope.TOPIC, "Old times")
        )
        suppression.opt_out(tx, [act], sqlite_world.clock.now())
    assert "Send me emails about Old times" in _open(sqlite_world)
    assert "Old times" not in _open(sqlite_world, "noor")


def test_stop_ends_all_mail_and_start_is_an_opt_in_with_its_evidence(world: World) -> None:
    assert "You get no more email from us" in _press(world, "stop")
    page = _open(world)
    assert "Send me email again" in page
    assert 'value="pause"' not in page
    advance_clock(world, days=1)
    assert "You get our email again" in _press(world, "start")
    out, restored = _rows(world, _LOG)
    assert out == ("suppress", "global", "", "page", None)
    assert restored[:4] == ("opt_in", "global", "", "page")
    assert "by the link in message" in restored[4]
    advance_clock(world, days=1)
    _press(world, "stop")  # the same link works again
    assert "Send me email again" in _open(world)
    assert world.value("SELECT count(*) FROM suppression") == 3


OTHERS = sorted(
    set(SuppressionSource) - {SuppressionSource.PAGE, SuppressionSource.ONE_CLICK, SuppressionSource.BOUNCE}
)


@pytest.mark.parametrize("beside", [None, SuppressionSource.PAGE, SuppressionSource.BOUNCE])
@pytest.mark.parametrize("source", OTHERS)
def test_the_page_does_not_resume_mail_that_was_stopped_elsewhere(
    sqlite_world: World, source: SuppressionSource, beside: SuppressionSource | None
) -> None:
    world = sqlite_world
    for one in (source, *([beside] if beside else [])):
        suppression.suppress(world.ctx, ["mia@people.example"], world.clock.now(), source=one)
        suppression.suppress(
            world.ctx,
            ["noor@people.example"],
            world.clock.now(),
            target=SuppressionTarget(SuppressionScope.TOPIC, "News"),
            source=one,
        )
    advance_clock(world, minutes=5)
    before = world.all_rows()
    page = _open(world)
    assert "was stopped, but not on this page" in page
    assert "Write to " in page
    assert "<button" not in page
    refused = _press(world, "start", status=409)
    assert "This page cannot start our email again" in refused
    assert "✓" not in refused
    assert "Stopped, but not on this page" in _open(world, "noor")
    assert 'value="start-topic"' not in _open(world, "noor")
    _press(world, "start-topic", "noor", status=409, topic="News")
    _press(world, "start-topic", "noor", status=400, topic="Cooking")
    assert world.all_rows() == before


@pytest.mark.parametrize("source", [*OTHERS, SuppressionSource.BOUNCE])
def test_a_public_link_does_not_lift_suppressions_of_others(world: World, source: SuppressionSource) -> None:
    suppression.suppress(world.ctx, ["mia@people.example"], world.clock.now(), source=source)
    advance_clock(world, minutes=5)
    before = list(suppression_files.list_current(world.ctx))
    forms = [{"do": do, "topic": "News", "frequency": "any", "pause": "1"} for do in preference_center.ACTIONS]
    for purpose in ("preferences", "unsubscribe", "click"):
        path = world.path("mia", purpose) + ("/1" if purpose == "click" else "")
        world.client.get(path)
        for form in (*forms, ONE_CLICK, {**ONE_CLICK, "by": "page"}, {"answer": "yes"}):
            world.client.post(path, data=form)
            advance_clock(world, minutes=1)
            assert set(before) <= set(suppression_files.list_current(world.ctx)), (path, form)


def test_a_one_click_opt_out_can_be_reversed_on_the_page(world: World) -> None:
    world.client.post(world.path("mia", "unsubscribe"), data=ONE_CLICK)
    advance_clock(world, minutes=5)
    assert "You get our email again" in _press(world, "start")
    assert list(suppression_files.list_current(world.ctx)) == []


def test_an_opt_in_does_not_lift_a_hard_bounce(sqlite_world: World) -> None:
    world = sqlite_world
    suppression.suppress(world.ctx, ["mia@people.example"], world.clock.now(), source=SuppressionSource.BOUNCE)
    assert "Email to this address could not be delivered" in _open(world)
    assert "Email to your address could not be delivered" in _press(world, "start")
    assert len(_rows(world, _LOG)) == 1
    _press(world, "stop")
    advance_clock(world, days=1)
    assert "Email to your address could not be delivered" in _press(world, "start")
    assert "Stop all email" in _open(world)


@pytest.mark.parametrize(
    ("fields", "until"),
    [
        ({"pause": "1"}, date(2026, 2, 5)),
        ({"pause": "6"}, date(2026, 7, 5)),
        ({"pause": "day", "pause_day": "2026-03-01"}, date(2026, 3, 1)),
        ({"pause_day": "2026-03-01"}, date(2026, 3, 1)),
    ],
)
def test_a_pause_lasts_until_the_day_begins_and_can_be_ended(world: World, fields: dict[str, str], until: date) -> None:
    assert f"{until.day} {until:%B %Y}" in _press(world, "pause", **fields)
    explanation = explain.explain(world.ctx, world.ids["mia"], world.clock.now())
    assert explanation.paused_until is not None
    assert explanation.paused_until.date() == until
    assert explanation.hold.guard == "paused"
    assert _wakes_now(world)
    assert "manually" not in explanation.history[-1].reason
    _press(world, "resume")
    assert explain.explain(world.ctx, world.ids["mia"], world.clock.now()).paused_until is None
    assert "End the pause" not in _open(world)


def test_a_pause_counts_days_in_the_zone_of_the_lead(sqlite_world: World) -> None:
    with sqlite_world.ctx.database.write() as tx:
        tx.execute(text("UPDATE lead SET zone = 'Asia/Tokyo'"))
    _press(sqlite_world, "pause", pause_day="2026-03-01")
    explanation = explain.explain(sqlite_world.ctx, sqlite_world.ids["mia"], sqlite_world.clock.now())
    assert explanation.paused_until is not None
    assert explanation.paused_until.isoformat() == "2026-02-28T15:00:00+00:00"


@pytest.mark.parametrize(
    ("do", "fields"),
    [
        ("pause", {}),
        ("pause", {"pause": "7"}),
        ("pause", {"pause": "day"}),
        ("pause", {"pause": "1", "pause_day": "2026-03-01"}),
        ("pause", {"pause_day": "2026-01-05"}),
        ("pause", {"pause_day": "2036-01-05"}),
        ("pause", {"pause_day": "31.3.2026"}),
        ("frequency", {}),
        ("frequency", {"frequency": "1"}),
        ("state-decision", {}),
        ("state-decision", {"decides": "2026-02-01"}),
        ("state-decision", {"decides": "day"}),
        ("state-decision", {"decides_day": "2025-12-31"}),
        ("state-decision", {"decides_day": "2226-12-31"}),
        ("state-decision", {"decides": "2026-03-31", "decides_day": "2026-05-01"}),
        ("state-decision", {"decides_day": "<script>alert(1)</script>"}),
    ],
)
def test_an_ambiguous_answer_changes_nothing_and_names_the_field(
    sqlite_world: World, do: str, fields: dict[str, str]
) -> None:
    before = sqlite_world.all_rows()
    page = _press(sqlite_world, do, status=422, **fields)
    part = "decides" if do == "state-decision" else do
    assert f'href="#{part}"' in page
    assert f'id="{part}-problem"' in page
    assert f'aria-describedby="{part}-problem"' in page
    assert "<title>Please check:" in page
    assert "<script" not in page
    assert sqlite_world.all_rows() == before


def test_less_often_is_applied_by_the_planner_and_can_be_undone(world: World) -> None:
    _press(world, "frequency", frequency="30")
    explanation = explain.explain(world.ctx, world.ids["mia"], world.clock.now())
    assert ("frequency", "one email in 30 days at most") in explain.summary(explanation)
    assert _wakes_now(world)
    for _ in range(24):
        run_at(world.ctx, advance_clock(world, days=1))
    assert world.value(_SENT, id=world.ids["mia"]) == 1
    assert world.value(_SENT, id=world.ids["noor"]) > 1
    page = _press(world, "frequency", frequency="any")
    assert "as often as planned" in page
    for _ in range(4):
        run_at(world.ctx, advance_clock(world, days=1))
    assert world.value(_SENT, id=world.ids["mia"]) == 2


def test_less_often_holds_messages_that_are_already_planned(world: World) -> None:
    planned = "SELECT count(*) FROM message WHERE lead_id = :id AND state = 'planned'"
    while not world.value(planned, id=world.ids["mia"]):
        advance.advance(world.ctx, advance_clock(world, days=1))
    _press(world, "frequency", frequency="60")
    run.deliver(world.ctx, VirtualClock(world.clock.now()))
    assert world.value(_SENT, id=world.ids["mia"]) == 1
    assert world.value(_SENT, id=world.ids["noor"]) == 2


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ({"decides": "2026-12-31"}, date(2026, 12, 31)),
        ({"decides": "day", "decides_day": "2027-05-14"}, date(2027, 5, 14)),
        ({"decides_day": "2027-02"}, date(2027, 2, 28)),
        ({"decides_day": _TODAY.isoformat()}, _TODAY),
    ],
)
def test_a_stated_decision_is_the_leads_timeline(world: World, fields: dict[str, str], day: date) -> None:
    page = _press(world, "state-decision", **fields)
    assert f"{day.day} {day:%B %Y}" in page
    explanation = explain.explain(world.ctx, world.ids["mia"], world.clock.now())
    assert explanation.decides_on == day
    with world.ctx.database.read() as tx:
        recorded = tx.execute(text("SELECT value, track, step, source FROM signal WHERE kind = 'deciding'")).one()
    assert tuple(recorded) == (day.isoformat(), "welcome", "01-hello", "link")


def test_a_repeated_statement_is_one_signal_and_the_newest_is_used(sqlite_world: World) -> None:
    recorded = "SELECT count(*) FROM signal WHERE kind = 'deciding'"
    for day, count in (("2026-06-30", 1), ("2026-06-30", 1), ("2026-12-31", 2), ("2026-06-30", 3)):
        _press(sqlite_world, "state-decision", decides=day)
        advance_clock(sqlite_world, minutes=1)
        assert sqlite_world.value(recorded) == count
    assert _rows(sqlite_world, _LEAD)[0][2] == "2026-06-30"


def test_a_lead_that_decides_soon_is_handed_off_at_the_next_sweep(world: World) -> None:
    _press(world, "state-decision", decides="2026-03-31")
    assert _wakes_now(world)
    run_at(world.ctx, advance_clock(world, minutes=1))
    assert world.custodian("mia")[0] == "offer"
    assert world.custodian("noor")[0] == "track"


def test_the_choices_of_a_lead_do_not_affect_others(world: World) -> None:
    others = [_rows(world, _LEAD, who) for who in ("dana", "erik", "noor")]
    _press(world, "pause", pause="3")
    _press(world, "frequency", frequency="60")
    _press(world, "state-decision", decides="2026-12-31")
    _press(world, "stop")
    assert [_rows(world, _LEAD, who) for who in ("dana", "erik", "noor")] == others
    assert world.value("SELECT count(DISTINCT address_id) FROM suppression") == 1


def test_the_choices_are_there_without_published_rules_and_without_an_address(sqlite_world: World) -> None:
    with sqlite_world.ctx.database.write() as tx:
        tx.execute(text("UPDATE lead SET address_id = NULL WHERE id = :i"), {"i": sqlite_world.ids["mia"]})
    assert "Your email choices" in _open(sqlite_world)
    for do, fields in (("stop", {}), ("start", {}), ("stop-topic", {"topic": "News"})):
        _press(sqlite_world, do, **fields)
    _press(sqlite_world, "pause", pause="1")


def test_forms_need_no_script_and_every_field_has_its_label(sqlite_world: World) -> None:
    page = _open(sqlite_world)
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    assert page.count("<fieldset") == page.count("<legend") == 3
    for field_id in ("pause-day", "decides-day"):
        assert f'<label for="{field_id}">' in page
    assert page.count('type="radio"') == page.count('<label class="choice">')
    assert "<script" not in page


def test_one_click_is_answered_in_short_without_a_redirect(sqlite_world: World) -> None:
    client: TestClient = sqlite_world.client
    answer = client.post(
        sqlite_world.path("mia", "unsubscribe"), data={"List-Unsubscribe": "One-Click"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert len(answer.content) < 200
    assert "set-cookie" not in answer.headers


def test_a_pause_that_is_over_is_not_shown(sqlite_world: World) -> None:
    _press(sqlite_world, "pause", pause_day="2026-01-06")
    assert "End the pause now" in _open(sqlite_world)
    sqlite_world.clock.advance_to(sqlite_world.clock.now() + timedelta(days=2))
    assert "End the pause now" not in _open(sqlite_world)


def test_a_withdrawn_date_is_not_restored_by_an_old_report(world: World) -> None:
    assert "Remove the date" not in _open(world)
    _press(world, "state-decision", decides="2026-12-31")
    assert "Remove the date" in _open(world)
    advance_clock(world, hours=1)
    assert "The date was removed" in _press(world, "withdraw-decision")
    assert _rows(world, _LEAD) == [(None, None, None)]
    assert explain.explain(world.ctx, world.ids["mia"], world.clock.now()).history[-1].event == "timeline_cleared"
    page = _open(world)
    assert "Remove the date" not in page
    before = world.all_rows()
    _press(world, "withdraw-decision")
    assert world.all_rows() == before
    late = signals.build_reported_signal(
        world.ids["mia"], SignalKind.DECIDING, "2026-10-31", NOW, advance_clock(world, hours=1)
    )
    signals.record(world.ctx, [late], world.clock.now())
    assert _rows(world, _LEAD) == [(None, None, None)]
    _press(world, "state-decision", decides="2026-12-31")
    assert _rows(world, _LEAD)[0][2] is not None


AWAY_UNTIL = NOW + timedelta(days=30)


def test_the_page_neither_ends_nor_shortens_a_pause_that_others_asked_for(world: World) -> None:
    manual.pause(world.ctx, world.ids["mia"], AWAY_UNTIL, world.clock.now())
    before = _rows(world, _LEAD)
    page = _open(world)
    assert "4 February 2026" in page
    assert "It was not set on this page" in page
    assert "End the pause now" not in page
    assert "This page cannot end the pause" in _press(world, "resume", status=409)
    assert "Paused until 4 February 2026" in _press(world, "pause", pause_day="2026-01-20")
    assert _rows(world, _LEAD) == before
    longer = _press(world, "pause", pause_day="2026-03-01")
    assert "Paused until 1 March 2026" in longer
    assert "End the pause now" not in longer + _open(world)
    _press(world, "resume", status=409)
    assert str(_rows(world, _LEAD)[0][0])[:10] >= "2026-02-28"
    manual.pause(world.ctx, world.ids["mia"], None, world.clock.now())
    _press(world, "pause", pause_day="2026-03-01")
    assert "The pause is over" in _press(world, "resume")


def test_the_page_neither_shows_nor_removes_a_date_that_others_reported(world: World) -> None:
    reported = signals.build_reported_signal(
        world.ids["mia"], SignalKind.DECIDING, "2026-10-31", world.clock.now(), world.clock.now()
    )
    signals.record(world.ctx, [reported], world.clock.now())
    before = world.all_rows()
    assert "Remove the date" not in _open(world)
    assert "31 October 2026" not in _open(world)
    _press(world, "withdraw-decision")
    assert world.all_rows() == before
    advance_clock(world, hours=1)
    _press(world, "state-decision", decides="2026-12-31")
    assert "Remove the date" in _open(world)
