"""Check a YAML mapping against a pydantic model, and explain problems in plain words."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.errors import suggest


class InvalidValue(ValueError):
    """Raised for an invalid value, with what is wrong and what to write instead."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}. {instead}")
        self.message, self.suggestion = what, instead


class Shape(BaseModel):
    """One kind of mapping: strict types, no unknown keys. Each field's first example appears in problems."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


M = TypeVar("M", bound=Shape)
_ANYTHING: object = Any

_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "yes or no",
    "list_type": "a list",
    "dict_type": "a mapping of keys and values",
    "date_type": "a date",
}


@dataclass(frozen=True, slots=True)
class Reporting:
    """A block that reports an InvalidValue at *node* and ends there; *called* begins the message."""

    node: Node
    context: ParseContext
    called: str = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, InvalidValue):
            return False
        what = f"{self.called}: {error.message}" if self.called else error.message
        self.context.add_problem(self.node, what, error.suggestion)
        return True


def read_part(model: type[M], node: Node, key: str, context: ParseContext) -> M | None:
    """Return the part of *node* under *key* as `read_shape` does."""
    return read_shape(model, node.part(key), context, f"`{key}`")


def read_shape(model: type[M], node: Node | None, context: ParseContext, called: str) -> M | None:
    """Return *node* as a *model*; None, with the problems reported, if invalid. *called* names it in problems.

    None also without *node*.
    """
    if node is None:
        return None
    if not isinstance(node.value, dict):
        keys = ", ".join(f"`{key}:`" for key in list(keys_of(model))[:4])
        context.add_problem(node, f"{called} needs keys and values below it", f"Write {keys} ... on indented lines.")
        return None
    empty = _empty(model, node)
    for key in empty:
        context.add_problem(node.parts[key], f"`{key}` is empty in {called}", _example(key, keys_of(model)))
    try:
        given = {key: value for key, value in node.value.items() if key not in empty}
        shape = model.model_validate(given, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False)
        accounted = {*empty, *_misspelled(details)}
        for detail in details:
            if detail["type"] == "missing" and detail["loc"][0] in accounted:
                continue
            what, instead = _explain(model, detail, called)
            context.add_problem(node.deepest(detail["loc"]), what, instead)
        return None
    return None if empty else shape


def _misspelled(details: list[ErrorDetails]) -> set[str]:
    """Return the missing keys for which an unknown key is a likely typo: a typo is one problem, not two."""
    missing = [str(detail["loc"][0]) for detail in details if detail["type"] == "missing"]
    unknown = [str(detail["loc"][0]) for detail in details if detail["type"] == "extra_forbidden"]
    return {near for key in unknown for near in get_close_matches(key, missing, n=1)}


def _empty(model: type[Shape], node: Node) -> list[str]:
    """Return the keys without a value; keys of any type are checked by their reader."""
    known = keys_of(model)
    return [
        key for key, value in node.value.items() if value is None and key in known and not known[key].accepts_anything
    ]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One key of a shape: an example, and whether it accepts any value."""

    example: str
    accepts_anything: bool


def keys_of(model: type[Shape]) -> dict[str, KeyInfo]:
    """Return the keys of *model* as written in files."""
    return {
        field.alias or name: KeyInfo(str((field.examples or ["..."])[0]), field.annotation is _ANYTHING)
        for name, field in model.model_fields.items()
    }


def _explain(model: type[Shape], detail: ErrorDetails, called: str) -> tuple[str, str]:
    key = str(detail["loc"][0]) if detail["loc"] else ""
    fields = keys_of(model)
    kind = detail["type"]
    if kind == "extra_forbidden" and detail["input"] is None and " " in key:
        return (
            f"`{key}` is not a key",
            "If it belongs to the text before it, quote the whole text: it contains a comma",
        )
    if kind == "extra_forbidden":
        return f"unknown key `{key}` in {called}", suggest(key, fields)
    example = _example(key, fields)
    if kind == "missing":
        return f"`{key}` is missing in {called}", example
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, InvalidValue):
        return f"`{key}`: {error.message}", error.suggestion
    if kind in ("too_short", "too_long"):
        least = detail.get("ctx", {}).get("min_length", 1)
        return (f"`{key}` has {'too few' if kind == 'too_short' else 'too many'} entries: {least} are needed", example)
    given = detail["input"]
    given = {True: "yes", False: "no"}[given] if isinstance(given, bool) else given
    shown = f"`{given}` " if isinstance(given, str | int | float) else "this "
    return f"`{key}`: {shown}is not {_KINDS.get(kind) or _pydantic_message(detail)}", example


def _pydantic_message(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Input should be ").lower()


def _example(key: str, fields: dict[str, KeyInfo]) -> str:
    return f"Write for example `{key}: {fields[key].example}`." if key in fields else f"Write `{key}: ...`."
