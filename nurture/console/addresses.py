"""The addresses of the pages: built and read here, so that each can be sent to a colleague."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from nurture.definitions.folder import BROADCASTS
from nurture.errors import NotFound
from nurture.journey.leads.find import parse_id
from nurture.reporting.console.lead_list_queries import LeadFilter

_OF_ORIGIN = ("source", "country", "consent", "fit", "readiness")
_TEXTS = ("custodian", "track", "step", "queue", "did", "rep", "rule", "reason", *_OF_ORIGIN)
_DAYS = ("active_days", "quiet_days")
_TIMES = ("since", "until")
_KEPT = frozenset({"queue", *_TIMES, "waiting", "account", "way", "readiness", "rule", "reason"})
_NAMES = frozenset({"find", "on", *_KEPT, *_TEXTS, *_DAYS})
MAX_LENGTH = 200  # of one value
MAX_DAYS = 3_650


def of_lead(lead_id: int) -> str:
    """Return the address of a lead."""
    return f"/leads/{lead_id}"


def of_company(account_id: int) -> str:
    """Return the address of a company."""
    return f"/companies/{account_id}"


def of_track(track: str, **query: object) -> str:
    """Return the address of the map of a track."""
    return _with_query(f"/tracks/{quote(track, safe='')}", query)


def of_track_source(track: str, version: int, step: str = "") -> str:
    """Return the address of the text of a version of a track, with a step of it marked."""
    return _with_query(f"/tracks/{quote(track, safe='')}/source", {"version": version, "step": step})


def of_simulation(track: str, **query: object) -> str:
    """Return the address of the simulation of a track."""
    return _with_query(f"/tracks/{quote(track, safe='')}/simulation", query)


def of_email(track: str, email: str, **query: object) -> str:
    """Return the address of the preview of an email."""
    return _with_query(f"/tracks/{quote(track, safe='')}/emails/{quote(email, safe='')}", query)


def of_sent_email(message_id: int) -> str:
    """Return the address of an email as it was sent."""
    return f"/emails/{message_id}"


def of_report(name: str, **query: object) -> str:
    """Return the address of a report, with what a viewer chose."""
    return _with_query(f"/reports/{quote(name, safe='')}", query)


def of_upload(upload_id: str) -> str:
    """Return the address of an uploaded file."""
    return f"/import/{upload_id}"


def of_change(kind: str, name: str) -> str:
    """Return the address of what would change if a definition was published."""
    return f"/changes/{kind}/{quote(name.removeprefix(BROADCASTS), safe='')}"


def of_versions(track: str, **query: object) -> str:
    """Return the address of the versions of a track."""
    return _with_query(f"/tracks/{quote(track, safe='')}/versions", query)


def of_file(path: str) -> str:
    """Return the address of the editor of a file of the folder of definitions."""
    return f"/edit/{quote(path)}"


def of_day(day: date) -> str:
    """Return the address of a day of the calendar."""
    return f"/calendar/{day}"


def of_leads(chosen: LeadFilter, before: int | None = None) -> str:
    """Return the address of a list of leads."""
    return _with_query("/leads", _query_of(chosen) | {"before": before or ""})


def query_of(chosen: LeadFilter) -> str:
    """Return the query of the address of a list of leads: it identifies the filter."""
    return _with_query("", _query_of(chosen)).removeprefix("?")


def parse_query(query: str) -> LeadFilter:
    """Return the filter of a query. Raises NotFound for one that no list has: it must not let more leads through."""
    try:
        values = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        values = {"": ""}
    unknown = sorted(values.keys() - _NAMES)
    if unknown:
        raise NotFound(f"{unknown[0][:40]!r} is no filter of leads.")
    return read_filter(values)


def of_export(chosen: LeadFilter) -> str:
    """Return the address of a list of leads as a CSV file."""
    return _with_query("/leads.csv", _query_of(chosen))


def kept_by_form(chosen: LeadFilter) -> dict[str, str]:
    """Return the values of a filter that the form of the list has no fields for, by their names in an address."""
    query = _query_of(chosen)
    return {name: str(value) for name, value in query.items() if value not in ("", None) and name in _KEPT}


def _query_of(chosen: LeadFilter) -> dict[str, object]:
    query: dict[str, object] = {"find": chosen.text, **{name: getattr(chosen, name) for name in (*_TEXTS, *_DAYS)}}
    times = {"since": chosen.since, "until": chosen.until}
    query |= {name: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ") for name, at in times.items() if at is not None}
    return query | {"waiting": "yes" if chosen.waiting else "", "account": chosen.account, "way": chosen.way}


def _with_query(path: str, query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def read_filter(values: Mapping[str, str]) -> LeadFilter:
    """Return the filter in the values of an address. Raises NotFound for a time or a number that is none.

    `on` is what the form sends: a track, or a track and a step with a space between.
    """
    texts: dict[str, Any] = {name: values.get(name, "").strip()[:MAX_LENGTH] for name in _TEXTS}
    if "on" in values:
        texts["track"], _, texts["step"] = values["on"][:MAX_LENGTH].partition(" ")
    days: dict[str, Any] = {name: _read_days(values, name) for name in _DAYS}
    texts["country"] = texts["country"].upper()
    return LeadFilter(
        text=values.get("find", "").strip()[:MAX_LENGTH],
        **texts,
        **days,
        since=_read_time(values, "since"),
        until=_read_time(values, "until"),
        waiting=bool(values.get("waiting")),
        account=read_number(values, "account"),
        way=read_number(values, "way"),
    )


def _read_time(values: Mapping[str, str], name: str) -> datetime | None:
    text = values.get(name, "")
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise NotFound(f"{text!r} is no time.", "Write it as 2026-03-01T00:00Z.") from None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _read_days(values: Mapping[str, str], name: str) -> int | None:
    days = read_number(values, name)
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise NotFound(f"{days} days is out of range. Write 1 to {MAX_DAYS:,}.")
    return days


def read_number(values: Mapping[str, str], name: str, default: int | None = None) -> int | None:
    """Return the whole number *name* of an address, *default* without one. Raises NotFound for one that is none."""
    text = values.get(name, "")
    number = parse_id(text)
    if text and number is None:
        raise NotFound(f"{text!r} is no number.")
    return number if text else default
