"""A strict HubSpot double: contacts by id and by unique property, search, owners, properties."""

from __future__ import annotations

import itertools
from typing import Any, Final

import orjson

from tests.doubles.api_server import Answer, ApiDouble, Call, Effect

TOKEN: Final = "pat-eu1-double-token"
_BASE: Final = "/crm/v3/objects/contacts"
STANDARD: Final = (
    "email",
    "firstname",
    "lastname",
    "company",
    "jobtitle",
    "phone",
    "country",
    "hs_lead_status",
    "hubspot_owner_id",
    "lifecyclestage",
    "recent_deal_amount",
    "recent_deal_close_date",
    "notes_last_contacted",
)
READ_ONLY: Final = ("recent_deal_amount", "recent_deal_close_date", "notes_last_contacted", "lastmodifieddate")
CUSTOM_PROPERTIES: Final = ("nurture_key", "nurture_handoff", "nurture_handoff_status", "nurture_handoff_reason")
KEY: Final = "nurture_key"
_OPERATORS: Final = {"EQ", "GTE", "HAS_PROPERTY"}


class HubSpotDouble(ApiDouble):
    """One account. *properties* are its custom properties; the contacts in *behind* are not searchable yet."""

    def __init__(self) -> None:
        super().__init__()
        self.properties = list(CUSTOM_PROPERTIES)
        self.unique = True
        self.contacts: dict[str, dict[str, str]] = {}
        self.owners: dict[str, str] = {}
        self.behind: set[str] = set()
        self.merged: dict[str, str] = {}
        self._token = TOKEN
        self._numbers = itertools.count(101)
        self._seconds = itertools.count(1_772_000_000)

    def add_user(self, email: str) -> str:
        id_ = str(next(self._numbers))
        self.owners[id_] = email
        return id_

    def add_contact(self, **properties: str) -> str:
        """Create a contact as a HubSpot user does."""
        id_ = str(next(self._numbers))
        self.contacts[id_] = properties | self._now()
        return id_

    def change(self, id_: str, **properties: str) -> None:
        """Change a contact as a rep or HubSpot does."""
        with self.lock:
            self.contacts[id_] |= properties | self._now()

    def merge(self, id_: str, into: str) -> None:
        """Merge a contact into another; its id then leads to that one, whose properties stay."""
        self.merged[id_] = into
        self.contacts[into] = self.contacts.pop(id_) | self.contacts[into] | self._now()

    def find_by_key(self, key: str) -> list[dict[str, str]]:
        return [one for one in self.contacts.values() if one.get(KEY) == key]

    def expire(self) -> None:
        self._token = "another-one"

    def writes(self, call: Call) -> bool:
        return call.method == "PATCH" or (call.method == "POST" and call.path == _BASE)

    def answer(self, call: Call) -> Answer:
        if call.headers.get("authorization") != f"Bearer {self._token}":
            return _fault(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if call.path == "/crm/v3/owners/" and call.method == "GET":
            results = [{"id": id_, "email": email, "type": "PERSON"} for id_, email in self.owners.items()]
            return Answer(200, {"results": [self._dated(one) for one in results]})
        if call.path == "/crm/v3/properties/contacts" and call.method == "GET":
            return Answer(200, {"results": [self._property(name) for name in (*STANDARD, *self.properties)]})
        if call.path == _BASE and call.method == "POST":
            return self._create(call.body)
        if call.path == f"{_BASE}/search" and call.method == "POST":
            return self._search(call.body)
        if call.path.startswith(f"{_BASE}/"):
            id_ = self._named(call.path.removeprefix(f"{_BASE}/"), call.query.get("idProperty"))
            if isinstance(id_, Answer):
                return id_
            if call.method == "GET":
                return Answer(200, self._to_json(id_, call.query.get("properties", "").split(",")))
            if call.method == "PATCH":
                return self._update(id_, call.body)
        return _fault(404, "OBJECT_NOT_FOUND", "resource not found")

    def _named(self, name: str, id_property: str | None) -> str | Answer:
        if id_property is None:
            name = self.merged.get(name, name)
            return name if name in self.contacts else _fault(404, "OBJECT_NOT_FOUND", "resource not found")
        if id_property != "email" and not (id_property == KEY and KEY in self.properties and self.unique):
            return _fault(400, "VALIDATION_ERROR", f"{id_property} is not a unique identifier property")
        found = [id_ for id_, one in self.contacts.items() if one.get(id_property) == name]
        return found[0] if found else _fault(404, "OBJECT_NOT_FOUND", "resource not found")

    def _create(self, body: Any) -> Answer:
        if not isinstance(body, dict) or set(body) - {"properties", "associations"}:
            return _fault(400, "VALIDATION_ERROR", "Invalid input JSON")
        properties = body["properties"]
        error = self._find_errors(properties, None)
        if error is not None:
            return error
        same = [
            id_
            for id_, one in self.contacts.items()
            if properties.get("email") and one.get("email") == properties["email"]
        ]
        if same:
            return _fault(409, "CONFLICT", f"Contact already exists. Existing ID: {same[0]}")
        id_ = str(next(self._numbers))
        self.contacts[id_] = {}
        return self._store(id_, properties, "created", 201)

    def _update(self, id_: str, body: Any) -> Answer:
        if not isinstance(body, dict) or set(body) - {"properties"}:
            return _fault(400, "VALIDATION_ERROR", "Invalid input JSON")
        return self._find_errors(body["properties"], id_) or self._store(id_, body["properties"], "updated", 200)

    def _find_errors(self, properties: dict[str, str], id_: str | None) -> Answer | None:
        known = (*STANDARD, *self.properties)
        for name, value in properties.items():
            if name not in known:
                validation_error = {
                    "isValid": False,
                    "message": f'Property "{name}" does not exist',
                    "error": "PROPERTY_DOESNT_EXIST",
                    "name": name,
                }
                detail = f"Property values were not valid: {orjson.dumps([validation_error]).decode()}"
                return _fault(400, "VALIDATION_ERROR", detail)
            if name in READ_ONLY or not isinstance(value, str):
                return _fault(400, "VALIDATION_ERROR", f"{name} is read only, or its value is no text")
        if properties.get("hubspot_owner_id") and properties["hubspot_owner_id"] not in self.owners:
            return _fault(400, "VALIDATION_ERROR", "Property values were not valid: hubspot_owner_id")
        if properties.get("email") and "@" not in properties["email"]:
            return _fault(400, "VALIDATION_ERROR", "Property values were not valid: email")
        others = [other for other, one in self.contacts.items() if one.get(KEY) == properties.get(KEY) and other != id_]
        if self.unique and properties.get(KEY) and others:
            return _fault(400, "VALIDATION_ERROR", f"{others[0]} already has that value.")
        return None

    def _store(self, id_: str, properties: dict[str, str], what: str, status: int) -> Answer:
        contact = self.contacts[id_]
        contact |= properties | self._now()
        names = (KEY, "nurture_handoff", "nurture_handoff_status")
        self.effects.append(Effect(what, id_, *(contact.get(name, "") for name in names)))
        return Answer(status, self._to_json(id_, list(properties)))

    def _search(self, body: dict[str, Any]) -> Answer:
        (group,) = body["filterGroups"]
        if len(group["filters"]) > 6 or body["limit"] > 200:
            return _fault(400, "VALIDATION_ERROR", "There was a problem with the request.")
        chosen = [id_ for id_ in self.contacts if id_ not in self.behind]
        for one in group["filters"]:
            if one["operator"] not in _OPERATORS:
                return _fault(400, "VALIDATION_ERROR", "unknown operator")
            chosen = [id_ for id_ in chosen if self._matches(self.contacts[id_], one)]
        chosen.sort(key=lambda id_: self._millis(self.contacts[id_]))
        start = int(body.get("after") or 0)
        page = chosen[start : start + body["limit"]]
        response: dict[str, Any] = {
            "total": len(chosen),
            "results": [self._to_json(id_, body["properties"]) for id_ in page],
        }
        if start + len(page) < len(chosen):
            response["paging"] = {"next": {"after": str(start + len(page))}}
        return Answer(200, response)

    def _matches(self, contact: dict[str, str], one: dict[str, Any]) -> bool:
        if one["operator"] == "HAS_PROPERTY":
            return bool(contact.get(one["propertyName"]))
        if one["operator"] == "EQ":
            return contact.get(one["propertyName"]) == one["value"]
        return self._millis(contact) >= int(one["value"])

    def _to_json(self, id_: str, names: list[str]) -> dict[str, Any]:
        contact = self.contacts[id_]
        values = {name: contact.get(name) for name in (*names, "lastmodifieddate") if name}
        return self._dated({"id": id_, "properties": values, "archived": False})

    def _property(self, name: str) -> dict[str, Any]:
        definition = {"name": name, "label": name, "type": "string", "fieldType": "text", "description": ""}
        more = {"groupName": "contactinformation", "options": [], "hasUniqueValue": name == KEY and self.unique}
        return definition | more

    def _dated(self, one: dict[str, Any]) -> dict[str, Any]:
        return one | {"createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z", "archived": False}

    def _millis(self, contact: dict[str, str]) -> int:
        return int(contact["_ms"])

    def _now(self) -> dict[str, str]:
        from datetime import UTC, datetime

        second = next(self._seconds)
        return {
            "_ms": str(second * 1000),
            "lastmodifieddate": datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }


def _fault(status: int, category: str, message: str) -> Answer:
    body = {"status": "error", "message": message, "correlationId": "0-0", "category": category}
    return Answer(status, body)
