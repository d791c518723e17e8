"""Describe a problem in a definition file, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in one file; prints as "file:line: message. suggestion"."""

    file: str
    line: int
    message: str
    suggestion: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}. {self.suggestion}"
