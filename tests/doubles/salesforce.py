"""Salesforce for tests: OAuth, SOQL, and Lead by id and by external id, as strict as the real one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from tests.doubles.crm_server import Answer, Call, CrmDouble, Effect
from tests.doubles.soql import Malformed, Soql

CONSUMER_KEY: Final = "3MVG9.consumer.key"
CONSUMER_SECRET: Final = "4F1.consumer.secret"
VERSION: Final = "v59.0"
SYSTEM: Final = ("Id", "IsConverted", "ConvertedOpportunityId", "SystemModstamp")
STANDARD: Final = {
    "FirstName": 40,
    "LastName": 80,
    "Company": 255,
    "Title": 128,
    "Email": 80,
    "Phone": 40,
    "Country": 80,
    "Status": 40,
    "OwnerId": 18,
}
OURS: Final = {
    "Nurture_Key__c": 80,
    "Nurture_Handoff__c": 80,
    "Nurture_Status__c": 40,
    "Nurture_Why__c": 32_768,
}
EXTERNAL: Final = "Nurture_Key__c"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class SalesforceDouble(CrmDouble):
    """One org. *fields* are the custom fields that were made, *duplicate_rule* blocks a second address."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = dict(OURS)
        self.unique = True
        self.duplicate_rule = False
        self.leads: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.deals: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._token: str | None = None
        self._minute = itertools.count(1)

    def add_user(self, email: str, *, active: bool = True) -> str:
        id_ = self._id("005")
        self.users[id_] = {"Id": id_, "Email": email, "IsActive": active}
        return id_

    def add_lead(self, **told: Any) -> str:
        """Make a lead as somebody does in Salesforce itself."""
        id_ = self._id("00Q")
        whole = dict.fromkeys((*STANDARD, *OURS, *SYSTEM))
        self.leads[id_] = whole | {"Id": id_, "Status": "Open", "IsConverted": False, **told, **self._now()}
        return id_

    def change(self, id_: str, **told: Any) -> None:
        """Change a lead as a rep does."""
        with self.lock:
            self.leads[id_] |= told | self._now()

    def convert(self, lead: str, *, won: bool, amount: float | None, closed_on: str) -> None:
        """Convert a lead and close its opportunity: the lead itself is touched by the first alone."""
        deal = self._id("006")
        self.change(lead, IsConverted=True, ConvertedOpportunityId=deal, Status="Qualified")
        self.deals[deal] = {
            "Id": deal,
            "Amount": amount,
            "StageName": "Closed Won" if won else "Closed Lost",
            "IsWon": won,
            "IsClosed": True,
            "CloseDate": closed_on,
            **self._now(),
        }

    def complete_task(self, lead: str, at: str) -> None:
        id_ = self._id("00T")
        self.tasks[id_] = {"Id": id_, "WhoId": lead, "IsClosed": True, "CompletedDateTime": at, **self._now()}

    def by_key(self, key: str) -> list[dict[str, Any]]:
        return [lead for lead in self.leads.values() if lead.get(EXTERNAL) == key]

    def expire(self) -> None:
        self._token = None

    def writes(self, call: Call) -> bool:
        return call.method == "PATCH"

    def answer(self, call: Call) -> Answer:
        if call.path == "/services/oauth2/token":
            return self._login(call)
        if self._token is None or call.headers.get("authorization") != f"Bearer {self._token}":
            return _fault(401, "INVALID_SESSION_ID", "Session expired or invalid")
        base = f"/services/data/{VERSION}/"
        if not call.path.startswith(base):
            return _fault(404, "NOT_FOUND", "The requested resource does not exist")
        path = call.path.removeprefix(base).strip("/")
        if call.method == "GET" and path == "query":
            return self._query(call.query.get("q", ""))
        if call.method == "GET" and path == "sobjects/Lead/describe":
            return self._describe()
        match path.split("/", 3):
            case ["sobjects", "Lead", id_] if call.method == "PATCH":
                return self._update(id_, call.body)
            case ["sobjects", "Lead", field, key] if call.method == "PATCH":
                return self._upsert(field, key, call.body)
        return _fault(404, "NOT_FOUND", "The requested resource does not exist")

    def _login(self, call: Call) -> Answer:
        told: Mapping[str, str] = call.body or {}
        if call.method != "POST" or told.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type", "error_description": "not supported"})
        if (told.get("client_id"), told.get("client_secret")) != (CONSUMER_KEY, CONSUMER_SECRET):
            return Answer(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        self._token = f"00D!{next(self._numbers)}.token"
        return Answer(200, {"access_token": self._token, "instance_url": self.url, "token_type": "Bearer"})

    def _query(self, soql: str) -> Answer:
        tables = {
            "Lead": ((*STANDARD, *self.fields, *SYSTEM), list(self.leads.values())),
            "User": (("Id", "Email", "IsActive"), list(self.users.values())),
            "Opportunity": (
                ("Id", "Amount", "StageName", "IsWon", "IsClosed", "CloseDate", "SystemModstamp"),
                list(self.deals.values()),
            ),
            "Task": (
                ("Id", "WhoId", "IsClosed", "CompletedDateTime", "SystemModstamp"),
                list(self.tasks.values()),
            ),
        }
        try:
            name, rows = Soql(tables).run(soql)
        except Malformed as wrong:
            return _fault(400, wrong.code, str(wrong))
        records = [{"attributes": {"type": name}, **row} for row in rows]
        for record in records:
            if record.get("SystemModstamp"):
                record["SystemModstamp"] = record["SystemModstamp"].replace("Z", "+0000")
        return Answer(200, {"totalSize": len(records), "done": True, "records": records})

    def _describe(self) -> Answer:
        fields = [
            {"name": name, "externalId": key, "unique": key and self.unique, "updateable": name not in SYSTEM}
            for name in (*STANDARD, *self.fields, *SYSTEM)
            for key in [name == EXTERNAL]
        ]
        return Answer(200, {"name": "Lead", "fields": fields})

    def _update(self, id_: str, told: dict[str, Any]) -> Answer:
        if id_ not in self.leads:
            return _fault(404, "NOT_FOUND", "The requested resource does not exist")
        lead = self.leads[id_]
        return self._wrong(told, lead) or self._store(lead, told, "updated", Answer(204))

    def _upsert(self, field: str, key: str, told: dict[str, Any]) -> Answer:
        if field != EXTERNAL or field not in self.fields:
            return _fault(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        if field in told or "Id" in told:
            return _fault(
                400, "INVALID_FIELD", f"The {field} field should not be specified in the sobject data."
            )
        found = self.by_key(key)
        if len(found) > 1:
            return Answer(300, [f"/services/data/{VERSION}/sobjects/Lead/{lead['Id']}" for lead in found])
        if found:
            wrong = self._wrong(told, found[0])
            done = {"id": found[0]["Id"], "success": True, "errors": [], "created": False}
            return wrong or self._store(found[0], told, "updated", Answer(200, done))
        wrong = self._wrong(told, None)
        if wrong is not None:
            return wrong
        lead = self.leads[self.add_lead(**{EXTERNAL: key})]
        done = {"id": lead["Id"], "success": True, "errors": [], "created": True}
        return self._store(lead, told, "created", Answer(201, done))

    def _wrong(self, told: dict[str, Any], lead: dict[str, Any] | None) -> Answer | None:
        sizes = {**STANDARD, **self.fields}
        for name, value in told.items():
            if name not in sizes:
                return _fault(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type Lead")
            if isinstance(value, str) and len(value) > sizes[name]:
                return _fault(400, "STRING_TOO_LONG", f"{name}: data value too large", name)
        if lead is not None and lead["IsConverted"]:
            return _fault(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        owner = told.get("OwnerId")
        if owner and not self.users.get(owner, {}).get("IsActive"):
            return _fault(
                400, "INVALID_CROSS_REFERENCE_KEY", "Owner ID: id value of incorrect type", "OwnerId"
            )
        if told.get("Email") and not _EMAIL.fullmatch(told["Email"]):
            return _fault(400, "INVALID_EMAIL_ADDRESS", "invalid email address", "Email")
        takes = lead is not None and EXTERNAL in told and told[EXTERNAL] != lead[EXTERNAL]
        if self.unique and takes and self.by_key(told[EXTERNAL]):
            return _fault(400, "DUPLICATE_VALUE", "duplicate value found: Nurture_Key__c", EXTERNAL)
        if lead is not None:
            return None
        empty = [name for name in ("LastName", "Company") if not told.get(name)]
        if empty:
            return _fault(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: {empty}", *empty)
        taken = {one["Email"] for one in self.leads.values() if one.get("Email")}
        if self.duplicate_rule and told.get("Email") in taken:
            return Answer(
                400,
                [
                    {
                        "duplicateResult": {
                            "allowSave": False,
                            "duplicateRule": "Standard_Lead_Duplicate_Rule",
                        },
                        "errorCode": "DUPLICATES_DETECTED",
                        "message": "Use one of these records?",
                    }
                ],
            )
        return None

    def _store(self, lead: dict[str, Any], told: dict[str, Any], what: str, answer: Answer) -> Answer:
        lead |= told | self._now()
        names = (EXTERNAL, "Nurture_Handoff__c", "Nurture_Status__c")
        self.effects.append(Effect(what, lead["Id"], *(lead[name] or "" for name in names)))
        return answer

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):012d}AAA"

    def _now(self) -> dict[str, str]:
        second = next(self._minute)
        return {
            "SystemModstamp": f"2026-03-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000Z"
        }


def _fault(status: int, code: str, message: str, *fields: str) -> Answer:
    return Answer(status, [{"message": message, "errorCode": code, "fields": list(fields)}])
