"""Believe clicks as far as they deserve: take down how they came in, and judge them by the policy's rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.db.locks import Lock, acquire
from nurture.domain.address import PUBLIC_MAIL
from nurture.domain.plain_text import index_key
from nurture.domain.scoring.click_filtering import Judgement, Thresholds, Visit, agent_of, judge
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NotFound
from nurture.journey.engagement import click_queries
from nurture.journey.engagement.click_queries import Came, Found, Judged, Mailed
from nurture.journey.leads import signal_queries
from nurture.journey.leads.signal_queries import Recorded
from nurture.journey.scoring import queries as scoring_queries
from nurture.runtime.context import House

LINK: Final = "link"
"""Where clicks on our own links come from."""

MOST_AN_HOUR: Final = 60
"""Visits of one link in one mail that are kept of each hour: the next ones tell nothing new."""

_MOST_IN_METHOD: Final = 16


class Visited(NamedTuple):
    """A click or an open as a door heard it. Of *ip* and *agent* nothing is kept but a mark and a class.

    *message_id* is the mail whose link or pixel it was, *link* the link's id in its template. *agent* is the
    user agent, None where the door does not know it. *honeypot*: the link was one that no reader sees;
    *machine*: the provider says that a machine did it. *natural_key* is the event's own id, if it has one.
    """

    kind: SignalKind
    message_id: int
    occurred_at: datetime
    link: str | None = None
    method: str = "GET"
    ip: str = ""
    agent: str | None = None
    honeypot: bool = False
    machine: bool = False
    source: str = LINK
    natural_key: str = ""


def take_down(house: House, connection: Connection, visits: Sequence[Visited], now: datetime) -> int:
    """Write clicks and opens, each once, to be judged; return how many were new.

    Those of unknown mails are passed over. A program that follows a link twice within a second did so once.
    """
    if not visits:
        return 0
    database = house.database
    mails = click_queries.mailed(database, connection, {one.message_id for one in visits})
    taken = _taken(house, connection, visits)
    rows: list[Recorded] = []
    came: list[Came] = []
    for one in visits:
        mail = mails.get(one.message_id)
        if mail is not None:
            how = _came(one, mail)
            if one.source == LINK and not _has_room(taken, one, how.natural_key):
                continue
            came.append(how)
            rows.append(_recorded(one, mail, how.natural_key, now))
    new = signal_queries.record(database, connection, rows)
    click_queries.record(database, connection, came)
    return new


_Taken = dict[tuple[int, str | None, datetime], set[str]]
"""The keys of the visits that are kept, by mail, link and hour."""


def _taken(house: House, connection: Connection, visits: Sequence[Visited]) -> _Taken:
    own = [one for one in visits if one.source == LINK]
    found: _Taken = defaultdict(set)
    if own:
        since = min(_hour(one.occurred_at) for one in own)
        mails = {one.message_id for one in own}
        for message_id, link, at, key in click_queries.since(house.database, connection, mails, since):
            found[message_id, link, _hour(at)].add(key)
    return found


def _has_room(taken: _Taken, one: Visited, key: str) -> bool:
    """Whether a visit is among the first of its hour; whoever comes more often fills no database."""
    keys = taken[one.message_id, one.link, _hour(one.occurred_at)]
    if len(keys) >= MOST_AN_HOUR and key not in keys:
        return False
    keys.add(key)
    return True


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _came(one: Visited, mail: Mailed) -> Came:
    ip_mark = _mark(mail.message_id, one.ip)
    agent_mark = _mark(mail.message_id, one.agent or "")
    method = one.method.upper()[:_MOST_IN_METHOD]
    second = one.occurred_at.replace(microsecond=0).isoformat()
    parts = (one.kind.value, str(mail.message_id), one.link or "", method, second, ip_mark, agent_mark)
    return Came(
        natural_key=one.natural_key or index_key("|".join(("visit", *parts))),
        message_id=mail.message_id,
        at=one.occurred_at,
        method=method,
        agent=agent_of(one.agent).value,
        ip_mark=ip_mark,
        agent_mark=agent_mark,
        company=_company(mail),
        honeypot=one.honeypot,
        machine=one.machine,
    )


def _mark(message_id: int, told: str) -> str:
    """Return 16 bits that tell two sources of one mail apart, and that thousands of others share."""
    return sha256(f"{message_id}|{told}".encode()).hexdigest()[:4] if told else ""


def _company(mail: Mailed) -> str:
    domain = mail.address.rpartition("@")[2].lower()
    if not domain or domain in PUBLIC_MAIL:
        return ""
    return sha256(f"{mail.salt}|{domain}".encode()).hexdigest()[:8]


def _recorded(one: Visited, mail: Mailed, natural_key: str, now: datetime) -> Recorded:
    """Return the signal; until it is judged it is a suspect, and counts for nothing."""
    return Recorded(
        lead_id=mail.lead_id,
        kind=one.kind.value,
        occurred_at=one.occurred_at,
        recorded_at=now,
        natural_key=natural_key,
        source=one.source,
        verdict=SignalVerdict.SUSPECT.value,
        verdict_because="not judged yet",
        enrollment_id=mail.enrollment_id,
        track=mail.track,
        step=mail.step or None,
        link=one.link,
        message_id=mail.message_id,
        judged_under="",
    )


def rejudge(house: House, now: datetime) -> int:
    """Judge every visit that today's rules have not judged; return how many verdicts are others now."""
    total = 0
    while True:
        seen, changed = rejudge_batch(house, now, house.batch)
        total += changed
        if seen < house.batch:
            return total


def rejudge_batch(house: House, now: datetime, limit: int) -> tuple[int, int]:
    """Judge at most *limit* visits, and their neighbours; return how many there were, and how many changed.

    Where none waits, this is one index probe. A lead whose deed had its effect already is scored anew.
    """
    database = house.database
    with database.read() as connection:
        try:
            thresholds = house.rulebooks.current(connection).policy.evidence
        except NotFound:  # nothing is published yet, so no mail went that anybody could have visited
            return 0, 0
        if not click_queries.unjudged(connection, thresholds.key, 1):
            return 0, 0
    with database.write() as connection:
        acquire(database, connection, Lock.SIGNALS)
        waiting = click_queries.unjudged(connection, thresholds.key, limit)
        if not waiting:
            return 0, 0
        found, near = _around(house, connection, {message_id for _, message_id in waiting}, thresholds)
        verdicts = judge([one.visit for one in found] + near, thresholds)
        fresh = [_judged(one, verdicts, thresholds) for one in found]
        changed = [
            one for one, new in zip(found, fresh, strict=True) if (one.verdict, one.because) != new[1:3]
        ]
        overturned = {
            one.visit.lead
            for one, new in zip(found, fresh, strict=True)
            if one.verdict != new.verdict and one.applied
        }
        signal_queries.wake(database, connection, sorted(overturned), now)
        scoring_queries.mark_stale(database, connection, sorted(overturned))
        click_queries.write(database, connection, fresh)
    return len(waiting), len(changed)


def _judged(one: Found, verdicts: Mapping[int, Judgement], thresholds: Thresholds) -> Judged:
    verdict, because = verdicts[one.visit.id]
    return Judged(one.visit.id, verdict.value, because, thresholds.key)


def _around(
    house: House, connection: Connection, message_ids: set[int], thresholds: Thresholds
) -> tuple[list[Found], list[Visit]]:
    """Return all visits whose verdict the new ones may change, and others that these verdicts rest on.

    Who clicks as the third of a company makes suspects of the two before, on mails of their own.
    """
    database, within = house.database, thresholds.leads_within
    found = click_queries.of_messages(database, connection, message_ids)
    near = click_queries.close_by(database, connection, [one.visit for one in found], within)
    also = {one.message for one in near} - message_ids
    if also:
        found += click_queries.of_messages(database, connection, also)
        near = click_queries.close_by(database, connection, [one.visit for one in found], within)
    known = {one.visit.id for one in found}
    return found, [one for one in near if one.id not in known]
