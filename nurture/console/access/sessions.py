"""Sessions of the console: stored on the server, found by the hash of the cookie, ended at any time."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final

from nurture.console.access import user_queries
from nurture.db.engine import Database
from nurture.db.transaction import Transaction
from nurture.runtime.public_links import digest

LIFETIME: Final = timedelta(days=7)
"""How long a session lasts at most."""

IDLE_LIFETIME: Final = timedelta(hours=12)
"""How long a session lasts that nobody uses."""

_SEEN_INTERVAL: Final = timedelta(minutes=5)
"""How exactly the last use is recorded, so that few requests write."""

_MAX_TOKEN_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class User:
    """The signed-in user: *role* and *rep* decide what it may see and do. *session* identifies the sign-in.

    *reps* are those whose leads alone it sees, None for all: `teams.with_team` fills it in.
    """

    id: int
    login: str
    role: str
    rep: str
    session: str
    reps: frozenset[str] | None = field(default=None, compare=False)


def start(tx: Transaction, user_id: int, now: datetime) -> str:
    """Start a session of the user and return its token; only the digest is stored."""
    token = token_urlsafe(32)
    user_queries.delete_expired(tx, now - LIFETIME)
    user_queries.add_session(tx, user_id, digest(token), now, now + LIFETIME)
    return token


def find_user(tx: Transaction, session: str, now: datetime) -> User | None:
    """Return the user of the session with this digest, None if it has ended or expired, or the user is removed."""
    found = user_queries.find_session(tx, session, now, now - IDLE_LIFETIME)
    return User(found.user_id, found.login, found.role, found.rep, session) if found is not None else None


def authenticate(database: Database, token: str, now: datetime) -> User | None:
    """Return the user whose cookie is *token*, and record that the session is in use."""
    if not token or len(token) > _MAX_TOKEN_LENGTH:
        return None
    session = digest(token)
    with database.read() as tx:
        found = user_queries.find_session(tx, session, now, now - IDLE_LIFETIME)
    if found is None:
        return None
    if now - found.seen_at > _SEEN_INTERVAL:
        with database.write() as tx:
            user_queries.record_seen(tx, found.session_id, now)
    return User(found.user_id, found.login, found.role, found.rep, session)


def end(database: Database, token: str, now: datetime) -> None:
    """End the session of a cookie."""
    with database.write() as tx:
        user_queries.end_session(tx, digest(token), now)
