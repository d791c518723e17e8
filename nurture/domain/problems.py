"""Describe a problem in a definition file, and how to fix it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in one file; prints as "file:line: message. suggestion". A warning does not stop publishing."""

    file: str
    line: int
    message: str
    suggestion: str
    is_warning: bool = False

    def __str__(self) -> str:
        warning = "warning: " if self.is_warning else ""
        return f"{self.file}:{self.line}: {warning}{self.message}. {self.suggestion}"


def faults(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems that are not warnings."""
    return [problem for problem in problems if not problem.is_warning]
