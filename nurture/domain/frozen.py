"""Declare the values of which each decision and each email makes many."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make *cls* a dataclass that mypy lets nobody change.

    `dataclass(frozen=True)` also checks it when the program runs, and takes ten times as long to build a value: 2.2 us
    with 16 fields.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
