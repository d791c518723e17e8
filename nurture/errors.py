"""Define all errors as one tree. A class's docstring is its default message and ends with the remedy.

NurtureError                 a person can fix it; the command line prints it and exits with `exit_code`
|-- NotFound                 no lead, track, email, offer of this name
|-- InvalidState             the state does not allow it (already answered, closed, wrong clock)
|-- FileUnreadable           a file that is missing or has the wrong format
|-- Misconfigured            settings or installation
|   |-- DatabaseUnavailable
|   `-- AlreadyRunning
`-- InvalidDefinitions       templates/ has problems; carries all of them
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from traceback import walk_tb
from typing import ClassVar


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return which of the *known* names may have been meant; else *otherwise*, by default all of them."""
    options = sorted(known)
    near = get_close_matches(name, options, n=1)
    return f"Did you mean `{near[0]}`?" if near else otherwise or f"Known: {', '.join(options) or 'none yet'}."


class NurtureError(Exception):
    """Something went wrong that a person can fix."""

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: str | None = None, remedy: str = "") -> None:
        """Keep *reason* and *remedy*, both sentences, for callers that show them apart."""
        self.reason = reason if reason is not None else (self.__doc__ or "").strip()
        self.remedy = remedy
        super().__init__(f"{self.reason} {remedy}" if remedy else self.reason)


class NotFound(NurtureError):
    """Nothing has this name. Check the spelling, or list the existing names."""

    exit_code = 3


class InvalidState(NurtureError):
    """The current state does not allow this. Run `nurture explain LEAD` to see the state."""

    exit_code = 4


class ClockWentBackwards(InvalidState):
    """The clock shows a time before the last one recorded. Correct the system clock and try again."""


class FileUnreadable(NurtureError):
    """This file cannot be read. Check its path and format."""

    exit_code = 5


class Misconfigured(NurtureError):
    """The installation is incomplete. Run `nurture init` to create what is missing."""

    exit_code = 6


class DatabaseUnavailable(Misconfigured):
    """The database cannot be used. Check NURTURE_DATABASE_URL, or run `nurture admin upgrade`."""


class AlreadyRunning(Misconfigured):
    """nurture is already running here. Stop it first, or use another folder."""


class InvalidDefinitions(NurtureError):
    """The files in templates/ have problems. Run `nurture check` to list them."""

    exit_code = 2

    def __init__(self, problems: Sequence[object]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(str(problem) for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the definitions:\n{lines}")


def format_error_chain(error: BaseException) -> str:
    """Return the types of an error and its causes, and where they were raised, for a log.

    Never the messages: those of a database, a parser or a template may quote personal data.
    """
    return ", from ".join(_error_chain(error))


def _error_chain(error: BaseException | None) -> Iterator[str]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        code = getattr(error, "sqlstate", None)
        frames = list(walk_tb(error.__traceback__))[-1:]
        location = "".join(f" at {Path(frame.f_code.co_filename).name}:{line}" for frame, line in frames)
        yield f"{type(error).__name__}{f' {code}' if code else ''}{location}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
