"""What may go now: the last look before a message is claimed, and the very last one before the call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.domain.consent.suppression import Standing, covering
from nurture.domain.delivery import sending_limits
from nurture.domain.delivery.sending_limits import Limits, SendingRules
from nurture.domain.lead import NEEDS, Custodian
from nurture.domain.planning import calendar
from nurture.domain.planning.program import Program
from nurture.errors import NurtureError
from nurture.journey.delivery import volume_queries as sent_mail
from nurture.journey.handoff import sla_emails
from nurture.journey.handoff.reply_forwarding import TEMPLATE, is_current
from nurture.journey.leads import suppression_queries
from nurture.journey.leads.transitions import TRY_FAULTY_AGAIN_AFTER
from nurture.outbox import circuit_breakers, messages
from nurture.outbox.circuit_breakers import Brake
from nurture.outbox.messages import TO_LEADS, Outcome, Waiting
from nurture.runtime.context import House
from nurture.runtime.redact import unnamed

LOOK_AGAIN_AFTER: Final = timedelta(minutes=15)
"""When messages are looked at again whose sender domain a person must release."""


@dataclass
class Cleared:
    """Which messages may go now, what becomes of the others, and from which domain each touch is sent."""

    go: list[Waiting] = field(default_factory=list)
    stay: list[Outcome] = field(default_factory=list)
    domains: dict[int, str] = field(default_factory=dict)


def clear(
    house: House, connection: Connection, waiting: Sequence[Waiting], braked: Sequence[Brake], now: datetime
) -> Cleared:
    """Look once more at everything that may have changed since the messages were planned."""
    touches = [one for one in waiting if one.kind in TO_LEADS]
    suppressed = _suppressed(house, connection, touches)
    programs = _programs(house, connection, touches)
    sent = _sent(house, connection, touches, programs, now)
    cleared = Cleared()
    going: dict[str, list[Waiting]] = defaultdict(list)
    for one in waiting:
        if one.kind not in TO_LEADS:
            outcome = None if _is_current(one) else cancelled(one, "superseded")
        else:
            program = programs[one.track, one.track_version]
            outcome = _obstacle(
                house, one, program, suppressed.get(one.address_id or 0, ()), sent[one.lead_id], now
            )
            if outcome is None and isinstance(program, Program):
                sent[one.lead_id].append(now)
                domain = sender_domain(program)
                going[domain].append(one)
                cleared.domains[one.id] = domain
                continue
        if outcome is None:
            cleared.go.append(one)
        else:
            cleared.stay.append(outcome)
    _by_domain(house, connection, going, braked, cleared, now)
    return cleared


def _is_current(one: Waiting) -> bool:
    """Whether mail to a rep is still theirs: the offer is open, or an answer of a lead that is with them."""
    if one.kind == sla_emails.KIND:
        return sla_emails.is_current(one)
    return is_current(one) if one.email == TEMPLATE else one.offer_state == "offered"


def closed_meanwhile(
    house: House, connection: Connection, touches: Sequence[Waiting], now: datetime
) -> dict[int, Outcome]:
    """Return what becomes of touches whose window has closed, or grace has ended, since the claim."""
    programs = _programs(house, connection, touches)
    closed = {}
    for one in touches:
        program = programs[one.track, one.track_version]
        if now > one.expires_at:
            closed[one.id] = cancelled(one, "too_late")
        elif isinstance(program, Program) and (later := _later(house, one, program, (), now)) is not None:
            closed[one.id] = _kept_back(one, "held for its send window", later)
    return closed


def suppressed_meanwhile(
    house: House, connection: Connection, touches: Sequence[Waiting]
) -> dict[int, Outcome]:
    """Return the touches whose lead has opted out since they were claimed, as cancelled."""
    suppressed = _suppressed(house, connection, touches)
    if not suppressed:
        return {}
    programs = _programs(house, connection, touches)
    stopped = {}
    for one in touches:
        program = programs[one.track, one.track_version]
        topic = program.topic if isinstance(program, Program) else ""
        why = _suppression(one, suppressed.get(one.address_id or 0, ()), topic)
        if why is not None:
            stopped[one.id] = cancelled(one, why)
    return stopped


def sender_domain(program: Program) -> str:
    """Return the domain whose reputation this track's mail makes."""
    return sending_limits.normalise_domain(program.sender.email.rpartition("@")[2])


def cancelled(one: Waiting, why: str) -> Outcome:
    """Say that a message never goes."""
    return Outcome(one.id, "cancelled", None, None, None, why, None)


def held(one: Waiting, why: str, until: datetime) -> Outcome:
    """Say that a message is looked at again at *until* (UTC)."""
    return Outcome(one.id, "planned", None, None, None, why, until)


def deferred(one: Waiting, why: str, until: datetime, now: datetime) -> Outcome:
    """Say that a message waits for its turn until *until* (UTC); its grace is as much longer."""
    return Outcome(one.id, "planned", None, None, None, why, until, one.expires_at + (until - now))


Suppressions = Mapping[int, Sequence[Standing]]
"""What stands against each address."""


def _suppressed(house: House, connection: Connection, touches: Sequence[Waiting]) -> Suppressions:
    addresses = [one.address_id for one in touches if one.address_id is not None]
    return suppression_queries.standing(house.database, connection, addresses)


Programs = Mapping[tuple[str | None, int | None], Program | str]
"""The program of each track's version, or why it cannot be read."""


def _programs(house: House, connection: Connection, touches: Sequence[Waiting]) -> Programs:
    found: dict[tuple[str | None, int | None], Program | str] = {}
    for one in touches:
        key = (one.track, one.track_version)
        if key not in found:
            try:
                found[key] = house.rulebooks.program(connection, one.track or "", one.track_version or 0)
            except NurtureError as error:
                found[key] = str(error)
    return found


def _sent(
    house: House, connection: Connection, touches: Sequence[Waiting], programs: Programs, now: datetime
) -> dict[int, list[datetime]]:
    """Return when each lead was written to, as far back as the longest cap, or a lead's own pace, looks."""
    known = [program for program in programs.values() if isinstance(program, Program)]
    paces = (timedelta(days=one.pace_days or 0) for one in touches)
    longest = max((*(program.cap.per for program in known), *paces), default=timedelta())
    sent: dict[int, list[datetime]] = defaultdict(list)
    leads = [one.lead_id for one in touches]
    for lead_id, moment in messages.sent_since(house.database, connection, leads, now - longest):
        sent[lead_id].append(moment)
    return sent


def _stands_where_it_was(one: Waiting) -> bool:
    """Tell whether the lead is still on the track, or waits for the fact, for which this mail was planned."""
    if one.kind == "touch":
        return one.custodian == Custodian.TRACK and one.custody_ref == one.track
    return one.custodian == Custodian.QUEUE and one.custody_ref == f"{NEEDS}{one.step}"


def _obstacle(
    house: House,
    one: Waiting,
    program: Program | str,
    suppressed: Sequence[Standing],
    sent: Sequence[datetime],
    now: datetime,
) -> Outcome | None:
    """Return what keeps this touch from going now, None if nothing does."""
    if not _stands_where_it_was(one):
        return cancelled(one, "left")
    if one.kind == "touch" and one.attempts and (one.on_step, one.on_visit) != (one.step, one.visit):
        return cancelled(one, "superseded")  # it was in doubt, and its track went on without it
    if not one.basis or one.address is None:
        return cancelled(one, "no basis or no address")
    if now > one.expires_at:
        return cancelled(one, "too_late")
    if isinstance(program, str):
        return held(one, f"fault: {program}", now + TRY_FAULTY_AGAIN_AFTER)
    why = _suppression(one, suppressed, program.topic)
    if why is not None:
        return cancelled(one, why)
    try:
        later = _later(house, one, program, sent, now)
    except Exception as error:  # noqa: BLE001 - said on the message, and tried again until it is too late
        return held(one, f"fault: {unnamed(error, one.facts, one.address)}", now + TRY_FAULTY_AGAIN_AFTER)
    if later is None:
        return None
    return _kept_back(one, "held for its send window or the frequency cap", later)


def _kept_back(one: Waiting, why: str, until: datetime) -> Outcome:
    return held(one, why, until) if until <= one.expires_at else cancelled(one, "too_late")


def _suppression(one: Waiting, suppressed: Sequence[Standing], topic: str) -> str | None:
    what = covering(suppressed, one.track or "", topic)
    return None if what is None else f"suppressed: {what.source.value}"


def _later(
    house: House, one: Waiting, program: Program, sent: Sequence[datetime], now: datetime
) -> datetime | None:
    """Return when pause, pace, cap and window let the touch go, None if they do now."""
    pace = timedelta(days=one.pace_days) if one.pace_days else None
    moment = max(now, one.paused_until or now)
    holidays = house.holidays(one.country, now)
    while True:
        opens = calendar.next_open(program.window, one.zone or program.zone_fallback, holidays, moment)
        frees = program.cap.frees_at_pace(pace, sent, opens)
        if frees is None:
            return opens if opens > now else None
        moment = frees


def _by_domain(
    house: House,
    connection: Connection,
    going: Mapping[str, Sequence[Waiting]],
    braked: Sequence[Brake],
    cleared: Cleared,
    now: datetime,
) -> None:
    """Let through what each sender domain may send: not braked, and within its hour and day."""
    if not going:
        return
    rules = house.rulebooks.current(connection).sending
    paused = {brake.name: brake for brake in braked if brake.kind == "domain"}
    off = {name: brake for name, brake in paused.items() if brake.until is None or brake.until > now}
    for name in (paused.keys() - off.keys()) & going.keys():
        circuit_breakers.release(connection, "domain", name, "its time was up", now)
    off |= _newly_braked(house, connection, [domain for domain in going if domain not in off], rules, now)
    for domain in off.keys() & going.keys():
        brake = off[domain]
        until = max(brake.until or now, now + LOOK_AGAIN_AFTER)
        why = f"held: mail from {domain} is paused: {brake.reason}"
        cleared.stay += [_kept_back(one, why, until) for one in going[domain]]
    free = {domain: touches for domain, touches in going.items() if domain not in off}
    limited = [domain for domain in free if _is_limited(rules.of(domain))]
    used = sent_mail.used(house.database, connection, limited, now)
    for domain, touches in free.items():
        if domain not in used:
            cleared.go += touches
            continue
        limits, spent = rules.of(domain), used[domain]
        room = sending_limits.room(limits, spent.this_hour, spent.today, now)
        places = Counter[str]()
        for one in touches:
            if room is None or room > places["gone"]:
                places["gone"] += 1
                cleared.go.append(one)
            else:
                turn = sending_limits.turn(limits, spent.this_hour, spent.today, places["waits"], now)
                places["waits"] += 1
                why = f"held: {domain} has sent what it may for now; see templates/sending.yaml"
                cleared.stay.append(deferred(one, why, turn, now))


def _is_limited(limits: Limits) -> bool:
    return (limits.per_hour, limits.per_day, limits.warm_up) != (None, None, None)


def _newly_braked(
    house: House, connection: Connection, domains: Sequence[str], rules: SendingRules, now: datetime
) -> dict[str, Brake]:
    """Put a brake on each domain whose newest mail bounced, or was complained about, too often."""
    found = {}
    of_last = {domain: rules.of(domain).of_last for domain in domains}
    for domain, how in sent_mail.received(connection, of_last).items():
        why = sending_limits.verdict(rules.of(domain), how.sent, how.bounced, how.complained)
        if why is not None:
            found[domain] = Brake("domain", domain, why, now, None)
            circuit_breakers.put(house.database, connection, found[domain])
    return found
