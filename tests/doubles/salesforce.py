"""A Salesforce double: OAuth, SOQL, and Lead by id and by external id, as strict as the original."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from tests.doubles.api_server import Answer, ApiDouble, Call, Effect
from tests.doubles.soql import MalformedQuery, Soql

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
CUSTOM_FIELDS: Final = {
    "Nurture_Key__c": 80,
    "Nurture_Handoff__c": 80,
    "Nurture_Handoff_Status__c": 40,
    "Nurture_Handoff_Reason__c": 32_768,
}
EXTERNAL_ID_FIELD: Final = "Nurture_Key__c"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class SalesforceDouble(ApiDouble):
    """One org. *fields* are its custom fields; *duplicate_rule* blocks a second lead with the same address."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = dict(CUSTOM_FIELDS)
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

    def add_lead(self, **fields: Any) -> str:
        """Create a lead as a Salesforce user does."""
        id_ = self._id("00Q")
        empty_lead = dict.fromkeys((*STANDARD, *CUSTOM_FIELDS, *SYSTEM))
        self.leads[id_] = empty_lead | {"Id": id_, "Status": "Open", "IsConverted": False, **fields, **self._now()}
        return id_

    def change(self, id_: str, **fields: Any) -> None:
        """Change a lead as a rep does."""
        with self.lock:
            self.leads[id_] |= fields | self._now()

    def convert(self, lead: str, *, won: bool, amount: float | None, closed_on: str) -> None:
        """Convert a lead and close its opportunity; only the conversion changes the lead itself."""
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

    def find_by_key(self, key: str) -> list[dict[str, Any]]:
        return [lead for lead in self.leads.values() if lead.get(EXTERNAL_ID_FIELD) == key]

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
        form: Mapping[str, str] = call.body or {}
        if call.method != "POST" or form.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type", "error_description": "not supported"})
        if (form.get("client_id"), form.get("client_secret")) != (CONSUMER_KEY, CONSUMER_SECRET):
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
            "Task": (("Id", "WhoId", "IsClosed", "CompletedDateTime", "SystemModstamp"), list(self.tasks.values())),
        }
        try:
            name, rows = Soql(tables).run(soql)
        except MalformedQuery as error:
            return _fault(400, error.code, str(error))
        records = [{"attributes": {"type": name}, **row} for row in rows]
        for record in records:
            if record.get("SystemModstamp"):
                record["SystemModstamp"] = record["SystemModstamp"].replace("Z", "+0000")
        return Answer(200, {"totalSize": len(records), "done": True, "records": records})

    def _describe(self) -> Answer:
        fields = [
            {"name": name, "externalId": key, "unique": key and self.unique, "updateable": name not in SYSTEM}
            for name in (*STANDARD, *self.fields, *SYSTEM)
            for key in [name == EXTERNAL_ID_FIELD]
        ]
        return Answer(200, {"name": "Lead", "fields": fields})

    def _update(self, id_: str, fields: dict[str, Any]) -> Answer:
        if id_ not in self.leads:
            return _fault(404, "NOT_FOUND", "The requested resource does not exist")
        lead = self.leads[id_]
        return self._find_errors(fields, lead) or self._store(lead, fields, "updated", Answer(204))

    def _upsert(self, field: str, key: str, fields: dict[str, Any]) -> Answer:
        if field != EXTERNAL_ID_FIELD or field not in self.fields:
            return _fault(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        if field in fields or "Id" in fields:
            return _fault(400, "INVALID_FIELD", f"The {field} field should not be specified in the sobject data.")
        found = self.find_by_key(key)
        if len(found) > 1:
            return Answer(300, [f"/services/data/{VERSION}/sobjects/Lead/{lead['Id']}" for lead in found])
        if found:
            error = self._find_errors(fields, found[0])
            done = {"id": found[0]["Id"], "success": True, "errors": [], "created": False}
            return error or self._store(found[0], fields, "updated", Answer(200, done))
        error = self._find_errors(fields, None)
        if error is not None:
            return error
        lead = self.leads[self.add_lead(**{EXTERNAL_ID_FIELD: key})]
        done = {"id": lead["Id"], "success": True, "errors": [], "created": True}
        return self._store(lead, fields, "created", Answer(201, done))

    def _find_errors(self, fields: dict[str, Any], lead: dict[str, Any] | None) -> Answer | None:
        sizes = {**STANDARD, **self.fields}
        for name, value in fields.items():
            if name not in sizes:
                return _fault(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type Lead")
            if isinstance(value, str) and len(value) > sizes[name]:
                return _fault(400, "STRING_TOO_LONG", f"{name}: data value too large", name)
        if lead is not None and lead["IsConverted"]:
            return _fault(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        owner = fields.get("OwnerId")
        if owner and not self.users.get(owner, {}).get("IsActive"):
            return _fault(400, "INVALID_CROSS_REFERENCE_KEY", "Owner ID: id value of incorrect type", "OwnerId")
        if fields.get("Email") and not _EMAIL.fullmatch(fields["Email"]):
            return _fault(400, "INVALID_EMAIL_ADDRESS", "invalid email address", "Email")
        sets_key = (
            lead is not None and EXTERNAL_ID_FIELD in fields and fields[EXTERNAL_ID_FIELD] != lead[EXTERNAL_ID_FIELD]
        )
        if self.unique and sets_key and self.find_by_key(fields[EXTERNAL_ID_FIELD]):
            return _fault(400, "DUPLICATE_VALUE", "duplicate value found: Nurture_Key__c", EXTERNAL_ID_FIELD)
        if lead is not None:
            return None
        empty = [name for name in ("LastName", "Company") if not fields.get(name)]
        if empty:
            return _fault(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: {empty}", *empty)
        emails = {one["Email"] for one in self.leads.values() if one.get("Email")}
        if self.duplicate_rule and fields.get("Email") in emails:
            return Answer(
                400,
                [
                    {
                        "duplicateResult": {"allowSave": False, "duplicateRule": "Standard_Lead_Duplicate_Rule"},
                        "errorCode": "DUPLICATES_DETECTED",
                        "message": "Use one of these records?",
                    }
                ],
            )
        return None

    def _store(self, lead: dict[str, Any], fields: dict[str, Any], what: str, answer: Answer) -> Answer:
        lead |= fields | self._now()
        names = (EXTERNAL_ID_FIELD, "Nurture_Handoff__c", "Nurture_Handoff_Status__c")
        self.effects.append(Effect(what, lead["Id"], *(lead[name] or "" for name in names)))
        return answer

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):012d}AAA"

    def _now(self) -> dict[str, str]:
        second = next(self._minute)
        return {"SystemModstamp": f"2026-03-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000Z"}


def _fault(status: int, code: str, message: str, *fields: str) -> Answer:
    return Answer(status, [{"message": message, "errorCode": code, "fields": list(fields)}])
