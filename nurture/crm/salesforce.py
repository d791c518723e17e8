"""Salesforce: hand-offs on Lead, known by an external id of ours, so that writing twice is writing once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import requests
from pydantic import SecretStr
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from nurture.crm import salesforce_mapping as words
from nurture.crm.base import CrmDown, NotWritten, Page, Receipt, Record, Refused, Seen, Unclear, Written
from nurture.crm.salesforce_mapping import KEY, SEEN, listed, quoted, stamp

VERSION: Final = "59.0"
CONNECT, READ = 5.0, 25.0  # seconds
TOGETHER: Final = 200
"""Leads in one query; their ids must fit into a URL."""

AGAIN: Final = timedelta(minutes=5)
"""So far back the newest changes are read again: a long transaction shows up late, under an early time."""

_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_BEGINNING: Final = "1970-01-01T00:00:00.000Z"
_STREAMS: Final = {
    "Lead": f"SELECT Id, SystemModstamp FROM Lead WHERE {KEY} != null",
    "Opportunity": "SELECT Id, SystemModstamp FROM Opportunity WHERE IsClosed = true AND Id IN "
    f"(SELECT ConvertedOpportunityId FROM Lead WHERE {KEY} != null)",
    "Task": "SELECT Id, WhoId, SystemModstamp FROM Task WHERE IsClosed = true AND WhoId IN "
    f"(SELECT Id FROM Lead WHERE {KEY} != null)",
}
"""What changes of a lead: itself, the deal that came of it, and what reps did."""

# At DEBUG these write whole URLs, and a query names an address.
for _name in ("urllib3.connectionpool", "simple_salesforce"):
    logging.getLogger(_name).setLevel(logging.INFO)


class SalesforceCrm:
    """A Salesforce by its REST API, as the user of a connected app with the client credentials flow."""

    name = "salesforce"
    at_once = 1

    def __init__(
        self, url: str, key: str, secret: SecretStr, *, connect: float = CONNECT, read: float = READ
    ) -> None:
        self._url, self._key, self._secret = url.rstrip("/"), key, secret
        self._patience = (connect, read)
        self._session = requests.Session()
        self._session.auth = _as_it_is
        self._asked: Salesforce | None = None
        self._users: dict[str, str | None] = {}
        self._addresses: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SalesforceCrm({self._url!r})"

    def look_up(self, keys: Sequence[str]) -> Mapping[str, Seen]:
        """Return the leads of *keys* that there are. Raises CrmDown."""
        found: list[Seen] = []
        for start in range(0, len(keys), TOGETHER):
            rows = self._query(f"{SEEN} WHERE {KEY} IN {listed(keys[start : start + TOGETHER])}")
            found += self._seen(rows)
        return {seen.key: seen for seen in found}

    def put(self, records: Sequence[Record], now: datetime) -> Sequence[Receipt]:
        """Create or update each lead; one receipt each, in order."""
        return [self._put(record, now) for record in records]

    def changes(self, cursor: str, limit: int, now: datetime) -> Page:
        """Return leads that changed since *cursor*, or whose deal or tasks did. Raises CrmDown."""
        del now
        since: dict[str, str] = json.loads(cursor) if cursor else {}
        ids: set[str] = set()
        deals: set[str] = set()
        more = False
        size = min(limit, TOGETHER)
        for stream, soql in _STREAMS.items():
            at, _, last = since.get(stream, _BEGINNING).partition(" ")
            later = (
                f"(SystemModstamp > {at} OR (SystemModstamp = {at} AND Id > {quoted(last)}))"
                if last
                else (f"SystemModstamp >= {at}")
            )
            rows = self._query(f"{soql} AND {later} ORDER BY SystemModstamp, Id LIMIT {size}")
            if stream == "Opportunity":
                deals |= {row["Id"] for row in rows}
            else:
                ids |= {row["WhoId"] if stream == "Task" else row["Id"] for row in rows}
            if rows:
                newest = words.moment_of(rows[-1]["SystemModstamp"])
                assert newest is not None
                full = len(rows) == size
                more = more or full
                mark = f"{stamp(newest)} {rows[-1]['Id']}" if full else stamp(newest - AGAIN)
                since[stream] = mark if full else max(mark, at)
        seen = self._seen(self._leads(sorted(ids), sorted(deals)))
        return Page(sorted(seen, key=lambda one: one.changed_at), json.dumps(since), more)

    def check(self, now: datetime) -> Sequence[str]:
        """Return which of our fields are missing on Lead, or made otherwise. Raises CrmDown."""
        del now
        told = self._read("sobjects/Lead/describe")
        there = {one["name"]: one for one in told["fields"]}
        missing = [
            f"The field {name} on Lead is missing. Make it in Setup, Object Manager, Lead: {how}."
            for name, how in words.FIELDS.items()
            if name not in there
        ]
        key = there.get(KEY)
        if key is not None and not (key["externalId"] and key["unique"]):
            missing.append(
                f"The field {KEY} on Lead must be an External ID and unique. Tick both in its settings."
            )
        shut = [name for name in words.FIELDS if name in there and not there[name]["updateable"]]
        missing += [f"We may not write {name} on Lead. Let the app's user edit it." for name in shut]
        return missing

    def close(self) -> None:
        """Give connections back."""
        self._session.close()

    def _put(self, record: Record, now: datetime) -> Receipt:
        try:
            path, told, note = self._plan(record)
        except CrmDown as down:
            return NotWritten(down.why, down.retry_at, stops=True)
        except _Ambiguous as twice:
            return Refused(str(twice))
        try:
            answer = self._ask(path, "PATCH", json=told)
        except SalesforceError as error:
            return words.receipt_of(error.status, words.codes_of(error.content), _fields_of(error), now)
        except CrmDown as down:
            return NotWritten(down.why, down.retry_at, stops=True)
        except requests.RequestException as error:
            return _broke_off(error)
        crm_id = answer["id"] if isinstance(answer, dict) and "id" in answer else path.rpartition("/")[2]
        return Written(str(crm_id), note)

    def _plan(self, record: Record) -> tuple[str, dict[str, Any], str]:
        """Look before writing: return where to write, what, and what cannot be said there."""
        owner, note = None, ""
        if record.owner:
            owner = self._user(record.owner)
            note = (
                "" if owner else "no active Salesforce user has the rep's address, so the owner was not set"
            )
        email = record.person.email
        alike = f" OR (Email = {quoted(email)} AND {KEY} = null AND IsConverted = false)" if email else ""
        rows = self._query(f"SELECT Id, {KEY} FROM Lead WHERE {KEY} = {quoted(record.key)}{alike} LIMIT 5")
        if any(row[KEY] for row in rows):
            return f"sobjects/Lead/{KEY}/{quote(record.key, safe='')}", words.ours(record, owner), note
        known = record.person.known_as
        if known and known.startswith("00Q") and known.isalnum():
            return f"sobjects/Lead/{known}", {KEY: record.key, **words.ours(record, owner)}, note
        if len(rows) > 1:
            raise _Ambiguous(f"{len(rows)} Salesforce leads have this lead's address. Merge them there.")
        if rows:
            return f"sobjects/Lead/{rows[0]['Id']}", {KEY: record.key, **words.ours(record, owner)}, note
        return f"sobjects/Lead/{KEY}/{quote(record.key, safe='')}", words.whole(record, owner), note

    def _seen(self, rows: Sequence[Mapping[str, Any]]) -> list[Seen]:
        deals, touched = self._deals(rows), self._touched([row["Id"] for row in rows])
        owners = self._owners({row["OwnerId"] for row in rows if row["OwnerId"]})
        return [words.seen_of(row, owners, deals, touched) for row in rows]

    def _leads(self, ids: Sequence[str], deals: Sequence[str]) -> list[Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for field, values in (("Id", ids), ("ConvertedOpportunityId", deals)):
            for start in range(0, len(values), TOGETHER):
                some = listed(values[start : start + TOGETHER])
                rows = self._query(f"{SEEN} WHERE {KEY} != null AND {field} IN {some}")
                found |= {row["Id"]: row for row in rows}
        return list(found.values())

    def _deals(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        ids = sorted({row["ConvertedOpportunityId"] for row in rows if row["ConvertedOpportunityId"]})
        if not ids:
            return {}
        soql = (
            "SELECT Id, Amount, StageName, IsWon, CloseDate FROM Opportunity WHERE IsClosed = true AND Id IN "
        )
        return {deal["Id"]: deal for deal in self._query(soql + listed(ids))}

    def _touched(self, ids: Sequence[str]) -> dict[str, datetime]:
        """Return when each lead's last task was completed."""
        found: dict[str, datetime] = {}
        for start in range(0, len(ids), TOGETHER):
            some = listed(ids[start : start + TOGETHER])
            soql = f"SELECT WhoId, CompletedDateTime FROM Task WHERE IsClosed = true AND WhoId IN {some}"
            for row in self._query(soql):
                at = words.moment_of(row["CompletedDateTime"])
                if at is not None:
                    found[row["WhoId"]] = max(at, found.get(row["WhoId"], at))
        return found

    def _user(self, email: str) -> str | None:
        if email not in self._users:
            soql = f"SELECT Id FROM User WHERE IsActive = true AND Email = {quoted(email)} LIMIT 2"
            rows = self._query(soql)
            self._users[email] = rows[0]["Id"] if len(rows) == 1 else None
        return self._users[email]

    def _owners(self, ids: set[str]) -> Mapping[str, str]:
        new = sorted(ids - self._addresses.keys())
        if new:
            rows = self._query(f"SELECT Id, Email FROM User WHERE Id IN {listed(new)}")
            self._addresses |= dict.fromkeys(new, "") | {row["Id"]: row["Email"] or "" for row in rows}
        return self._addresses

    def _query(self, soql: str) -> list[Mapping[str, Any]]:
        told = self._read("query/", {"q": soql})
        rows: list[Mapping[str, Any]] = list(told["records"])
        while not told["done"]:
            told = self._read(f"query/{told['nextRecordsUrl'].rpartition('/')[2]}")
            rows += told["records"]
        return rows

    def _read(self, path: str, params: dict[str, str] | None = None) -> Any:
        """Ask for something that changes nothing. Raises CrmDown."""
        try:
            return self._ask(path, "GET", params=params)
        except SalesforceError as error:
            codes = words.codes_of(error.content)
            raise CrmDown(words.receipt_of(error.status, codes, _fields_of(error), _ANY_TIME).why) from None
        except requests.RequestException as error:
            raise CrmDown(f"Salesforce cannot be reached ({type(error).__name__})") from None

    def _ask(self, path: str, method: str, **more: Any) -> Any:
        """Call, with a new token where the old one has expired: a refused token has changed nothing."""
        for fresh in (False, True):
            client = self._client(fresh=fresh)
            try:
                return client.restful(
                    path, method=method, timeout=self._patience, allow_redirects=False, **more
                )
            except SalesforceError as error:
                if error.status != 401 or fresh:
                    raise
        raise AssertionError

    def _client(self, *, fresh: bool) -> Salesforce:
        if self._asked is None or fresh:
            token = self._token()
            self._asked = Salesforce(
                session_id=token, instance_url=self._url, session=self._session, version=VERSION
            )
            self._asked.base_url = f"{self._url}/services/data/v{VERSION}/"
        return self._asked

    def _token(self) -> str:
        told = {
            "grant_type": "client_credentials",
            "client_id": self._key,
            "client_secret": self._secret.get_secret_value(),
        }
        try:
            answer = self._session.post(
                f"{self._url}/services/oauth2/token", told, timeout=self._patience, allow_redirects=False
            )
            body = answer.json()
        except requests.RequestException as error:
            raise CrmDown(f"Salesforce cannot be reached ({type(error).__name__})") from None
        if answer.status_code != 200 or "access_token" not in body:
            raise CrmDown(
                f"Salesforce gives us no token (status {answer.status_code}). Check NURTURE_SALESFORCE_URL, "
                "NURTURE_SALESFORCE_KEY and NURTURE_SALESFORCE_SECRET, and the app's client credentials flow."
            )
        return str(body["access_token"])


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave our token alone: without this, an entry in somebody's .netrc takes its place."""
    return request


class _Ambiguous(Exception):
    """Several records may be meant."""


def _fields_of(error: SalesforceError) -> list[str]:
    content: Any = error.content
    told = content if isinstance(content, list) else []
    return [str(name) for one in told if isinstance(one, dict) for name in one.get("fields") or ()]


def _broke_off(error: requests.RequestException) -> Receipt:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return NotWritten("Salesforce cannot be reached", stops=True)
    return Unclear(f"Salesforce did not answer ({type(error).__name__})")
