"""API tokens and stored responses."""

from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from nurture.db.tables.intake import api_token as token
from nurture.db.tables.intake import idempotency_key as api_response
from nurture.db.transaction import Transaction


class TokenRecord(NamedTuple):
    """A token as it is stored. *scopes* are separated by spaces."""

    id: int
    name: str
    scopes: str
    created_at: datetime
    last_used_on: date | None
    revoked_at: datetime | None
    rate_limited_at: datetime | None


class RequestRecord(NamedTuple):
    """A request with an idempotency key. *status* and *response* are None until it was answered."""

    digest: str
    status: int | None
    response: str | None


_TOKEN: Final = tuple(token.c[name] for name in TokenRecord._fields)


def add_token(tx: Transaction, name: str, digest: str, scopes: str, now: datetime) -> bool:
    """Store a new token; return False if a valid one has this name."""
    same_name = select(token.c.id).where(token.c.name == name, token.c.revoked_at.is_(None))
    if tx.execute(same_name).first() is not None:
        return False
    row = (name, digest, scopes, now)
    return tx.insert(token, ("name", "digest", "scopes", "created_at"), [row], ignore_conflicts=True) == 1


def list_tokens(tx: Transaction) -> list[TokenRecord]:
    """Return every token, valid or revoked, oldest first."""
    return [TokenRecord._make(row) for row in tx.execute(select(*_TOKEN).order_by(token.c.id))]


def find_valid_token(tx: Transaction, digest: str) -> TokenRecord | None:
    """Return the token with this digest, None if there is none or it is revoked."""
    statement = select(*_TOKEN).where(token.c.digest == digest, token.c.revoked_at.is_(None))
    row = tx.execute(statement).one_or_none()
    return TokenRecord._make(row) if row is not None else None


def record_use(tx: Transaction, token_id: int, day: date) -> None:
    """Record the day on which a token was last used."""
    tx.execute(update(token).where(token.c.id == token_id).values(last_used_on=day))


def record_rate_limit(tx: Transaction, token_id: int, at: datetime) -> None:
    """Record when a token last exceeded its rate limit."""
    tx.execute(update(token).where(token.c.id == token_id).values(rate_limited_at=at))


def revoke_token(tx: Transaction, name: str, now: datetime) -> bool:
    """Revoke the valid token with this name; return whether there was one."""
    statement = update(token).where(token.c.name == name, token.c.revoked_at.is_(None)).values(revoked_at=now)
    return tx.execute(statement).rowcount == 1


def reserve_request(tx: Transaction, token_id: int, key: str, digest: str, now: datetime) -> RequestRecord:
    """Return the stored request with this *key*; store it if it is new."""
    names = ("token_id", "key", "digest", "requested_at")
    tx.insert(api_response, names, [(token_id, key, digest, now)], ignore_conflicts=True)
    statement = select(api_response.c.digest, api_response.c.status_code, api_response.c.response)
    row = tx.execute(statement.where(api_response.c.token_id == token_id, api_response.c.key == key)).one()
    return RequestRecord._make(row)


def has_requests_before(tx: Transaction, before: datetime) -> bool:
    """Return whether there is a request from before this time."""
    return tx.execute(_BEFORE, {"before": before}).first() is not None


_BEFORE: Final = select(api_response.c.key).where(api_response.c.requested_at < bindparam("before")).limit(1)


def delete_requests_before(tx: Transaction, before: datetime) -> None:
    """Delete requests from before this time."""
    tx.execute(delete(api_response).where(api_response.c.requested_at < before))


def store_response(tx: Transaction, token_id: int, key: str, status: int, body: str) -> RequestRecord | None:
    """Store a response unless there is one; return the stored request."""
    same_request = (api_response.c.token_id == token_id) & (api_response.c.key == key)
    tx.execute(
        update(api_response)
        .where(same_request, api_response.c.status_code.is_(None))
        .values(status_code=status, response=body)
    )
    row = tx.execute(
        select(api_response.c.digest, api_response.c.status_code, api_response.c.response).where(same_request)
    ).first()
    return RequestRecord._make(row) if row is not None else None
