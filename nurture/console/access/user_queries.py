"""Users of the console, their invitations and sessions."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import delete, func, select, update

from nurture.db.tables.console import console_invitation as invitation
from nurture.db.tables.console import console_session as session
from nurture.db.tables.console import console_user as user
from nurture.db.transaction import Transaction


class UserRecord(NamedTuple):
    """A user as stored."""

    id: int
    login: str
    role: str
    rep: str
    password_hash: str | None
    failures: int
    locked_until: datetime | None
    created_at: datetime


class SessionRecord(NamedTuple):
    """A valid session and its user."""

    session_id: int
    seen_at: datetime
    expires_at: datetime
    user_id: int
    login: str
    role: str
    rep: str


_USER: Final = tuple(user.c[name] for name in UserRecord._fields)
_SESSION: Final = (
    select(session.c.id, session.c.seen_at, session.c.expires_at, user.c.id, user.c.login, user.c.role, user.c.rep)
    .join(user, user.c.id == session.c.user_id)
    .where(session.c.ended_at.is_(None), user.c.removed_at.is_(None))
)


def list_users(tx: Transaction) -> list[UserRecord]:
    """Return the users who are not removed, oldest first."""
    found = tx.execute(select(*_USER).where(user.c.removed_at.is_(None)).order_by(user.c.id))
    return [UserRecord._make(row) for row in found]


def find_user(tx: Transaction, login: str, *, lock: bool = False) -> UserRecord | None:
    """Return the user who signs in as *login*; *lock* keeps others from changing it meanwhile."""
    statement = select(*_USER).where(user.c.login == login, user.c.removed_at.is_(None))
    row = tx.execute(statement.with_for_update() if lock else statement).one_or_none()
    return UserRecord._make(row) if row is not None else None


def add_user(tx: Transaction, login: str, role: str, rep: str, now: datetime) -> bool:
    """Store a new user; return False if *login* is taken."""
    if find_user(tx, login) is not None:
        return False
    names = ("login", "role", "rep", "failures", "created_at")
    return tx.insert(user, names, [(login, role, rep, 0, now)], ignore_conflicts=True) == 1


def set_password(tx: Transaction, user_id: int, password_hash: str) -> None:
    """Store a new password, which ends a lockout, and delete the invitation."""
    values = {"password_hash": password_hash, "failures": 0, "locked_until": None}
    tx.execute(update(user).where(user.c.id == user_id).values(values))
    tx.execute(delete(invitation).where(invitation.c.user_id == user_id))


def set_failures(tx: Transaction, user_id: int, failures: int, locked_until: datetime | None) -> None:
    """Record how many wrong passwords there were, and until when more are refused."""
    tx.execute(update(user).where(user.c.id == user_id).values(failures=failures, locked_until=locked_until))


def remove_user(tx: Transaction, user_id: int, now: datetime) -> None:
    """Remove a user for good; the row stays, because the log names it."""
    tx.execute(update(user).where(user.c.id == user_id).values(removed_at=now, password_hash=None))
    tx.execute(delete(invitation).where(invitation.c.user_id == user_id))


def replace_invitation(tx: Transaction, user_id: int, digest: str, expires_at: datetime) -> None:
    """Store an invitation; an older one of the user ends."""
    tx.execute(delete(invitation).where(invitation.c.user_id == user_id))
    tx.insert(invitation, ("user_id", "digest", "expires_at"), [(user_id, digest, expires_at)])


def find_invited(tx: Transaction, digest: str, now: datetime) -> UserRecord | None:
    """Return the user whose invitation has this digest and has not expired."""
    statement = select(*_USER).join(invitation, invitation.c.user_id == user.c.id)
    unexpired = (invitation.c.digest == digest, invitation.c.expires_at > now, user.c.removed_at.is_(None))
    row = tx.execute(statement.where(*unexpired)).one_or_none()
    return UserRecord._make(row) if row is not None else None


def add_session(tx: Transaction, user_id: int, digest: str, now: datetime, expires_at: datetime) -> None:
    """Store a session."""
    names = ("user_id", "digest", "started_at", "seen_at", "expires_at")
    tx.insert(session, names, [(user_id, digest, now, now, expires_at)])


def find_session(tx: Transaction, digest: str, now: datetime, seen_after: datetime) -> SessionRecord | None:
    """Return the session with this digest, if it has neither ended nor expired and was seen after *seen_after*."""
    valid = (session.c.digest == digest, session.c.expires_at > now, session.c.seen_at > seen_after)
    row = tx.execute(_SESSION.where(*valid)).one_or_none()
    return SessionRecord._make(row) if row is not None else None


def record_seen(tx: Transaction, session_id: int, now: datetime) -> None:
    """Record that a session is in use."""
    tx.execute(update(session).where(session.c.id == session_id).values(seen_at=now))


def end_session(tx: Transaction, digest: str, now: datetime) -> None:
    """End one session."""
    tx.execute(update(session).where(session.c.digest == digest, session.c.ended_at.is_(None)).values(ended_at=now))


def end_sessions(tx: Transaction, user_id: int, now: datetime) -> int:
    """End all sessions of a user; return how many there were."""
    of_user = (session.c.user_id == user_id, session.c.ended_at.is_(None), session.c.expires_at > now)
    return tx.execute(update(session).where(*of_user).values(ended_at=now)).rowcount


def delete_expired(tx: Transaction, before: datetime) -> None:
    """Delete the sessions that expired before this time."""
    tx.execute(delete(session).where(session.c.expires_at < before))


def count_sessions(tx: Transaction, now: datetime, seen_after: datetime) -> dict[int, int]:
    """Return how many sessions each user has."""
    valid = (session.c.ended_at.is_(None), session.c.expires_at > now, session.c.seen_at > seen_after)
    statement = select(session.c.user_id, func.count()).where(*valid).group_by(session.c.user_id)
    return {row[0]: row[1] for row in tx.execute(statement)}
