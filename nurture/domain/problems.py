"""What is wrong in a file that people write, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault in one file; prints as "file:line: what. instead"."""

    file: str
    line: int
    message: str
    suggestion: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}. {self.suggestion}"
