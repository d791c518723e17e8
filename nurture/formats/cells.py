"""Parse the text of a cell into a typed value. Each parser raises InvalidCell."""

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from nurture.domain.address import normalize_address
from nurture.formats.places import is_zone
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words

EMPTY_VALUES: Final = frozenset({"", *read_words("empty")})
"""Texts that mean "no value"."""

PLACEHOLDERS: Final = EMPTY_VALUES | read_words("placeholder").keys()
"""Texts that forms and systems write into a field that nobody filled in."""

_MAX_PLACEHOLDER: Final = max(map(len, PLACEHOLDERS))
_NAME_PLACEHOLDERS: Final = PLACEHOLDERS | read_words("name_placeholder").keys()
_ALSO_NAMES: Final = frozenset({"na", "nan", "nil", "null", "none"})  # are names in title case
_MERGE_TAG: Final = re.compile(r"[\[{<%*|].*[\]}>%*|]|\$\w+|\$\{.*\}")
_TAG_STARTS: Final = frozenset("{[<%*$")
_UNFILLED_TAG: Final = re.compile(  # of an email or a form: {{company}}, *|FNAME|*, %%city%%, ${city}, {!Lead.City}
    r"\{\{[^{}]{1,80}\}\}|\{[%!][^{}]{1,80}\}|\$\{[^{}]{1,80}\}|\*\|[^|]{1,80}\|\*|<%.{1,80}%>|\[%.{1,80}%\]"
    r"|%%?[A-Za-z_.]{2,80}%%?|\[\[[^]]{1,80}\]\]"
)
_EAST_ASIAN: Final = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3\u3000 ]+")
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_MAYBE_INVISIBLE: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
_INVISIBLE: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
    "|(?<![^\0-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\0-\x7f])"  # between letters of some scripts they matter
)

_MAX_ADDRESS: Final = 254
_MAX_LOCAL_PART: Final = 64
_MAX_SEARCHED: Final = 2_000  # characters of a cell that are searched for addresses

_PLAIN_ADDRESS: Final = re.compile(  # possessive: no letter is tried twice
    r"[A-Za-z0-9_+'-]++(?:\.[A-Za-z0-9_+'-]++)*+@(?:(?!-)[A-Za-z0-9-]{1,63}+(?<!-)\.)+[A-Za-z]{2,63}"
)
_PLAIN_ADDRESSES: Final = re.compile(rf"(?:(?=[^@\n]{{1,{_MAX_LOCAL_PART}}}@){_PLAIN_ADDRESS.pattern}\n)*+")
_WRAPPED_ADDRESS: Final = re.compile(  # Ana <a@c1.example>, mailto:a@c1.example?subject=x, a@c1.example.
    r"(?:[^<>@]{0,200}<\s*)?(?:mailto:)?([^<>@\s?]+@[^<>@\s?]+?)(?:\?[^<>]*)?[.,;]?\s*>?[.,;]?", re.IGNORECASE
)
_CLOCK_DURATION: Final = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{2})")
_WORD_DURATION: Final = re.compile(
    r"(?:(\d{1,3})\s*(?:h(?:(?:ou)?rs?)?|std|stunden?|heures?|horas?|ore|uur)\.?)?[ ,]*"
    r"(?:(\d{1,4})\s*m(?:in(?:ut[aeino]*|uten)?s?)?\.?)?[ ,]*"
    r"(?:(\d{1,5})\s*s(?:ec(?:ond)?s?|ek(?:unden?)?|econdes?|egundos?)?)?\.?",
    re.IGNORECASE,
)


def clean_cells(cells: list[str]) -> list[str]:
    """Return *cells* without invisible characters and with HTML entities decoded."""
    row = "\n".join(cells)
    if row.isascii():
        return [_decode_entities(cell) for cell in cells] if "&" in row else cells
    if "&" not in row and _MAYBE_INVISIBLE.search(row) is None:
        return cells
    return [strip_invisible(_decode_entities(cell)) for cell in cells]


def strip_invisible(text: str) -> str:
    """Return *text* without characters that show nothing or turn the direction of writing."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def _decode_entities(text: str) -> str:
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def is_placeholder(text: str) -> bool:
    """Return whether a stripped text stands for no value: "n/a", a merge tag, or no letter and no digit."""
    if text[0] in _TAG_STARTS and _UNFILLED_TAG.fullmatch(text):
        return True
    if len(text) > _MAX_PLACEHOLDER:
        return False
    return text.casefold() in PLACEHOLDERS or not (text[0].isalnum() or any(map(str.isalnum, text)))


def read_name(text: str) -> str | None:
    """Return a first, last or full name; None for a placeholder of any system, and for a name with lost letters."""
    folded = text.casefold()
    if folded in _ALSO_NAMES:
        return text if text.istitle() else None
    no_name = folded in _NAME_PLACEHOLDERS or _MERGE_TAG.fullmatch(text) or "\ufffd" in text
    return None if no_name or not any(map(str.isalpha, text)) else text


def read_country(text: str) -> str | None:
    """Return the text of a country; NA is Namibia, and other placeholders are None."""
    return None if text.casefold() != "na" and is_placeholder(text) else text


def read_address(text: str) -> str:
    """Return the normalized address. Only the syntax is checked, not that the mailbox exists."""
    return text.lower() if is_plain_address(text) else _parse_unusual_address(text)


def is_plain_address(text: str) -> bool:
    """Return whether *text* is an address of ASCII letters without quotes, as most are."""
    return (
        len(text) <= _MAX_ADDRESS and text.find("@") <= _MAX_LOCAL_PART and _PLAIN_ADDRESS.fullmatch(text) is not None
    )


def read_plain_addresses(texts: Sequence[str]) -> list[str] | None:
    """Return the normalized addresses of *texts* if all of them are plain, None if one is not; in one pass."""
    lines = "\n".join((*texts, ""))
    if max(map(len, texts), default=0) > _MAX_ADDRESS or _PLAIN_ADDRESSES.fullmatch(lines) is None:
        return None
    found = lines.lower().split("\n")
    return found[:-1] if len(found) == len(texts) + 1 else None


def find_addresses(text: str) -> list[str]:
    """Return every plain address in *text*, normalized."""
    return [found[0].lower() for found in _PLAIN_ADDRESS.finditer(text[:_MAX_SEARCHED])]


def _parse_unusual_address(text: str) -> str:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - slow, and rarely needed

    shown = text[:80]
    if found := _WRAPPED_ADDRESS.fullmatch(text):
        text = found[1]
    if text.count("@") > 1 and re.search(r"[;,\s]", text):
        raise InvalidCell(f"{shown!r} contains several addresses", "keep one, and give each of the others its own row")
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False, strict=True)
    except (EmailNotValidError, ValueError) as error:
        raise InvalidCell(
            f"{shown!r} is not an email address ({_first_sentence(str(error))})",
            "write it like name@example.com, or empty the cell",
        ) from error
    if "." not in checked.ascii_domain:
        raise InvalidCell(
            f"{shown!r} is not an email address (its domain has no dot)", "write it like name@example.com"
        )
    return normalize_address(f"{checked.local_part}@{checked.ascii_domain}")


def _first_sentence(text: str) -> str:
    return text.split(". ", 1)[0].strip(" .")[:120]


def read_phone(text: str) -> str:
    """Return a phone number without the mark that lead forms put before it: `p:+49 30 1234`."""
    return text.removeprefix("p:").strip()


def read_attendance(text: str) -> bool | None:
    """Return whether somebody attended; None for a registration of which it is not known."""
    meaning = read_words("attendance").get(text.casefold())
    return read_flag(text) if meaning is None else {"yes": True, "no": False}.get(meaning)


def is_registration(text: str) -> bool:
    """Return whether the status of an attendee says that it is registered, and no more."""
    return read_words("attendance").get(text.casefold()) == "registered"


def read_flag(text: str) -> bool:
    """Return yes or no."""
    meaning = read_words("flag").get(text.casefold())
    if meaning is None:
        raise InvalidCell(f"{text[:60]!r} is neither yes nor no", "write yes or no, or empty the cell")
    return meaning == "yes"


def read_minutes(text: str) -> int | None:
    """Return whole minutes of 64, 64.5, 1:04:30, "1 hour 4 minutes"; None for any other text."""
    if re.fullmatch(r"\d{1,6}(?:[.,]\d+)?", text, re.ASCII):
        return int(float(text.replace(",", ".")))
    if found := _CLOCK_DURATION.fullmatch(text):
        first, second, third = int(found[1] or 0), int(found[2]), int(found[3])
        # Two parts are minutes and seconds, as in exports of webinar platforms.
        return first * 60 + second + third // 60
    found = _WORD_DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    return int(found[1] or 0) * 60 + int(found[2] or 0) + int(found[3] or 0) // 60


@lru_cache(maxsize=1024)
def read_zone(text: str) -> str:
    """Return an IANA zone, also from "(GMT+01:00) ... (Europe/Berlin)" and america_slash_new_york."""
    inner = re.search(r"\(([A-Za-z_]+/[A-Za-z_/+-]+)\)\s*$", text)
    name = inner[1] if inner else text
    for candidate in (name, _from_slug(name)):
        if is_zone(candidate):
            return candidate
    raise InvalidCell(f"time zone {text[:60]!r} does not exist", "write one like Europe/Berlin")


def _from_slug(text: str) -> str:
    parts = text.casefold().replace("_slash_", "/").replace(" ", "_").replace("_hyphen_", "-").split("/")
    return "/".join("_".join(word.capitalize() for word in part.split("_")) for part in parts)


def read_response(text: str) -> str | None:
    """Return what a lead asked or answered; None for zero, no and similar texts."""
    return None if text.casefold() in EMPTY_VALUES or text.casefold() in {"0", "no", "false"} else text


def split_name(text: str) -> tuple[str, str]:
    """Split a full name, also "Last, First", into first and last name."""
    last, comma, first = (part.strip() for part in text.partition(","))
    if comma and first:
        return first, last
    first, _, last = text.replace(",", " ").strip().rpartition(" ")
    if first and _EAST_ASIAN.fullmatch(text):
        return last, first.strip()  # the family name stands first
    return (first.strip(), last) if first else (last, "")


def other_name(full: str, known: str) -> str:
    """Return the words of a full name without those of the *known* first or last name; "Vorname, Name": all of it."""
    rest = [word.casefold() for word in known.split()]
    words = [word for word in full.replace(",", " ").split() if word.casefold() not in rest]
    return " ".join(words)
