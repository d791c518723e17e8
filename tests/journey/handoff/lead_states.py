"""Leads in every state in which they may be when they ask for contact, reached together in one database."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource
from nurture.domain.lead import Closing, PausedBy
from nurture.domain.signals import SignalKind
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut, SuppressionTarget
from nurture.journey.handoff import responses
from nurture.journey.tracks import manual
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, run_at
from tests.journey.observe import add_leads, custody, one, record_signal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW: Final = START + 4 * HOUR
"""When the states are reached; the first email was sent an hour earlier."""

_OFFERED: Final = NOW - HOUR / 2
_TOPIC: Final = SuppressionTarget(SuppressionScope.TOPIC, "news")
_TRACK: Final = SuppressionTarget(SuppressionScope.TRACK, "welcome")

Steps = Generator[datetime, None, int]
State = Callable[[AppContext, str], Steps]
"""Brings a lead with an address ("" for any) into a state: yields when all stages run next, and returns its id."""


def reach(ctx: AppContext, states: Mapping[str, State]) -> dict[str, int]:
    """Bring one lead into each state, by one sweep for all at each time; return their ids.

    The first has the address mia@people.example.
    """
    steps = {
        name: state(ctx, "" if number else "mia@people.example") for number, (name, state) in enumerate(states.items())
    }
    leads: dict[str, int] = {}
    due = dict.fromkeys(steps, START)
    while due:
        now = min(due.values())
        for name in [name for name, at in due.items() if at == now]:
            try:
                due[name] = next(steps[name])
            except StopIteration as end:
                leads[name] = end.value
                del due[name]
        if due:
            run_at(ctx, min(due.values()))
    return leads


def lead_in(ctx: AppContext, state: State) -> int:
    """Bring mia into a state; return her id."""
    return reach(ctx, {"": state})[""]


def on_track(ctx: AppContext, email: str) -> Steps:
    lead = add_lead(ctx, title="Head of stock", email=email)
    yield from (START, START + 2 * HOUR, START + 3 * HOUR)
    assert custody(ctx, lead) == ("track", "welcome")
    return lead


def offered(ctx: AppContext, email: str) -> Steps:
    lead = yield from on_track(ctx, email)
    record_signal(ctx, lead, SignalKind.REPLIED, _OFFERED)
    yield _OFFERED
    return lead


def find_offer(ctx: AppContext, lead: int) -> int:
    """Return the open offer of a lead."""
    return int(one(ctx, "SELECT id FROM offer WHERE state = 'offered' AND lead_id = :lead", lead=lead))


def paused(by: PausedBy) -> State:
    def state(ctx: AppContext, email: str) -> Steps:
        lead = yield from on_track(ctx, email)
        manual.pause(ctx, lead, START + 180 * DAY, NOW, paused_by=by)
        yield NOW
        return lead

    return state


def refused(source: SuppressionSource, about: SuppressionTarget, *, swept: bool) -> State:
    def state(ctx: AppContext, email: str) -> Steps:
        lead = yield from on_track(ctx, email)
        if not swept:
            yield NOW
        address = one(ctx, "SELECT address_id FROM lead WHERE id = :id", id=lead)
        with ctx.database.write() as tx:
            suppression.opt_out(tx, [OptOut(address, source, *about, at=NOW)], NOW)
        if swept:
            yield NOW
            everything = about == suppression.ALL_MAIL
            assert custody(ctx, lead) == (("queue", "suppressed") if everything else ("track", "keep"))
        return lead

    return state


def unsubscribed(ctx: AppContext, email: str) -> Steps:
    lead = yield from on_track(ctx, email)
    record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, NOW)
    yield NOW
    assert custody(ctx, lead) == ("queue", "suppressed")
    return lead


def rejected(reason: str) -> State:
    def state(ctx: AppContext, email: str) -> Steps:
        lead = yield from offered(ctx, email)
        responses.reject(ctx, find_offer(ctx, lead), reason, NOW)
        yield NOW
        return lead

    return state


def closed(closing: Closing) -> State:
    def state(ctx: AppContext, email: str) -> Steps:
        lead = yield from offered(ctx, email)
        yield NOW
        responses.accept(ctx, find_offer(ctx, lead), NOW)
        close_lead(ctx, lead, closing, NOW)
        return lead

    return state


def came_in(queue: str, **fields: Any) -> State:
    def state(ctx: AppContext, email: str) -> Steps:
        lead = add_lead(ctx, **{"title": "Head of stock", "email": email, **fields})
        yield from (START, NOW)
        assert custody(ctx, lead) == ("resting" if queue == "no-track" else "queue", queue)
        return lead

    return state


def taken_off(ctx: AppContext, email: str) -> Steps:
    lead = yield from on_track(ctx, email)
    yield NOW
    manual.remove_from_track(ctx, lead, "by-hand", NOW)
    return lead


def not_classified(ctx: AppContext, email: str) -> Steps:
    yield NOW
    return add_lead(ctx, title="Clerk", email=email, consent_basis=None, at=NOW)


def waiting_for_capacity(ctx: AppContext, email: str) -> Steps:
    """Wait behind ten leads; the reps of the other leads must have no room."""
    add_leads(ctx, 10, demo_requested=True)
    lead = add_lead(ctx, title="Head", email=email, demo_requested=True)
    yield from (START, NOW)
    assert custody(ctx, lead) == ("queue", "hand-off")
    return lead


STATES: Final[Mapping[str, State]] = {
    "on its track": on_track,
    "offered": offered,
    "paused on its page": paused(PausedBy.PREFERENCE_PAGE),
    "paused by hand": paused(PausedBy.OPERATOR),
    "paused by a rep": paused(PausedBy.REP),
    "in cool-off on another track": rejected("not-now"),
    "in cool-off on its track": rejected("wrong-person"),
    "given back for a look": rejected("please-check"),
    "given back as a bad fit": rejected("bad-fit"),
    "lost": closed(Closing.LOST),
    "unreachable": closed(Closing.UNREACHABLE),
    "discarded": closed(Closing.DISCARDED),
    "unsubscribed": unsubscribed,
    **{f"suppressed by {one}": refused(one, suppression.ALL_MAIL, swept=True) for one in SuppressionSource},
    **{f"just suppressed by {one}": refused(one, suppression.ALL_MAIL, swept=False) for one in SuppressionSource},
    "no mail about its topic": refused(SuppressionSource.PAGE, _TOPIC, swept=True),
    "no mail of its track": refused(SuppressionSource.PAGE, _TRACK, swept=True),
    "without a basis": came_in("no-consent-basis", consent_basis=None),
    "without an address": came_in("no-address", email=None),
    "without a track": came_in("no-track", title="Clerk"),
    "taken off by hand": taken_off,
    "not classified yet": not_classified,
}
"""All states in which reps have room for the lead."""
