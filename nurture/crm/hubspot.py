"""HubSpot: hand-offs on contacts, known by a unique property of ours, looked up before anything is made."""

from __future__ import annotations

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
from hubspot.crm.owners.exceptions import (  # type: ignore[import-untyped]
    OpenApiException as OwnersException,
)
from hubspot.crm.properties.exceptions import (  # type: ignore[import-untyped]
    OpenApiException as PropertiesException,
)
from pydantic import SecretStr
from urllib3 import Retry
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from nurture.crm import hubspot_mapping as words
from nurture.crm.base import CrmDown, NotWritten, Page, Receipt, Record, Refused, Seen, Unclear, Written
from nurture.crm.hubspot_mapping import KEY, READ

CONNECT, READ_WITHIN = 5.0, 25.0  # seconds
TOGETHER: Final = 100
AGAIN: Final = timedelta(minutes=5)
"""So far back the newest changes are read again: HubSpot's search shows them a little later."""

_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_ANSWERS: Final = (OpenApiException, OwnersException, PropertiesException)
_OWNERS: Final = 500
_NO_OWNER: Final = "no HubSpot user has the rep's address, so the owner was not set"


class HubSpotCrm:
    """A HubSpot account, as a private app of it."""

    name = "hubspot"
    at_once = 1

    def __init__(
        self,
        token: SecretStr,
        *,
        url: str = "https://api.hubapi.com",
        connect: float = CONNECT,
        read: float = READ_WITHIN,
    ) -> None:
        never = Retry(0, redirect=0, raise_on_redirect=False)  # what may have gone is looked up, not repeated
        self._url, self._patience = url, (connect, read)
        client = HubSpot(access_token=token.get_secret_value(), retry=never, host=url)
        self._contacts, self._search = client.crm.contacts.basic_api, client.crm.contacts.search_api
        self._owners_api, self._properties = client.crm.owners.owners_api, client.crm.properties.core_api
        self._owners: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"HubSpotCrm({self._url!r})"

    def look_up(self, keys: Sequence[str]) -> Mapping[str, Seen]:
        """Return the contacts of *keys* that there are. Raises CrmDown."""
        found = {key: self._by_key(key) for key in keys}
        owners = self._known_owners() if any(found.values()) else {}
        return {key: words.seen_of(one, owners) for key, one in found.items() if one is not None}

    def put(self, records: Sequence[Record], now: datetime) -> Sequence[Receipt]:
        """Create or update each contact; one receipt each, in order."""
        return [self._put(record, now) for record in records]

    def changes(self, cursor: str, limit: int, now: datetime) -> Page:
        """Return contacts that changed since *cursor*. Raises CrmDown.

        The next page begins at the time of this one's last contact: what changes meanwhile moves to the end,
        and would shift the others under a page number.
        """
        del now
        at: dict[str, str] = orjson.loads(cursor) if cursor else {"since": "0"}
        asked = PublicObjectSearchRequest(
            filter_groups=[
                FilterGroup(
                    filters=[
                        Filter(property_name=KEY, operator="HAS_PROPERTY"),
                        Filter(property_name="lastmodifieddate", operator="GTE", value=at["since"]),
                    ]
                )
            ],
            sorts=["lastmodifieddate"],
            properties=list(READ),
            limit=min(limit, TOGETHER),
            after=at.get("after"),
        )
        told = self._read(lambda: self._search.do_search(asked, _request_timeout=self._patience))
        if not told.results:
            return Page((), cursor)
        owners = self._known_owners()
        seen = [words.seen_of(one, owners) for one in told.results]
        last = _milliseconds(seen[-1].changed_at)
        after = told.paging.next.after if told.paging and told.paging.next else None
        if after is None:
            back = max(last - int(AGAIN.total_seconds() * 1000), int(at["since"]))
            return Page(seen, _cursor(str(back)))
        if last > int(at["since"]):
            return Page(seen, _cursor(str(last)), more=True)
        return Page(seen, _cursor(at["since"], str(after)), more=True)

    def check(self, now: datetime) -> Sequence[str]:
        """Return which of our properties are missing or made otherwise. Raises CrmDown."""
        del now
        told = self._read(lambda: self._properties.get_all("contacts", _request_timeout=self._patience))
        there = {one.name: one for one in told.results}
        missing = [
            f"Contacts have no property {name}. Make it in Settings, Properties, Contact properties: {how}."
            for name, how in words.FIELDS.items()
            if name not in there
        ]
        if KEY in there and not there[KEY].has_unique_value:
            missing.append(
                f"The property {KEY} must require unique values, which only a new property can: delete "
                "it, and make it again."
            )
        self._owners = None
        if not self._known_owners():
            missing.append("The private app sees no owners. Give it the scope crm.objects.owners.read.")
        return missing

    def close(self) -> None:
        """Give connections back."""
        for api in (self._contacts, self._search, self._owners_api, self._properties):
            api.api_client.rest_client.pool_manager.clear()

    def _put(self, record: Record, now: datetime) -> Receipt:
        try:
            owner = self._owner(record.owner) if record.owner else None
            held = self._by_key(record.key)
        except CrmDown as down:
            return NotWritten(down.why, down.retry_at, stops=True)
        note = (
            ""
            if owner or not record.owner
            else "no HubSpot user has the rep's address: the owner was not set"
        )
        try:
            if held is not None:
                return Written(self._update(str(held.id), words.ours(record, owner)), note)
            known = record.person.known_as
            if known and known.isdigit():
                return self._adopt(known, record, owner, note)
            return self._create(record, owner, note)
        except OpenApiException as error:
            return _receipt(error, now)
        except CrmDown as down:
            return NotWritten(down.why, down.retry_at, stops=True)
        except HTTPError as error:
            return _broke_off(error)

    def _create(self, record: Record, owner: str | None, note: str) -> Receipt:
        told = SimplePublicObjectInputForCreate(properties=words.whole(record, owner), associations=[])
        try:
            made = self._contacts.create(told, _request_timeout=self._patience)
        except OpenApiException as error:
            there = words.existing_id(getattr(error, "body", None)) if _status(error) == 409 else None
            if there is None:
                raise
            return self._adopt(there, record, owner, note)
        return Written(str(made.id), note)

    def _adopt(self, id_: str, record: Record, owner: str | None, note: str) -> Receipt:
        """Write our key on a contact that HubSpot had before us, unless it is another lead's."""
        held = self._read(
            lambda: self._contacts.get_by_id(id_, properties=[KEY], _request_timeout=self._patience)
        )
        if held.properties.get(KEY) not in (None, "", record.key):
            return Refused("the HubSpot contact of this address is another lead of ours. Merge the leads.")
        return Written(self._update(id_, words.ours(record, owner)), note)

    def _update(self, id_: str, told: Mapping[str, str]) -> str:
        changed = SimplePublicObjectInput(properties=dict(told))
        return str(self._contacts.update(id_, changed, _request_timeout=self._patience).id)

    def _by_key(self, key: str) -> Any:
        """Return the contact of our key, None if there is none. Unlike the search, this is never behind."""
        try:
            return self._contacts.get_by_id(
                key, id_property=KEY, properties=list(READ), _request_timeout=self._patience
            )
        except OpenApiException as error:
            if _status(error) == 404:
                return None
            raise CrmDown(_receipt(error, _ANY_TIME).why) from None
        except HTTPError as error:
            raise _down(error) from None

    def _owner(self, email: str) -> str | None:
        wanted = email.casefold()
        return next((id_ for id_, one in self._known_owners().items() if one.casefold() == wanted), None)

    def _known_owners(self) -> Mapping[str, str]:
        if self._owners is None:
            found: dict[str, str] = {}
            told = self._owner_page(None)
            while True:
                found |= {str(one.id): one.email or "" for one in told.results}
                if not (told.paging and told.paging.next):
                    break
                told = self._owner_page(told.paging.next.after)
            self._owners = found
        return self._owners

    def _owner_page(self, after: str | None) -> Any:
        more = {"after": after} if after else {}
        return self._read(
            lambda: self._owners_api.get_page(
                limit=_OWNERS, archived=False, _request_timeout=self._patience, **more
            )
        )

    def _read(self, ask: Callable[[], Any]) -> Any:
        """Ask for something that changes nothing. Raises CrmDown."""
        try:
            return ask()
        except _ANSWERS as error:
            receipt = _receipt(error, _ANY_TIME)
            raise CrmDown(receipt.why) from None
        except HTTPError as error:
            raise _down(error) from None


def _cursor(since: str, after: str = "") -> str:
    return orjson.dumps({"since": since} | ({"after": after} if after else {})).decode()


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _status(error: Exception) -> int:
    return int(getattr(error, "status", 0) or 0)


def _receipt(error: Exception, now: datetime) -> NotWritten | Refused | Unclear:
    """Never from the error's own text: it repeats headers and what a lead wrote."""
    headers = {str(name): str(value) for name, value in dict(getattr(error, "headers", None) or {}).items()}
    if not _status(error):
        return Unclear(f"HubSpot's answer cannot be read ({type(error).__name__})")
    return words.receipt_of(_status(error), getattr(error, "body", None), headers, now)


def _reason(error: HTTPError) -> object:
    return error.reason if isinstance(error, MaxRetryError) else error


def _down(error: HTTPError) -> CrmDown:
    return CrmDown(f"HubSpot cannot be reached ({type(_reason(error)).__name__})")


def _broke_off(error: HTTPError) -> Receipt:
    if isinstance(_reason(error), NewConnectionError | ConnectTimeoutError):
        return NotWritten("HubSpot cannot be reached", stops=True)
    return Unclear(f"HubSpot did not answer ({type(_reason(error)).__name__})")
