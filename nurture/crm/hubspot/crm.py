"""HubSpot: hand-offs on contacts, identified by a unique custom property and looked up before each write."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from hubspot import HubSpot  # type: ignore[import-untyped]
from hubspot.crm.contacts import (  # type: ignore[import-untyped]
    Filter,
    FilterGroup,
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.contacts.exceptions import OpenApiException  # type: ignore[import-untyped]
from hubspot.crm.owners.exceptions import OpenApiException as OwnersException  # type: ignore[import-untyped]
from hubspot.crm.properties.exceptions import OpenApiException as PropertiesException  # type: ignore[import-untyped]
from pydantic import SecretStr
from urllib3 import Retry
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from nurture.crm.base import ChangePage, CrmUnavailable, HandoffRecord, RemoteRecord
from nurture.crm.hubspot import mapping
from nurture.crm.hubspot.mapping import FIELDS, READ_PROPERTIES
from nurture.crm.mapping import list_missing
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 25.0  # seconds
PAGE_SIZE: Final = 100
CURSOR_OVERLAP: Final = timedelta(minutes=5)
"""How far back changes are read again: HubSpot's search lags behind."""

_NO_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_API_EXCEPTIONS: Final = (OpenApiException, OwnersException, PropertiesException)
_OWNERS_PAGE_SIZE: Final = 500
_MISSING_PROPERTY: Final = (
    "Contacts have no property {name}. Create it in Settings, Properties, Contact properties: {how}."
)
_UNREADABLE: Final = "HubSpot's response lacks what HubSpot always sends; a proxy may have answered instead"
_NO_OWNER: Final = "no HubSpot user has the rep's address, so the owner was not set"


class HubSpotCrm:
    """A HubSpot account, accessed as a private app."""

    name = "hubspot"
    batch_size = 1

    def __init__(
        self,
        token: SecretStr,
        *,
        url: str = "https://api.hubapi.com",
        portal: str = "",
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        # A request with an unknown outcome is looked up, not retried.
        no_retries = Retry(0, redirect=0, raise_on_redirect=False)
        self._url, self._portal, self._timeouts = url, portal, (connect_timeout, read_timeout)
        client = HubSpot(access_token=token.get_secret_value(), retry=no_retries, host=url)
        self._contacts, self._search = client.crm.contacts.basic_api, client.crm.contacts.search_api
        self._owner_api, self._properties = client.crm.owners.owners_api, client.crm.properties.core_api
        self._owner_emails: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"HubSpotCrm({self._url!r})"

    def look_up(self, keys: Sequence[str]) -> Mapping[str, RemoteRecord]:
        """Return the existing contacts of *keys*. Raises CrmUnavailable."""
        found = {key: self._find_by_key(key) for key in keys}
        owners = self._load_owners() if any(found.values()) else {}
        return {key: mapping.parse_record(contact, owners) for key, contact in found.items() if contact is not None}

    def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> Sequence[Receipt]:
        """Create or update each contact; return one receipt each, in order."""
        return [self._upsert_one(record, now) for record in records]

    def fetch_changes(self, cursor: str, limit: int, now: datetime) -> ChangePage:
        """Return contacts that changed since *cursor*. Raises CrmUnavailable.

        The next page begins at the time of this page's last contact, not at a page number: a contact that changes
        in the meantime moves to the end and shifts the others.
        """
        del now
        position: dict[str, str] = orjson.loads(cursor) if cursor else {"since": "0"}
        request = PublicObjectSearchRequest(
            filter_groups=[
                FilterGroup(
                    filters=[
                        Filter(property_name=FIELDS.key, operator="HAS_PROPERTY"),
                        Filter(property_name="lastmodifieddate", operator="GTE", value=position["since"]),
                    ]
                )
            ],
            sorts=["lastmodifieddate"],
            properties=list(READ_PROPERTIES),
            limit=min(limit, PAGE_SIZE),
            after=position.get("after"),
        )
        response = self._request(lambda: self._search.do_search(request, _request_timeout=self._timeouts))
        contacts = _results(response, "id", "properties")
        if not contacts:
            return ChangePage((), cursor)
        owners = self._load_owners()
        records = [mapping.parse_record(one, owners) for one in contacts]
        last = _to_milliseconds(records[-1].changed_at)
        after = response.paging.next.after if response.paging and response.paging.next else None
        if after is None:
            since = max(last - int(CURSOR_OVERLAP.total_seconds() * 1000), int(position["since"]))
            return ChangePage(records, _format_cursor(str(since)))
        if last > int(position["since"]):
            return ChangePage(records, _format_cursor(str(last)), has_more=True)
        return ChangePage(records, _format_cursor(position["since"], str(after)), has_more=True)

    def check(self, now: datetime) -> Sequence[str]:
        """Return which custom properties are missing or misconfigured. Raises CrmUnavailable."""
        del now
        response = self._request(lambda: self._properties.get_all("contacts", _request_timeout=self._timeouts))
        existing = {one.name: one for one in _results(response, "name")}
        missing = list_missing(mapping.CUSTOM_PROPERTIES, existing, _MISSING_PROPERTY)
        if FIELDS.key in existing and not existing[FIELDS.key].has_unique_value:
            missing.append(
                f"The property {FIELDS.key} must require unique values, which only a new property can: "
                "delete it and create it again."
            )
        self._owner_emails = None
        if not self._load_owners():
            missing.append("The private app sees no owners. Give it the scope crm.objects.owners.read.")
        return missing

    def record_url(self, crm_id: str) -> str:
        """Return the page of a contact in the account's portal, "" if the portal is not known."""
        return f"https://app.hubspot.com/contacts/{self._portal}/record/0-1/{crm_id}" if self._portal else ""

    def close(self) -> None:
        """Close connections."""
        for api in (self._contacts, self._search, self._owner_api, self._properties):
            api.api_client.rest_client.pool_manager.clear()

    def _upsert_one(self, record: HandoffRecord, now: datetime) -> Receipt:
        try:
            owner = self._find_owner(record.owner) if record.owner else None
            contact = self._find_by_key(record.key)
        except CrmUnavailable as unavailable:
            return unavailable.receipt
        note = "" if owner or not record.owner else _NO_OWNER
        try:
            if contact is not None:
                return Accepted(self._update(str(contact.id), mapping.custom_fields(record, owner)), note)
            crm_id = record.person.crm_id
            if crm_id and crm_id.isdigit() and (linked := self._link_contact(crm_id, record, owner, note)) is not None:
                return linked
            return self._create(record, owner, note)
        except OpenApiException as error:
            return _receipt_for_error(error, now)
        except CrmUnavailable as unavailable:
            return unavailable.receipt
        except HTTPError as error:
            return _receipt_for_network_error(error)
        except (TypeError, ValueError):
            return Unknown(_UNREADABLE)

    def _create(self, record: HandoffRecord, owner: str | None, note: str) -> Receipt:
        payload = SimplePublicObjectInputForCreate(properties=mapping.full_record(record, owner), associations=[])
        try:
            created = self._contacts.create(payload, _request_timeout=self._timeouts)
        except OpenApiException as error:
            existing = mapping.parse_existing_id(getattr(error, "body", None)) if _status_of(error) == 409 else None
            if existing is None:
                raise
            linked = self._link_contact(existing, record, owner, note)
            return linked or Rejected(f"HubSpot deleted contact {existing}, that of {record.key}. Restore it there.")
        return Accepted(_written_id(created), note, ("", ""))

    def _link_contact(self, id_: str, record: HandoffRecord, owner: str | None, note: str) -> Receipt | None:
        """Write the key to an existing contact without one; None if it was deleted.

        Rejected if the contact, or the one into which it was merged, belongs to another lead.
        """
        contact = self._find_contact(id_, properties=list(READ_PROPERTIES))
        if contact is None:
            return None
        held = contact.properties.get(FIELDS.key)
        if held not in (None, "", record.key):
            contact_name = f"HubSpot contact {contact.id}, that of {record.key},"
            return Rejected(f"the {contact_name} belongs to {held}. Merge these two leads, or separate the contacts.")
        found = mapping.parse_record(contact, self._load_owners())
        crm_id = self._update(str(contact.id), mapping.custom_fields(record, owner))
        return Accepted(crm_id, note, (found.crm_status, found.owner))

    def _update(self, id_: str, properties: Mapping[str, str]) -> str:
        payload = SimplePublicObjectInput(properties=dict(properties))
        return _written_id(self._contacts.update(id_, payload, _request_timeout=self._timeouts))

    def _find_by_key(self, key: str) -> Any:
        """Return the contact with *key*, or None. Unlike the search, this read does not lag."""
        return self._find_contact(key, id_property=FIELDS.key, properties=list(READ_PROPERTIES))

    def _find_contact(self, id_: str, **more: Any) -> Any:
        """Return the contact of this id, or None if there is none. Raises CrmUnavailable."""

        def get() -> Any:
            try:
                found = self._contacts.get_by_id(id_, **more, _request_timeout=self._timeouts)
            except OpenApiException as error:
                if _status_of(error) == 404:
                    return None
                raise
            return _require(found, "id", "properties")

        return self._request(get)

    def _find_owner(self, email: str) -> str | None:
        wanted = email.casefold()
        return next((id_ for id_, owner_email in self._load_owners().items() if owner_email.casefold() == wanted), None)

    def _load_owners(self) -> Mapping[str, str]:
        if self._owner_emails is None:
            found: dict[str, str] = {}
            page = self._fetch_owner_page(None)
            while True:
                found |= {str(one.id): one.email or "" for one in _results(page, "id")}
                if not (page.paging and page.paging.next):
                    break
                page = self._fetch_owner_page(page.paging.next.after)
            self._owner_emails = found
        return self._owner_emails

    def _fetch_owner_page(self, after: str | None) -> Any:
        paging = {"after": after} if after else {}
        return self._request(
            lambda: self._owner_api.get_page(
                limit=_OWNERS_PAGE_SIZE, archived=False, _request_timeout=self._timeouts, **paging
            )
        )

    def _request(self, call: Callable[[], Any]) -> Any:
        """Send a read-only request. Raises CrmUnavailable."""
        try:
            return call()
        except _API_EXCEPTIONS as error:
            receipt = _receipt_for_error(error, _NO_TIME)
            raise CrmUnavailable(receipt.reason) from None
        except HTTPError as error:
            raise _unavailable(error) from None
        except (TypeError, ValueError):
            raise CrmUnavailable(_UNREADABLE) from None


def _results(response: Any, *names: str) -> list[Any]:
    """Return the objects of a list, each of which has *names*. Raises CrmUnavailable."""
    found: list[Any] = _require(response, "results").results
    return [_require(one, *names) for one in found]


def _require(found: Any, *names: str) -> Any:
    """Return *found* if it has *names*: an empty response is read as an object without any. Raises CrmUnavailable."""
    if any(getattr(found, name, None) is None for name in names):
        raise CrmUnavailable(_UNREADABLE)
    return found


def _written_id(written: Any) -> str:
    """Return the id of a contact that was written. Raises ValueError if the response names none."""
    id_ = getattr(written, "id", None)
    if id_ is None:
        raise ValueError(_UNREADABLE)
    return str(id_)


def _format_cursor(since: str, after: str = "") -> str:
    return orjson.dumps({"since": since} | ({"after": after} if after else {})).decode()


def _to_milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _status_of(error: Exception) -> int:
    return int(getattr(error, "status", 0) or 0)


def _receipt_for_error(error: Exception, now: datetime) -> NotSent | Rejected | Unknown:
    """Return the receipt for *error*, without its text, which contains headers and lead data."""
    headers = {str(name): str(value) for name, value in dict(getattr(error, "headers", None) or {}).items()}
    if not _status_of(error):
        return Unknown(f"HubSpot's response cannot be read ({type(error).__name__})")
    return mapping.receipt_for_error(_status_of(error), getattr(error, "body", None), headers, now)


def _cause(error: HTTPError) -> object:
    return error.reason if isinstance(error, MaxRetryError) else error


def _unavailable(error: HTTPError) -> CrmUnavailable:
    return CrmUnavailable(f"HubSpot cannot be reached ({type(_cause(error)).__name__})")


def _receipt_for_network_error(error: HTTPError) -> Receipt:
    if isinstance(_cause(error), NewConnectionError | ConnectTimeoutError):
        return NotSent("HubSpot cannot be reached", blocks_all=True)
    return Unknown(f"HubSpot did not respond ({type(_cause(error)).__name__})")
