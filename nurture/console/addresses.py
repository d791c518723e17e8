"""The addresses of the pages: built and read here, so that each can be sent to a colleague."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from nurture.errors import NotFound
from nurture.journey.leads.find import parse_id
from nurture.reporting.console.lead_list_queries import LeadFilter

_TEXTS = ("custodian", "track", "step", "queue", "source", "did")


def of_lead(lead_id: int) -> str:
    """Return the address of a lead."""
    return f"/leads/{lead_id}"


def of_company(account_id: int) -> str:
    """Return the address of a company."""
    return f"/companies/{account_id}"


def of_track(track: str, **query: object) -> str:
    """Return the address of the map of a track."""
    return _with_query(f"/tracks/{quote(track, safe='')}", query)


def of_email(track: str, email: str, **query: object) -> str:
    """Return the address of the preview of an email."""
    return _with_query(f"/tracks/{quote(track, safe='')}/emails/{quote(email, safe='')}", query)


def of_sent_email(message_id: int) -> str:
    """Return the address of an email as it was sent."""
    return f"/emails/{message_id}"


def of_leads(chosen: LeadFilter, before: int | None = None) -> str:
    """Return the address of a list of leads."""
    return _with_query("/leads", _query_of(chosen) | {"before": before or ""})


def kept_by_form(chosen: LeadFilter) -> dict[str, str]:
    """Return the values of a filter that the form of the list has no fields for, by their names in an address."""
    shown = {"find", "custodian", "did", "source"}
    return {name: str(value) for name, value in _query_of(chosen).items() if value and name not in shown}


def _query_of(chosen: LeadFilter) -> dict[str, object]:
    query: dict[str, object] = {"find": chosen.text, **{name: getattr(chosen, name) for name in _TEXTS}}
    query["since"] = chosen.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ") if chosen.since is not None else ""
    return query | {"waiting": "yes" if chosen.waiting else ""}


def _with_query(path: str, query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def read_filter(values: Mapping[str, str]) -> LeadFilter:
    """Return the filter in the values of an address. Raises NotFound for a time that is none."""
    since = values.get("since", "")
    try:
        at = datetime.fromisoformat(since) if since else None
    except ValueError:
        raise NotFound(f"{since!r} is no time.", "Write it as 2026-03-01T00:00Z.") from None
    texts: dict[str, Any] = {name: values.get(name, "") for name in _TEXTS}
    return LeadFilter(
        text=values.get("find", "").strip()[:200],
        **texts,
        since=at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at,
        waiting=bool(values.get("waiting")),
    )


def read_number(values: Mapping[str, str], name: str, default: int | None = None) -> int | None:
    """Return the whole number *name* of an address, *default* without one. Raises NotFound for one that is none."""
    text = values.get(name, "")
    number = parse_id(text)
    if text and number is None:
        raise NotFound(f"{text!r} is no number.")
    return number if text else default
