"""The bodies that the API accepts. The same models parse them and describe them in the API documentation."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from nurture.domain.address import normalize_address
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.formats.items import InvalidItem, Item, JsonObject, shown_value
from nurture.formats.lead_item import LeadItem
from nurture.journey.intake import interpret
from nurture.journey.leads.queries import LeadRef

MAX_ITEMS: Final = 1_000
"""Items per batch."""

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the clock of a caller may be ahead."""

MAX_AGE: Final = timedelta(days=730)
"""Older signals and outcomes are refused as history, which is imported from files."""

SOURCE: Final = "api"

_IMPORT_COMMANDS: Final = {
    "occurred_at": "nurture leads import-signals",
    "happened_at": "nurture handoffs outcomes import",
}
_TIME_REMEDY: Final = "Write it with a time zone, as in 2027-03-31T09:00:00Z."
_CLOSINGS_WITH_AMOUNT: Final = (Closing.WON, Closing.LOST)


def _read_time(value: object, info: ValidationInfo[Any]) -> datetime:
    """Return a time of the last two years before the time in the context, in UTC."""
    shown = shown_value(value)
    try:
        at = datetime.fromisoformat(str(value))
        at = at if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidItem("", f"{shown} is not a time.", _TIME_REMEDY) from None
    if at.tzinfo is None:
        raise InvalidItem("", f"{shown} has no time zone.", _TIME_REMEDY)
    if at > info.context + MAX_CLOCK_SKEW:
        raise InvalidItem("", f"{shown} is in the future.", "Check your clock.")
    if at < info.context - MAX_AGE:
        remedy = f"Import history with `{_IMPORT_COMMANDS[info.field_name or '']}`."
        raise InvalidItem("", f"{shown} is more than two years ago.", remedy)
    return at


_Timestamp = Annotated[datetime, PlainValidator(_read_time), WithJsonSchema({"type": "string", "format": "date-time"})]
_TIME_FIELD: Final[Any] = Field(
    description=f"With its zone; not in the future, and not older than {MAX_AGE.days} days.",
    examples=["2027-03-31T09:00:00Z"],
)


class LeadReference(Item):
    """The lead; it must exist."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["id"]}, {"required": ["email"]}, {"required": ["external_id", "source"]}],
            "dependentRequired": {"source": ["external_id"], "external_id": ["source"]},
        }
    )
    subject = "A lead reference"
    remedy = 'Write it as {"email": "ana@example.com"}, {"id": 42} or {"external_id": "c1", "source": "crm"}.'

    id: int | None = Field(None, ge=1, le=2**63 - 1)
    email: str | None = Field(None, max_length=320)
    external_id: str | None = Field(None, max_length=2_000)
    source: str | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(one is not None for one in (self.id, self.email, self.external_id)) != 1:
            raise InvalidItem("", "A lead needs exactly one of id, email and external_id.", self.remedy)
        if (self.external_id is None) != (self.source is None):
            raise InvalidItem("", "external_id and source must be given together.", self.remedy)
        return self

    def parsed(self) -> LeadRef:
        """Return the reference as it is stored."""
        if self.external_id is not None and self.source is not None:
            return LeadRef(None, None, *interpret.normalize_key(self.source, self.external_id))
        return LeadRef(self.id, None if self.email is None else normalize_address(self.email))


class SignalItem(Item):
    """What a lead did."""

    subject = "A signal"
    remedy = "Give it lead, kind and occurred_at, and if you like value, email, link and id."

    lead: LeadReference = Field(examples=[{"email": "ana@example.com"}])
    kind: SignalKind = Field(strict=False, examples=["visited"])
    occurred_at: _Timestamp = _TIME_FIELD
    value: str | None = Field(
        None, max_length=500, description="The value; for `deciding` the date, such as 2027-03-31."
    )
    email: str | None = Field(
        None, max_length=200, description="The email (step) that the lead reacted to, such as 01-hello."
    )
    link: str | None = Field(
        None,
        max_length=2_000,
        description="The page, link or product feature. Conditions can test it.",
        examples=["/pricing"],
    )
    id: str | None = Field(
        None, max_length=200, description="Your id of this event: sent again, it counts once.", examples=["evt-0001"]
    )

    @model_validator(mode="after")
    def _check_date(self) -> Self:
        if self.kind is SignalKind.DECIDING:
            try:
                self.value = date.fromisoformat(self.value or "").isoformat()
            except ValueError:
                reason = f"Invalid decision date {shown_value(self.value)}."
                raise InvalidItem("value", reason, "Write it as 2027-03-31.") from None
        return self


class OutcomeItem(Item):
    """How a lead ended."""

    subject = "An outcome"
    remedy = "Give it lead, closing and happened_at, and if you like amount, reason and id."

    lead: LeadReference = Field(examples=[{"external_id": "c1", "source": "crm"}])
    closing: Closing = Field(strict=False, examples=["won"])
    happened_at: _Timestamp = _TIME_FIELD
    amount: float | None = Field(
        None, ge=0, le=10**12, description="The value of the deal, won or lost.", examples=[12500.5]
    )
    reason: str | None = Field(None, max_length=300, description="Why the lead ended; required for discarded leads.")
    id: str | None = Field(
        None, max_length=200, description="Your id of this outcome: sent again, it counts once.", examples=["deal-77"]
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.closing is Closing.DISCARDED and not self.reason:
            raise InvalidItem("reason", "An outcome discarded needs a reason.", "Add reason.")
        if self.amount is not None and self.closing not in _CLOSINGS_WITH_AMOUNT:
            raise InvalidItem("amount", "Only a deal has an amount.", "Leave it out.")
        return self


class Batch(JsonObject):
    """A batch of items, which are validated one by one."""

    subject = "A batch"
    remedy = "/api/docs has an example."
    items: list[Any]


def _items(name: str, model: type[Item]) -> Any:
    example = {key: field.examples[0] for key, field in model.model_fields.items() if field.examples}
    items: dict[str, Any] = {"items": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return Field(alias=name, min_length=1, max_length=MAX_ITEMS, json_schema_extra=items, examples=[[example]])


class SignalBatch(Batch):
    """A batch of signals."""

    items: list[Any] = _items("signals", SignalItem)


class LeadBatch(Batch):
    """A batch of leads."""

    source: str = Field(
        SOURCE,
        pattern="^[A-Za-z0-9_][A-Za-z0-9_ .-]{0,63}$",
        description="Name the system that the leads' ids come from, such as crm.",
        examples=["crm"],
    )
    items: list[Any] = _items("leads", LeadItem)


class OutcomeBatch(Batch):
    """A batch of outcomes."""

    items: list[Any] = _items("outcomes", OutcomeItem)
