"""The time between a backup and its restore: what fell due in it counts as sent, and ends in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Table, case, func, literal, or_, select, text, update
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Custodian, Queue
from nurture.journey.leads import signal_queries
from nurture.journey.leads.changeset import hold
from nurture.outbox.messages import RESTORED, TO_LEADS

message: Table = core.Message.__table__  # type: ignore[attr-defined]
custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]

_WAITS: Final = ("planned", "claimed")
_KNOWN_OUTSIDE: Final = ("lead", "enrollment", "offer")
_LEAP: Final = 1_000_000
_CALLED: Final = ("sending", "in_doubt")
_MOVED: Final = (Custodian.INTAKE.value, Custodian.TRACK.value)
_MAYBE: Final = "the database was restored; this fell due after its backup, and may have gone before"
_RENEWED: Mapping[str, TypeEngine[Any]] = {"id": BigInteger(), "expires_at": UtcDateTime()}


def leap_ids(database: Database, connection: Connection) -> None:
    """Let new leads, enrollments and hand-offs have ids that none had in the gap.

    Providers and CRMs know them by these ids: what they tell of somebody of the gap must reach nobody else.
    """
    for name in _KNOWN_OUTSIDE:
        if database.is_sqlite:
            newest = text("SELECT max(seq) FROM sqlite_sequence WHERE name = :name")
            reached = connection.execute(newest, {"name": name}).scalar() or 0
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
            onward = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
            connection.execute(onward, {"name": name, "seq": reached + _LEAP})
        else:
            onward = text(
                "SELECT setval(s, nextval(s) + :leap) FROM pg_get_serial_sequence(:name, 'id') AS s"
            )
            connection.execute(onward, {"name": name, "leap": _LEAP})


def last_moved(connection: Connection) -> datetime | None:
    """Return when a lead was last moved on its track, None if never: the gap begins no later."""
    wanted = select(journal.c.at).where(journal.c.stage == "advance").order_by(journal.c.id.desc()).limit(1)
    found: datetime | None = connection.execute(wanted).scalar()
    return found


def next_moment(connection: Connection) -> datetime | None:
    """Return when a lead is moved or a touch goes next, None if never."""
    # One kind each, and the filter on due_at, as the index has them: else every lead is read.
    moments = [
        select(func.min(custody.c.due_at, type_=UtcDateTime()))
        .where(custody.c.due_at.is_not(None), custody.c.kind == kind)
        .scalar_subquery()
        for kind in _MOVED
    ]
    touches = select(func.min(message.c.send_at, type_=UtcDateTime())).where(
        message.c.state == "planned", message.c.kind.in_(TO_LEADS)
    )
    found = connection.execute(select(*moments, touches.scalar_subquery())).one()
    return min((moment for moment in found if moment is not None), default=None)


def count_as_sent(database: Database, connection: Connection, at: datetime, limit: int) -> int:
    """Count at most *limit* touches that wait for a time until *at* as sent then; their tracks go on.

    So are those that were being sent, or in doubt, when the backup was made: it became known since. The state
    is that of a touch that went, so that the planner steps behind it; `put_in_doubt` ends that.
    """
    waits = message.c.state.in_(_WAITS) & (message.c.send_at <= at)
    called = message.c.state.in_(_CALLED) & (message.c.state_at <= at)
    due = select(message.c.id, message.c.lead_id).where(message.c.kind.in_(TO_LEADS), or_(waits, called))
    rows = connection.execute(due.order_by(message.c.id).limit(limit)).all()
    if not rows:
        return 0
    hold(database, connection, sorted({row.lead_id for row in rows}))
    chosen = database.ids("chosen", [row.id for row in rows])
    gone = update(message).where(message.c.id == chosen.c.id, message.c.state.in_((*_WAITS, *_CALLED)))
    then = case((message.c.state.in_(_CALLED), message.c.state_at), else_=message.c.send_at)
    connection.execute(
        gone.values(
            state="accepted",
            state_at=then,
            accepted_at=then,
            provider=RESTORED,
            reason=_MAYBE,
            lease_token=None,
            lease_until=None,
        )
    )
    signal_queries.wake(database, connection, [row.lead_id for row in rows], at)
    return len(rows)


def put_in_doubt(connection: Connection) -> int:
    """Put in doubt what was counted as sent; return how many messages that is."""
    counted = (message.c.state == "accepted") & (message.c.provider == RESTORED)
    doubtful = update(message).where(counted)
    return connection.execute(doubtful.values(state="in_doubt", accepted_at=None)).rowcount


def handed_off(connection: Connection) -> list[int]:
    """Return the leads that are offered to a rep or wait for one: their briefs may have gone in the gap."""
    waits = (custody.c.kind == Custodian.QUEUE.value) & (custody.c.ref == Queue.HAND_OFF.value)
    wanted = select(custody.c.lead_id).where(or_(custody.c.kind == Custodian.OFFER.value, waits))
    return list(connection.execute(wanted.order_by(custody.c.lead_id)).scalars())


def renew(
    database: Database, connection: Connection, offers: Sequence[tuple[int, datetime]], now: datetime
) -> None:
    """Let (offer id, new end) begin anew at *now*, and send their briefs and notices again."""
    if not offers:
        return
    renewed = database.rows("renewed", _RENEWED, offers)
    mine = update(offer).where(offer.c.id == renewed.c.id, offer.c.state == "offered")
    connection.execute(mine.values(offered_at=now, expires_at=renewed.c.expires_at, level=0))
    briefs = update(message).where(
        message.c.offer_id == renewed.c.id, message.c.kind.in_(("brief", "notice"))
    )
    connection.execute(
        briefs.values(
            state="planned",
            state_at=now,
            send_at=now,
            expires_at=renewed.c.expires_at,
            accepted_at=None,
            claimed_at=None,
            lease_token=None,
            lease_until=None,
            reason="offered again after a restore, as a person said",
        )
    )


def leave_to_reps(connection: Connection) -> int:
    """Put everything for people in sales in doubt that has not gone; return how many messages that is."""
    waits = (message.c.state.in_(_WAITS)) & (message.c.kind.not_in(TO_LEADS))
    left = update(message).where(waits)
    return connection.execute(
        left.values(
            state="in_doubt",
            state_at=message.c.send_at,
            provider=literal(RESTORED),
            reason=_MAYBE,
            lease_token=None,
            lease_until=None,
        )
    ).rowcount
