"""Salesforce: hand-offs on Lead, identified by an external id, so that writes are idempotent."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import requests
from pydantic import SecretStr
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from nurture.crm.base import ChangePage, CrmUnavailable, HandoffRecord, RemoteRecord
from nurture.crm.mapping import list_missing, parse_timestamp
from nurture.crm.salesforce import mapping
from nurture.crm.salesforce.mapping import FIELDS, SELECT_LEAD, soql_list, soql_literal, soql_timestamp
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown

API_VERSION: Final = "59.0"
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 25.0  # seconds
QUERY_BATCH: Final = 200
"""Leads per query; their ids must fit into a URL."""

CURSOR_OVERLAP: Final = timedelta(minutes=5)
"""How far back changes are read again: a long transaction appears late with an early timestamp."""

_LEAD_ID: Final = re.compile(r"00Q(?:[0-9A-Za-z]{12}|[0-9A-Za-z]{15})")
_CONVERTED: Final = "CANNOT_UPDATE_CONVERTED_LEAD"
_NO_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_BEGINNING: Final = "1970-01-01T00:00:00.000Z"
_CHANGE_QUERIES: Final = {
    "Lead": f"SELECT Id, SystemModstamp FROM Lead WHERE {FIELDS.key} != null",
    "Opportunity": "SELECT Id, SystemModstamp FROM Opportunity WHERE IsClosed = true AND Id IN "
    f"(SELECT ConvertedOpportunityId FROM Lead WHERE {FIELDS.key} != null)",
    "Task": "SELECT Id, WhoId, SystemModstamp FROM Task WHERE IsClosed = true AND WhoId IN "
    f"(SELECT Id FROM Lead WHERE {FIELDS.key} != null)",
}
"""The objects whose changes are read: the lead, its closed opportunity, and its completed tasks."""

_MISSING_FIELD: Final = "The field {name} on Lead is missing. Create it in Setup, Object Manager, Lead: {how}."

# At DEBUG these loggers write whole URLs, and a query contains an address.
for _name in ("urllib3.connectionpool", "simple_salesforce"):
    logging.getLogger(_name).setLevel(logging.INFO)


class SalesforceCrm:
    """A Salesforce org, accessed by its REST API as a connected app with the client credentials flow."""

    name = "salesforce"
    batch_size = 1

    def __init__(
        self,
        url: str,
        key: str,
        secret: SecretStr,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self._url, self._key, self._secret = url.rstrip("/"), key, secret
        self._timeouts = (connect_timeout, read_timeout)
        self._session = requests.Session()
        self._session.auth = _keep_authorization
        self._session.hooks["response"].append(_require_object)
        self._api: Salesforce | None = None
        self._user_ids: dict[str, str | None] = {}
        self._owner_emails: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SalesforceCrm({self._url!r})"

    def look_up(self, keys: Sequence[str]) -> Mapping[str, RemoteRecord]:
        """Return the existing leads of *keys*. Raises CrmUnavailable."""
        records: list[RemoteRecord] = []
        for start in range(0, len(keys), QUERY_BATCH):
            rows = self._query(f"{SELECT_LEAD} WHERE {FIELDS.key} IN {soql_list(keys[start : start + QUERY_BATCH])}")
            records += self._parse_leads(rows)
        return {record.key: record for record in records}

    def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> Sequence[Receipt]:
        """Create or update each lead; return one receipt each, in order."""
        return [self._upsert_one(record, now) for record in records]

    def fetch_changes(self, cursor: str, limit: int, now: datetime) -> ChangePage:
        """Return leads that changed since *cursor*, or whose opportunity or tasks did. Raises CrmUnavailable."""
        del now
        since: dict[str, str] = json.loads(cursor) if cursor else {}
        ids: set[str] = set()
        deals: set[str] = set()
        has_more = False
        size = min(limit, QUERY_BATCH)
        for stream, soql in _CHANGE_QUERIES.items():
            at, _, last = since.get(stream, _BEGINNING).partition(" ")
            after_clause = (
                f"(SystemModstamp > {at} OR (SystemModstamp = {at} AND Id > {soql_literal(last)}))"
                if last
                else (f"SystemModstamp >= {at}")
            )
            rows = self._query(f"{soql} AND {after_clause} ORDER BY SystemModstamp, Id LIMIT {size}")
            if stream == "Opportunity":
                deals |= {row["Id"] for row in rows}
            else:
                ids |= {row["WhoId"] if stream == "Task" else row["Id"] for row in rows}
            if rows:
                newest = parse_timestamp(rows[-1]["SystemModstamp"])
                assert newest is not None
                is_full = len(rows) == size
                has_more = has_more or is_full
                position = (
                    f"{soql_timestamp(newest)} {rows[-1]['Id']}" if is_full else soql_timestamp(newest - CURSOR_OVERLAP)
                )
                since[stream] = position if is_full else max(position, at)
        records = self._parse_leads(self._load_leads(sorted(ids), sorted(deals)))
        return ChangePage(sorted(records, key=lambda record: record.changed_at), json.dumps(since), has_more)

    def check(self, now: datetime) -> Sequence[str]:
        """Return which custom fields are missing on Lead or misconfigured. Raises CrmUnavailable."""
        del now
        description = self._request("sobjects/Lead/describe", "fields")
        existing = {one["name"]: one for one in description["fields"]}
        missing = list_missing(mapping.CUSTOM_FIELDS, existing, _MISSING_FIELD)
        key = existing.get(FIELDS.key)
        if key is not None and not (key["externalId"] and key["unique"]):
            missing.append(
                f"The field {FIELDS.key} on Lead must be an External ID and unique. Select both in its settings."
            )
        not_writable = [name for name in mapping.CUSTOM_FIELDS if name in existing and not existing[name]["updateable"]]
        missing += [f"The field {name} on Lead is read-only. Give the app's user edit access." for name in not_writable]
        return missing

    def record_url(self, crm_id: str) -> str:
        """Return the page of a lead in this org."""
        return f"{self._url}/{quote(crm_id, safe='')}"

    def close(self) -> None:
        """Close connections."""
        self._session.close()

    def _upsert_one(self, record: HandoffRecord, now: datetime) -> Receipt:
        try:
            path, payload, note, found = self._plan_write(record)
        except CrmUnavailable as unavailable:
            return unavailable.receipt
        except _AmbiguousMatch as ambiguous:
            return Rejected(str(ambiguous))
        try:
            response = self._call(path, "PATCH", json=payload)
        except SalesforceError as error:
            codes = mapping.parse_error_codes(error.content)
            if codes == [_CONVERTED]:  # a rep's work, not a fault: what becomes of its opportunity is still read
                return Accepted("", "a rep converted the lead in Salesforce, so our fields there stay as they were")
            return mapping.receipt_for_error(error.status, codes, _error_fields(error), now)
        except CrmUnavailable as unavailable:
            return unavailable.receipt
        except requests.RequestException as error:
            return _receipt_for_network_error(error)
        crm_id = response["id"] if isinstance(response, dict) and "id" in response else path.rpartition("/")[2]
        return Accepted(str(crm_id), note, found)

    def _plan_write(self, record: HandoffRecord) -> tuple[str, dict[str, Any], str, tuple[str, str | None] | None]:
        """Look the lead up; return path and payload of the write, a note on what is omitted, and what was found."""
        owner, note = None, ""
        if record.owner:
            owner = self._find_user(record.owner)
            note = "" if owner else "no active Salesforce user has the rep's address, so the owner was not set"
        crm_id = record.person.crm_id if _LEAD_ID.fullmatch(record.person.crm_id) else ""
        rows = self._find_candidates(record, crm_id)
        before: tuple[str, str | None] | None = None
        path, fields = f"sobjects/Lead/{FIELDS.key}/{quote(record.key, safe='')}", mapping.custom_fields(record, owner)
        if not any(row[FIELDS.key] == record.key for row in rows):
            named = [row for row in rows if row["Id"] == crm_id]  # empty if it was deleted, or merged into another
            free = named or [row for row in rows if not row[FIELDS.key] and not row["IsConverted"]]
            if named and named[0][FIELDS.key]:
                raise _AmbiguousMatch(
                    f"Salesforce lead {crm_id}, that of {record.key}, belongs to {named[0][FIELDS.key]}. Merge the two."
                )
            if len(free) > 1:
                raise _AmbiguousMatch(
                    f"{len(free)} Salesforce leads have the address of {record.key}. Merge them in Salesforce."
                )
            if free:
                owners = self._load_owner_emails({free[0]["OwnerId"]} - {None})
                before = (free[0]["Status"] or "", owners.get(free[0]["OwnerId"] or "", ""))
                return f"sobjects/Lead/{free[0]['Id']}", fields, note, before
            fields, before = mapping.full_record(record, owner), ("", None)
        del fields[FIELDS.key]  # Salesforce refuses a key that is in the path too
        return path, fields, note, before

    def _find_candidates(self, record: HandoffRecord, crm_id: str) -> list[Mapping[str, Any]]:
        """Return the Salesforce leads with the key, the id or, if they are free, the address of *record*."""
        clauses = [f"{FIELDS.key} = {soql_literal(record.key)}"]
        if crm_id:
            clauses.append(f"Id = {soql_literal(crm_id)}")
        if record.person.email:
            is_free = f"{FIELDS.key} = null AND IsConverted = false"
            clauses.append(f"(Email = {soql_literal(record.person.email)} AND {is_free})")
        return self._query(
            f"SELECT Id, {FIELDS.key}, IsConverted, Status, OwnerId FROM Lead WHERE {' OR '.join(clauses)} LIMIT 5"
        )

    def _parse_leads(self, rows: Sequence[Mapping[str, Any]]) -> list[RemoteRecord]:
        deals, last_touches = self._load_deals(rows), self._load_last_touches([row["Id"] for row in rows])
        owners = self._load_owner_emails({row["OwnerId"] for row in rows if row["OwnerId"]})
        return [mapping.parse_record(row, owners, deals, last_touches) for row in rows]

    def _load_leads(self, ids: Sequence[str], deals: Sequence[str]) -> list[Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for field, values in (("Id", ids), ("ConvertedOpportunityId", deals)):
            for start in range(0, len(values), QUERY_BATCH):
                batch = soql_list(values[start : start + QUERY_BATCH])
                rows = self._query(f"{SELECT_LEAD} WHERE {FIELDS.key} != null AND {field} IN {batch}")
                found |= {row["Id"]: row for row in rows}
        return list(found.values())

    def _load_deals(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        ids = sorted({row["ConvertedOpportunityId"] for row in rows if row["ConvertedOpportunityId"]})
        if not ids:
            return {}
        soql = "SELECT Id, Amount, StageName, IsWon, CloseDate FROM Opportunity WHERE IsClosed = true AND Id IN "
        return {deal["Id"]: deal for deal in self._query(soql + soql_list(ids))}

    def _load_last_touches(self, ids: Sequence[str]) -> dict[str, datetime]:
        """Return the completion time of each lead's last task."""
        found: dict[str, datetime] = {}
        for start in range(0, len(ids), QUERY_BATCH):
            batch = soql_list(ids[start : start + QUERY_BATCH])
            soql = f"SELECT WhoId, CompletedDateTime FROM Task WHERE IsClosed = true AND WhoId IN {batch}"
            for row in self._query(soql):
                at = parse_timestamp(row["CompletedDateTime"])
                if at is not None:
                    found[row["WhoId"]] = max(at, found.get(row["WhoId"], at))
        return found

    def _find_user(self, email: str) -> str | None:
        if email not in self._user_ids:
            soql = f"SELECT Id FROM User WHERE IsActive = true AND Email = {soql_literal(email)} LIMIT 2"
            rows = self._query(soql)
            self._user_ids[email] = rows[0]["Id"] if len(rows) == 1 else None
        return self._user_ids[email]

    def _load_owner_emails(self, ids: set[str]) -> Mapping[str, str]:
        new = sorted(ids - self._owner_emails.keys())
        if new:
            rows = self._query(f"SELECT Id, Email FROM User WHERE Id IN {soql_list(new)}")
            self._owner_emails |= dict.fromkeys(new, "") | {row["Id"]: row["Email"] or "" for row in rows}
        return self._owner_emails

    def _query(self, soql: str) -> list[Mapping[str, Any]]:
        page = self._request("query/", "records", "done", q=soql)
        rows: list[Mapping[str, Any]] = list(page["records"])
        while not page["done"]:
            page = self._request(f"query/{page['nextRecordsUrl'].rpartition('/')[2]}", "records", "done")
            rows += page["records"]
        return rows

    def _request(self, path: str, *names: str, **params: str) -> Any:
        """Send a read-only request; return its object, which has *names*. Raises CrmUnavailable."""
        try:
            found = self._call(path, "GET", params=params)
        except SalesforceError as error:
            codes = mapping.parse_error_codes(error.content)
            raise CrmUnavailable(
                mapping.receipt_for_error(error.status, codes, _error_fields(error), _NO_TIME).reason
            ) from None
        except requests.RequestException as error:
            raise CrmUnavailable(f"Salesforce cannot be reached ({type(error).__name__})") from None
        if found is None or any(name not in found for name in names):
            raise CrmUnavailable("Salesforce's response lacks what Salesforce always sends")
        return found

    def _call(self, path: str, method: str, **options: Any) -> Any:
        """Call, and retry with a new token if the old one has expired: a refused call changed nothing."""
        for fresh in (False, True):
            client = self._client(fresh=fresh)
            try:
                return client.restful(path, method=method, timeout=self._timeouts, allow_redirects=False, **options)
            except SalesforceError as error:
                if error.status != 401 or fresh:
                    raise
        raise AssertionError

    def _client(self, *, fresh: bool) -> Salesforce:
        if self._api is None or fresh:
            token = self._request_token()
            self._api = Salesforce(session_id=token, instance_url=self._url, session=self._session, version=API_VERSION)
            self._api.base_url = f"{self._url}/services/data/v{API_VERSION}/"
        return self._api

    def _request_token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._key,
            "client_secret": self._secret.get_secret_value(),
        }
        try:
            response = self._session.post(
                f"{self._url}/services/oauth2/token", form, timeout=self._timeouts, allow_redirects=False
            )
            body = response.json()
        except requests.RequestException as error:
            raise CrmUnavailable(f"Salesforce cannot be reached ({type(error).__name__})") from None
        if response.status_code != 200 or "access_token" not in body:
            raise CrmUnavailable(
                f"Salesforce refused to issue a token (status {response.status_code}). Check "
                "NURTURE_SALESFORCE_URL, NURTURE_SALESFORCE_KEY and NURTURE_SALESFORCE_SECRET, and the app's "
                "client credentials flow."
            )
        return str(body["access_token"])


def _keep_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the token: without this, requests replaces it by a login from ~/.netrc."""
    return request


def _require_object(response: requests.Response, **_: Any) -> None:
    """Refuse a successful response that is no JSON object: something between us and Salesforce made it."""
    if response.status_code in (200, 201):
        body = response.json()
        if not isinstance(body, dict) or not body:
            raise requests.exceptions.ContentDecodingError("not an object")


class _AmbiguousMatch(Exception):
    """Several records match a lead."""


def _error_fields(error: SalesforceError) -> list[str]:
    content: Any = error.content
    errors = content if isinstance(content, list) else []
    return [str(name) for one in errors if isinstance(one, dict) for name in one.get("fields") or ()]


def _receipt_for_network_error(error: requests.RequestException) -> Receipt:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return NotSent("Salesforce cannot be reached", blocks_all=True)
    return Unknown(f"Salesforce did not respond ({type(error).__name__})")
