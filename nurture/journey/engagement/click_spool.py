"""Keep clicks in a folder, for the moments in which the database has no time for them.

One file each, flushed to disk before it counts and deleted once the database has it. Reading one twice does
no harm: a visit counts once, by its natural key. No address is in it: the door hands on a mark of one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

import orjson

from nurture.domain.signals import SignalKind
from nurture.files import make_folder, open_private, sync_folder
from nurture.journey.engagement.click_filtering import Visited

MOST: Final = 500
"""How many files are read at once."""

_log: Final = logging.getLogger(__name__)


def put(folder: Path, visited: Visited) -> None:
    """Write one visit; when this returns it outlives a power cut. Raises OSError."""
    make_folder(folder)
    name = f"{visited.occurred_at:%Y%m%dT%H%M%S}-{token_hex(8)}"
    draft = folder / f"{name}.tmp"
    with open_private(draft, "xb") as file:
        file.write(orjson.dumps(visited._asdict()))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / f"{name}.json")
    sync_folder(folder)


def waiting(folder: Path) -> list[Path]:
    """Return the files that wait, the oldest first."""
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def drain(folder: Path, record: Callable[[Sequence[Visited]], object]) -> int:
    """Hand what waits to *record* and delete it; return how many there were. What it raises is raised.

    A file that cannot be read is put aside under another name, and said in the log.
    """
    total = 0
    while files := waiting(folder)[:MOST]:
        read = [(file, _read(file)) for file in files]
        good = [(file, visited) for file, visited in read if visited is not None]
        if good:
            record([visited for _, visited in good])
        for file, _ in good:
            file.unlink(missing_ok=True)
        total += len(good)
    return total


def _read(file: Path) -> Visited | None:
    try:
        told = orjson.loads(file.read_bytes())
        moment = datetime.fromisoformat(told.pop("occurred_at"))
        return Visited(kind=SignalKind(told.pop("kind")), occurred_at=moment, **told)
    except FileNotFoundError:  # somebody else has just read it
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        _log.error("spooled_click_unreadable", extra={"file": file.name})
        file.rename(file.with_suffix(".bad"))
        return None
