"""Define the fields of leads, and the text of a missing field in emails."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class FieldType(StrEnum):
    """The type of a field's values."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    YES_NO = "yes/no"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    """A field of leads. Values of type date are ISO text.

    *columns* are the columns of files that hold it, besides those with its name or label. Emails show *fallback* for
    a lead without the field. *choices* are the values of a choice. The values of a *personal* field are not listed.
    """

    name: str
    type: FieldType = FieldType.TEXT
    label: str = ""
    columns: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    fallback: str = ""
    personal: bool = False
    is_built_in: bool = False


Fields = Mapping[str, FieldDefinition]
"""Fields by name."""

COMPUTED: Final = frozenset({"full_name"})
"""Fields that only emails have: they are computed from others."""


class MissingText(str):
    """A missing field: false and empty in every test of a template, but it prints its text, the fallback."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return other == ""

    __hash__ = str.__hash__
