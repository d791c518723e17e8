"""Users of the console: roles, invitations by link, passwords, and lockout after wrong ones."""

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from secrets import token_urlsafe
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from nurture.console.access import sessions, user_queries
from nurture.console.access.user_queries import UserRecord
from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.errors import InvalidState, NotFound, suggest
from nurture.runtime.public_links import digest

INVITATION_LIFETIME: Final = timedelta(days=7)
MIN_PASSWORD_LENGTH: Final = 12
MAX_PASSWORD_LENGTH: Final = 200
FREE_FAILURES: Final = 5
"""Wrong passwords without a lockout; the next one locks the user out."""

FIRST_LOCKOUT: Final = timedelta(minutes=1)
"""The first lockout; each wrong password after it doubles the next, up to `MAX_LOCKOUT`."""

MAX_LOCKOUT: Final = timedelta(minutes=15)
FIRST_ADMIN: Final = "admin"
"""The login of the first user, whom the first start invites."""

_log: Final = logging.getLogger(__name__)
_LOGIN: Final = re.compile(r"[^\s@/<>\"']{1,64}(@[^\s@/<>\"']{1,190})?")
# Argon2id with 19 MiB and 2 passes: the least that OWASP recommends, so that a sign-in costs little memory.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NO_PASSWORD: Final = _HASHER.hash(token_urlsafe(16))
"""Verified for a login that does not exist, so that the time of an answer does not reveal who does."""


class Role(StrEnum):
    """What a user may see and do; each action and each page names its roles."""

    ADMIN = "admin"
    MARKETER = "marketer"
    SALES_MANAGER = "sales_manager"
    REP = "rep"
    VIEWER = "viewer"


class UserInfo(NamedTuple):
    """A user as listed: whether the invitation was accepted, and how many sessions are open."""

    login: str
    role: str
    rep: str
    has_password: bool
    open_sessions: int
    locked_until: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Invitation:
    """The secret part of an invitation link, shown once, and whom it invites."""

    token: str
    login: str
    expires_at: datetime

    def url(self, base_url: str) -> str:
        """Return the link under *base_url*, the address of the console."""
        return f"{base_url.rstrip('/')}/invitation/{self.token}"


def add_user(database: Database, login: str, role: str, rep: str, now: datetime) -> Invitation:
    """Add a user and return the invitation. *rep* is the id of a person in the policy, "" for none.

    Raises InvalidState for a login that is taken or not valid, an unknown role, or a rep without a person.
    """
    login = login.strip().casefold()
    if not _LOGIN.fullmatch(login):
        raise InvalidState(f"{login[:80]!r} is not a login. Use an email address, or one word.")
    if role not in set(Role):
        raise InvalidState(f"There is no role {role[:40]!r}. Choose from {', '.join(Role)}.")
    if role == Role.REP and not rep:
        raise InvalidState("A rep sees the leads of one person. Add --rep with the person's id in the policy.")
    with database.write() as tx:
        if not user_queries.add_user(tx, login, role, rep, now):
            raise InvalidState(f"There is a user {login} already. To invite again: `nurture users invite {login}`.")
    return invite(database, login, now)


def invite(database: Database, login: str, now: datetime) -> Invitation:
    """Return a new invitation, with which the user chooses a password; an older one ends. Raises NotFound."""
    made = Invitation(token_urlsafe(24), login, now + INVITATION_LIFETIME)
    with database.write() as tx:
        found = _lock(tx, login)
        user_queries.replace_invitation(tx, found.id, digest(made.token), made.expires_at)
    return made


def invite_first_admin(database: Database, now: datetime) -> Invitation | None:
    """Return an invitation for the first admin, None once a user has a password."""
    with database.read() as tx:
        known = user_queries.list_users(tx)
    if any(one.password_hash for one in known):
        return None
    if not any(one.login == FIRST_ADMIN for one in known):
        return add_user(database, FIRST_ADMIN, Role.ADMIN, "", now)
    return invite(database, FIRST_ADMIN, now)


def find_invited(database: Database, token: str, now: datetime) -> str | None:
    """Return the login that an invitation is for, None if it is unknown, used or expired."""
    with database.read() as tx:
        found = user_queries.find_invited(tx, digest(token), now)
    return found.login if found is not None else None


def accept_invitation(database: Database, token: str, password: str, now: datetime) -> str | None:
    """Set the password of the invited user, end the invitation and all sessions; return the login.

    Returns None if the invitation is unknown, used or expired. Raises InvalidState for a password that is too short.
    """
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidState(f"A password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters. Choose another.")
    hashed = _HASHER.hash(password)
    with database.write() as tx:
        found = user_queries.find_invited(tx, digest(token), now)
        if found is None:
            return None
        user_queries.set_password(tx, found.id, hashed)
        user_queries.end_sessions(tx, found.id, now)
    return found.login


def sign_in(database: Database, login: str, password: str, now: datetime) -> str | None:
    """Start a session and return its token, None if the login or the password is wrong or the user is locked out."""
    login = login.strip().casefold()
    with database.read() as tx:
        known = user_queries.find_user(tx, login)
    stored = known.password_hash if known is not None else None
    is_right = _verify(stored or _NO_PASSWORD, password[:MAX_PASSWORD_LENGTH]) and stored is not None
    if known is None:
        return None
    with database.write() as tx:
        found = user_queries.find_user(tx, login, lock=True)
        if found is None or (found.locked_until is not None and found.locked_until > now):
            return None
        if not is_right or found.password_hash != stored:
            failures = found.failures + 1
            user_queries.set_failures(tx, found.id, failures, _locked_until(failures, now))
            return None
        user_queries.set_failures(tx, found.id, 0, None)
        return sessions.start(tx, found.id, now)


def sign_in_as(database: Database, login: str, now: datetime) -> str | None:
    """Start a session of the user *login*, whom somebody else has authenticated, and return its token.

    Returns None for nobody's login, and while the user is locked out.
    """
    with database.write() as tx:
        found = user_queries.find_user(tx, login.strip().casefold(), lock=True)
        if found is None or (found.locked_until is not None and found.locked_until > now):
            _log.warning("sign_in_refused %s", "unknown user" if found is None else "locked out")
            return None
        return sessions.start(tx, found.id, now)


def _locked_until(failures: int, now: datetime) -> datetime | None:
    if failures <= FREE_FAILURES:
        return None
    doublings = min(failures - FREE_FAILURES - 1, 10)
    return now + min(FIRST_LOCKOUT * (1 << doublings), MAX_LOCKOUT)


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def list_users(database: Database, now: datetime) -> list[UserInfo]:
    """Return the users, oldest first."""
    with database.read() as tx:
        found = user_queries.list_users(tx)
        counts = user_queries.count_sessions(tx, now, now - sessions.IDLE_LIFETIME)
    return [
        UserInfo(
            one.login,
            one.role,
            one.rep,
            one.password_hash is not None,
            counts.get(one.id, 0),
            one.locked_until if one.locked_until is not None and one.locked_until > now else None,
            one.created_at,
        )
        for one in found
    ]


def end_sessions(database: Database, login: str, now: datetime) -> int:
    """End all sessions of a user at once; return how many there were. Raises NotFound."""
    with database.write() as tx:
        found = _lock(tx, login)
        return user_queries.end_sessions(tx, found.id, now)


def remove_user(database: Database, login: str, now: datetime) -> None:
    """Remove a user for good, and end the sessions and the invitation at once. Raises NotFound."""
    with database.write() as tx:
        found = _lock(tx, login)
        user_queries.end_sessions(tx, found.id, now)
        user_queries.remove_user(tx, found.id, now)


def _lock(tx: Transaction, login: str) -> UserRecord:
    """Return the user, whom no other transaction changes meanwhile. Raises NotFound."""
    found = user_queries.find_user(tx, login.strip().casefold(), lock=True)
    if found is not None:
        return found
    known = [one.login for one in user_queries.list_users(tx)]
    raise NotFound(f"There is no user {login[:80]!r}.", suggest(login, known, "`nurture users list` lists them."))
