"""Parse the JSON objects of the API with pydantic models, and explain the first problem of an invalid one."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from nurture.domain.plain_text import replace_control_characters
from nurture.errors import suggest
from nurture.formats.cells import strip_invisible

MAX_SHOWN: Final = 80
"""Characters of a value or name that an error shows."""

_PROBLEMS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("{subject} needs {field}.", "Add {field}{example}."),
    "string_type": ("{value} is not text.", "Put it in quotes{example}."),
    "string_too_long": ("The value is over {max_length:,} characters long.", "Shorten it."),
    "string_pattern_mismatch": ("{value} is not a short name of letters, digits, dots and dashes.", "{description}"),
    "enum": ("Unknown {field} {value}.", "Write one of {expected}."),
    "int_type": ("{value} is not a whole number.", "Write a number without quotes and decimals."),
    "float_type": ("{value} is not a number.", "Write it without quotes and currency{example}."),
    "greater_than_equal": ("{value} is below {ge:,}.", "Write a number of {ge:,} or higher{example}."),
    "less_than_equal": ("{value} is over {le:,}.", "Write a lower number{example}."),
    "list_type": ("{field} is not a list.", "Send a list of {field}; /api/docs has an example."),
    "too_short": ("There are no {field}.", "Send a list of {field}; /api/docs has an example."),
    "too_long": ("There are {actual_length:,} {field}; the limit is {max_length:,}.", "Send {max_length:,} or fewer."),
}
"""The reason and the remedy for each type of validation error."""


class InvalidItem(ValueError):
    """An invalid *field* of an item. *reason* and *remedy* are a sentence each."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason} {remedy}")
        self.field, self.reason, self.remedy = field, reason, remedy


class JsonObject(BaseModel):
    """A JSON object with strict types and no unknown fields. *subject* and *remedy* name it in errors.

    The first example of a field is a part of errors and of the API documentation.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    subject: ClassVar[str]
    remedy: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, item: Any) -> Any:
        if not isinstance(item, Mapping):
            raise InvalidItem("", f"{cls.subject} must be an object.", cls.remedy)
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for name in item:
            if name not in known:
                remedy = f"{suggest(name[:MAX_SHOWN], known, ' ')} {cls.remedy}".strip()
                raise InvalidItem(name[:MAX_SHOWN], f"{cls.subject} has no such field.", remedy)
        return item


class Item(JsonObject):
    """An object whose empty fields, null or blank, count as absent."""

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, item: Any) -> Any:
        if not isinstance(item, Mapping):
            return item
        cleaned = {
            name: replace_control_characters(strip_invisible(value)).strip() if isinstance(value, str) else value
            for name, value in item.items()
        }
        return {name: value for name, value in cleaned.items() if value is not None and value != ""}


def shown_value(value: object) -> str:
    """Return *value* as an error shows it."""
    if isinstance(value, dict | list):
        return "An object or a list"
    return (repr(value) if isinstance(value, str) else json.dumps(value))[:MAX_SHOWN]


M = TypeVar("M", bound=JsonObject)


def read_item(model: type[M], item: object, now: datetime | None = None) -> M:
    """Return *item* as a *model*; *now* checks its times. Raises InvalidItem."""
    try:
        return model.model_validate(item, context=now)
    except ValidationError as error:
        raise _first_problem(model, error) from None


def _first_problem(model: type[JsonObject], error: ValidationError) -> InvalidItem:
    detail = error.errors(include_url=False)[0]
    context, path, given = detail.get("ctx", {}), ".".join(map(str, detail["loc"])), detail["input"]
    cause = context.get("error")
    if isinstance(cause, InvalidItem):
        return InvalidItem(".".join(filter(None, (path, cause.field))), cause.reason, cause.remedy)
    field = {field.alias or name: field for name, field in model.model_fields.items()}.get(path)
    words = {
        **context,
        "subject": model.subject,
        "field": path,
        "value": shown_value(given),
        "example": f", as in {json.dumps(field.examples[0])}" if field and field.examples else "",
        "description": field.description if field else "",
    }
    fallback = ("{value} is not valid.", "/api/docs describes {field}.")
    reason, remedy = (text.format_map(words) for text in _PROBLEMS.get(detail["type"], fallback))
    return InvalidItem(path, reason, remedy)
