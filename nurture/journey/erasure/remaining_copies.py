"""Find the files and systems that an erasure cannot clear, for manual follow-up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from nurture.journey.erasure.queries import SentMessage
from nurture.mail.providers.registry import is_local
from nurture.mail.rendering.mime import safe_file_name
from nurture.outbox.messages import TO_NOTIFIER
from nurture.runtime.context import AppContext

MAX_FILE_SIZE: Final = 256 * 1024 * 1024
"""Larger files are listed without being read, if they may contain people."""

_CHUNK_SIZE: Final = 1024 * 1024
_MAILDIR_FOLDERS: Final = ("new", "cur", "html")


def find_files(
    folders: Collection[Path], sent: Sequence[SentMessage], search_terms: Collection[str], excluded: Collection[Path]
) -> list[str]:
    """Return the files in *folders*, except *excluded*, that contain a message of *sent* or one of *search_terms*."""
    mails = {safe_file_name(one.send_key) for one in sent}
    needles = [word.lower().encode() for word in search_terms if word]

    def is_match(path: Path) -> bool:
        return _is_mail(path, mails) if _in_maildir(path) else _contains(path, needles)

    candidates = {path for folder in folders for path in _iterate_files(folder)}
    return sorted(str(path) for path in candidates if path.resolve() not in excluded and is_match(path))


def list_systems(ctx: AppContext, sent: Sequence[SentMessage], records: Sequence[tuple[str, str]]) -> list[str]:
    """Return the other systems that know the person: mail providers, mailboxes of reps, notifiers, the CRM."""
    senders = {one.provider for one in sent if one.provider and one.recipient != TO_NOTIFIER}
    reps = sorted({one.rep for one in sent if one.rep and one.recipient != TO_NOTIFIER})
    notice_targets = sorted({one.email for one in sent if one.recipient == TO_NOTIFIER})
    lines = [f"{name}: recipient lists, logs and suppressions" for name in sorted(senders) if not is_local(name)]
    lines += [f"{crm}: record {id_}" for crm, id_ in records]
    lines += [f"the mailbox of rep {rep}: mail about this lead" for rep in reps]
    lines += [f"{target}: notices about this lead" for target in notice_targets]
    if ctx.reply_domain or ctx.inbox is not None:
        lines.append("the mailbox or service that receives replies: mail from this person")
    return lines


def _iterate_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, recursively except for the working directory."""
    return (path for path in (folder.glob("*") if folder == Path() else folder.rglob("*")) if path.is_file())


def _in_maildir(path: Path) -> bool:
    return path.parent.name in _MAILDIR_FOLDERS and path.suffix != ".csv"


def _is_mail(path: Path, names: Collection[str]) -> bool:
    name = path.name.partition(":")[0]
    return name.removesuffix(".eml").removesuffix(".html") in names


def _contains(path: Path, needles: Sequence[bytes]) -> bool:
    """Return whether a file contains one of *needles*, ignoring case; True for an unreadable file."""
    longest = max(map(len, needles), default=0)
    try:
        if not needles or path.stat().st_size > MAX_FILE_SIZE:
            return False
        with path.open("rb") as file:
            overlap = b""
            while chunk := file.read(_CHUNK_SIZE):
                text = (overlap + chunk).lower()
                if any(needle in text for needle in needles):
                    return True
                overlap = chunk[-longest:]
    except OSError:
        return True
    return False
