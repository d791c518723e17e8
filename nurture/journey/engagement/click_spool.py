"""Spool clicks in a folder while the database is unavailable.

One file each, synced to disk, and deleted once the database has it. Reading a file twice does no harm: a click
counts once by its natural key. Files hold a hash of the IP address, never the address.
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
from nurture.journey.engagement.click_filtering import EngagementEvent

MAX_FILES: Final = 500
"""How many files are read at once."""

_log: Final = logging.getLogger(__name__)


def write(folder: Path, event: EngagementEvent) -> None:
    """Write one click; it survives a power failure when this returns. Raises OSError."""
    make_folder(folder)
    name = f"{event.occurred_at:%Y%m%dT%H%M%S}-{token_hex(8)}"
    temporary = folder / f"{name}.tmp"
    with open_private(temporary, "xb") as file:
        file.write(orjson.dumps(event._asdict()))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / f"{name}.json")
    sync_folder(folder)


def list_pending(folder: Path) -> list[Path]:
    """Return the pending files, the oldest first."""
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def drain(folder: Path, record: Callable[[Sequence[EngagementEvent]], object]) -> int:
    """Pass pending clicks to *record* and delete them; return how many. Errors of *record* propagate.

    An unreadable file is renamed and logged.
    """
    total = 0
    while files := list_pending(folder)[:MAX_FILES]:
        read = [(file, _read(file)) for file in files]
        readable = [(file, visited) for file, visited in read if visited is not None]
        if readable:
            record([visited for _, visited in readable])
        for file, _ in readable:
            file.unlink(missing_ok=True)
        total += len(readable)
    return total


def _read(file: Path) -> EngagementEvent | None:
    try:
        values = orjson.loads(file.read_bytes())
        occurred_at = datetime.fromisoformat(values.pop("occurred_at"))
        return EngagementEvent(kind=SignalKind(values.pop("kind")), occurred_at=occurred_at, **values)
    except FileNotFoundError:  # another process has just read it
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        _log.error("spooled_click_unreadable", extra={"file": file.name})
        file.rename(file.with_suffix(".bad"))
        return None
