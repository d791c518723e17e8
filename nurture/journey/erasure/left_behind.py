"""Find what an erasure cannot clear: files, other systems and copies that a person must see to by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from nurture.journey.erasure.queries import Carried
from nurture.mail.rendering.mime import file_name
from nurture.runtime.context import House

LARGEST: Final = 256 * 1024 * 1024
"""Files that are larger are named without being read, if they may hold people."""

_CHUNK: Final = 1024 * 1024
_MAILDIR: Final = ("new", "cur", "html")


def files(
    folders: Collection[Path], sent: Sequence[Carried], words: Collection[str], ours: Collection[Path]
) -> list[str]:
    """Return the files below *folders* that hold a mail of *sent*, or one of *words*; *ours* are left out."""
    mails = {file_name(one.send_key) for one in sent}
    needles = [word.lower().encode() for word in words if word]

    def holds(path: Path) -> bool:
        return _is_mail(path, mails) if _in_maildir(path) else _holds(path, needles)

    below = {path for folder in folders for path in _below(folder)}
    return sorted(str(path) for path in below if path.resolve() not in ours and holds(path))


def systems(house: House, sent: Sequence[Carried], records: Sequence[tuple[str, str]]) -> list[str]:
    """Return where else the person is known: who carried mail, who was told of the lead, the CRM."""
    carriers = sorted({one.provider for one in sent if one.provider and one.kind != "notice"} - {"mailbox"})
    reps = sorted({one.rep for one in sent if one.rep and one.kind != "notice"})
    places = sorted({one.email for one in sent if one.kind == "notice"})
    lines = [f"{name}: its lists of recipients, its log, its suppressions" for name in carriers]
    lines += [f"{crm}: record {id_}" for crm, id_ in records]
    lines += [f"the mailbox of rep {rep}: what it was told of this lead" for rep in reps]
    lines += [f"{place}: notices about this lead" for place in places]
    if house.reply_domain or house.inbox is not None:
        lines.append("the mailbox or service that receives answers: mail from this person")
    return lines


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder of ours; of the working folder those that lie in it itself."""
    return (path for path in (folder.glob("*") if folder == Path() else folder.rglob("*")) if path.is_file())


def _in_maildir(path: Path) -> bool:
    return path.parent.name in _MAILDIR and path.suffix != ".csv"


def _is_mail(path: Path, mails: Collection[str]) -> bool:
    name = path.name.partition(":")[0]
    return name.removesuffix(".eml").removesuffix(".html") in mails


def _holds(path: Path, needles: Sequence[bytes]) -> bool:
    """Say whether a file holds one of *needles*, in capitals or not; an unreadable one may."""
    longest = max(map(len, needles), default=0)
    try:
        if not needles or path.stat().st_size > LARGEST:
            return False
        with path.open("rb") as file:
            before = b""
            while chunk := file.read(_CHUNK):
                text = (before + chunk).lower()
                if any(needle in text for needle in needles):
                    return True
                before = chunk[-longest:]
    except OSError:
        return True
    return False
