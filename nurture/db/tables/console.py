"""Who may use the console: users, their invitations, sessions and filters, and the log of their actions."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import Id, UtcDateTime, generated_id, shared_primary_key


class ConsoleUser(Model, table=True):
    """A person who may sign in to the console under *login*, which is unique among users who are not removed.

    *password_hash* is Argon2's, null until the invitation is accepted; *rep* is the id of the person in the policy,
    "" for none. *failures* counts wrong passwords since the last sign-in; *locked_until* refuses more until then.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("role in ('admin', 'marketer', 'sales_manager', 'rep', 'viewer')", name="role"),
        CheckConstraint("role <> 'rep' or rep <> ''", name="rep"),
        Index("uq_console_user_login", "login", unique=True, **index_where("removed_at is null")),
    )

    id: int | None = generated_id()
    login: str
    role: str
    rep: str
    password_hash: str | None = None
    failures: int
    locked_until: datetime | None = timestamp(null=True)
    created_at: datetime = timestamp()
    removed_at: datetime | None = timestamp(null=True)


class ConsoleInvitation(Model, table=True):
    """The newest invitation of a user, who chooses a password with it. Only the SHA-256 of its link is stored."""

    user_id: int = shared_primary_key("console_user.id")
    digest: str = Field(unique=True)
    expires_at: datetime = timestamp()


class ConsoleSession(Model, table=True):
    """A sign-in. Only the SHA-256 of the cookie is stored; *seen_at* is at most some minutes old."""

    id: int | None = generated_id()
    user_id: int = Field(sa_type=Id, foreign_key="console_user.id", index=True)
    digest: str = Field(unique=True)
    started_at: datetime = timestamp()
    seen_at: datetime = timestamp()
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    ended_at: datetime | None = timestamp(null=True)


class ConsoleAction(Model, table=True):
    """An action that a user asked for, on which object, and whether it was done. Append-only; holds no free text."""

    id: int | None = generated_id()
    at: datetime = timestamp()
    user_id: int = Field(sa_type=Id, foreign_key="console_user.id", index=True)
    action: str
    object: str
    outcome: str


class ConsoleFilter(Model, table=True):
    """A filter of the list of leads that a user saved under *name*: *query* is that of its address.

    A shared one is listed for every user who sees leads.
    """

    __table_args__: ClassVar[Any] = (UniqueConstraint("user_id", "name"),)

    id: int | None = generated_id()
    user_id: int = Field(sa_type=Id, foreign_key="console_user.id")
    name: str
    query: str
    is_shared: bool
    created_at: datetime = timestamp()


console_user = table(ConsoleUser)
console_invitation = table(ConsoleInvitation)
console_session = table(ConsoleSession)
console_action = table(ConsoleAction)
console_filter = table(ConsoleFilter)
