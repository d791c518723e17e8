"""Find a person, and export all that is stored about it: what an erasure clears, retains, or leaves to a person."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nurture.domain.address import normalize_address
from nurture.journey.erasure import queries
from nurture.journey.erasure.queries import SentMessage
from nurture.journey.leads import find, suppression_queries
from nurture.mail.providers.registry import PROVIDERS
from nurture.mail.rendering.mime import safe_file_name
from nurture.outbox.messages import TO_NOTIFIER
from nurture.runtime.context import AppContext
from nurture.settings_model import is_local

MAX_FILE_SIZE: Final = 256 * 1024 * 1024
"""Larger files are listed without being read, if they may contain people."""

_CHUNK_SIZE: Final = 1024 * 1024

_MAILDIR_FOLDERS: Final = ("new", "cur", "html")


@dataclass(frozen=True, slots=True)
class Person:
    """A lead, or an address without one, with all *spellings* of the address and the *normal* one."""

    lead: int | None
    address: int | None = None
    normal: str = ""
    spellings: frozenset[str] = frozenset()


def find_person(ctx: AppContext, identifier: str) -> Person:
    """Return the lead, or the address without a lead, with this *identifier*. Raises NotFound."""
    normal = normalize_address(identifier)
    with ctx.database.read() as tx:
        found = suppression_queries.find_address(tx, normal) if "@" in identifier else None
    if found is not None and found[1] is None:
        return Person(None, found[0], normal, _spellings(identifier.strip(), normal))
    lead_id = find.find_lead(ctx, identifier)
    with ctx.database.read() as tx:
        address = queries.load_address(tx, lead_id)
    if address is None:
        return Person(lead_id)
    return Person(lead_id, address.address_id, address.normalized, _spellings(address.email, address.normalized))


def _spellings(*written: str) -> frozenset[str]:
    """Return an address as it may occur in texts and in the query of a URL."""
    return frozenset(spelled for one in written for spelled in (one, one.replace("@", "%40")))


@dataclass(frozen=True, slots=True)
class PersonalData:
    """What is stored about a person.

    *rows* are the rows by table, all times in UTC. *mentions* are the ids, by table, of rows about other people or of
    raw batches that contain the address. *ambiguous_leads* may be this person: rows that matched it and another lead.
    """

    lead: int | None
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    mentions: Mapping[str, Sequence[str]]
    ambiguous_leads: Sequence[int]


def export_person(ctx: AppContext, identifier: str) -> PersonalData:
    """Return all that is stored about the lead, or the address without a lead, with this *identifier*.

    Reads the whole database once, as an erasure does. Raises NotFound.
    """
    person = find_person(ctx, identifier)
    with ctx.database.read() as tx:
        rows = queries.load_personal_rows(tx, person.lead, person.address)
        mentioned = queries.find_mentions(tx, person.spellings) if person.spellings else {}
        ambiguous = queries.find_ambiguous(tx, [person.lead or 0], [person.normal])
    shown = {table: {str(row[0]) for row in found} for table, found in rows.items()}
    mentions = {
        table.name: [key for row in keys if (key := "/".join(map(str, row))) not in shown.get(table.name, ())]
        for table, keys in mentioned.items()
    }
    return PersonalData(
        person.lead,
        {table: [values for _, values in found] for table, found in rows.items()},
        {table: keys for table, keys in mentions.items() if keys},
        ambiguous,
    )


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
    elsewhere = [name for name in sorted(senders) if not is_local(PROVIDERS, name)]
    lines = [f"{name}: recipient lists, logs and suppressions" for name in elsewhere]
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
