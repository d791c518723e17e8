"""Parse the text of a cell into a typed value. Each parser raises InvalidCell."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from nurture.domain.address import normalize_address
from nurture.formats.places import is_zone
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words

EMPTY_VALUES: Final = frozenset({"", *read_words("empty")})
"""Texts that mean "no value"."""

_MAX_ADDRESS: Final = 254
_MAX_LOCAL_PART: Final = 64
_MAX_INTEGER: Final = 2_000_000_000  # what an integer column holds

_PLAIN_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9_+'-]+(?:\.[A-Za-z0-9_+'-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
_NUMBER: Final = re.compile(r"(\d[\d.,'\u00a0\u202f ]*)\s*([km])?\b", re.IGNORECASE)
_CLOCK_DURATION: Final = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{2})")
_WORD_DURATION: Final = re.compile(
    r"(?:(\d{1,3})\s*h(?:(?:ou)?rs?)?)?[ ,]*(?:(\d{1,4})\s*m(?:in(?:ute)?s?)?)?[ ,]*"
    r"(?:(\d{1,5})\s*s(?:ec(?:ond)?s?)?)?\.?",
    re.IGNORECASE,
)


def read_address(text: str) -> str:
    """Return the normalized address. Only the syntax is checked, not that the mailbox exists."""
    at = text.find("@")
    if len(text) <= _MAX_ADDRESS and at <= _MAX_LOCAL_PART and _PLAIN_ADDRESS.fullmatch(text):
        return text.lower()
    return _parse_unusual_address(text)


def _parse_unusual_address(text: str) -> str:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - slow, and rarely needed

    shown = text[:80]
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


@lru_cache(maxsize=512)
def read_flag(text: str) -> bool:
    """Return yes or no."""
    meaning = read_words("flag").get(text.casefold())
    if meaning is None:
        raise InvalidCell(f"{text[:60]!r} is neither yes nor no", "write yes or no, or empty the cell")
    return meaning == "yes"


@lru_cache(maxsize=4096)
def read_count(text: str) -> int | None:
    """Return a number of people, for a range ("21-50", "1,000+") its lower end; None without a number."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    digits = found[1].strip(" .,'\u00a0\u202f")
    if re.fullmatch(r"\d+[.,]\d{1,2}", digits):  # 12.5 is a decimal, 1.200 and 1,200 are thousands
        number = float(digits.replace(",", "."))
    else:
        number = float(re.sub(r"\D", "", digits)[:12])
    number *= {"k": 1_000, "m": 1_000_000}.get((found[2] or "").casefold(), 1)
    return int(min(number, _MAX_INTEGER))


@lru_cache(maxsize=4096)
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
    return (first.strip(), last) if first else (last, "")
