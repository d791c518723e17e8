"""Tell a person's own words from what they quote and how they sign."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_KEPT: Final = 4_000
"""Characters of a reply that are kept."""

_MOST_MARKS: Final = 10
"""Accents and the like on one letter."""

_MOST_LINES: Final = 2_000
_MOST_LINE: Final = 1_000

_WROTE: Final = re.compile(
    r"\b(?:(?P<on>wrote)|(?P<le>a [ée]crit)|(?P<el>escribi[óo])|(?P<il>ha scritto)|(?P<em>escreveu)|"
    r"(?P<dnia>napisał(?:a|\(a\))?)|(?P<am>schrieb)|(?P<op>schreef)|(?P<den>skrev))(?!\w)",
    re.IGNORECASE,
)
_BEGINS: Final = {
    "on": ("on",), "le": ("le",), "el": ("el",), "il": ("il",), "em": ("em",), "dnia": ("w dniu", "dnia"),
    "am": ("am",), "op": ("op",), "den": ("den", "på"),
}  # fmt: skip
"""How an attribution begins that ends in each of those verbs."""

_NAMED_AFTER: Final = frozenset({"am", "op", "den"})
"""Where the name may come after the verb."""

_ADDRESS: Final = re.compile(r"[^<>\s@]{1,64}@[^<>\s@]{1,255}+>")
_MOST_NAMED: Final = 120
_MOST_BETWEEN: Final = 250
_MOST_ATTRIBUTION: Final = 400
_BEGINS_WROTE: Final = re.compile(r"(?:on|am|le|el|il|em|op|den|på|w dniu|dnia)\b", re.IGNORECASE)
_ORIGINAL: Final = re.compile(
    r"(?<!-)-{2,}+ ?(?:original message|ursprüngliche nachricht|originalnachricht|message d'origine"
    r"|mensaje original|"
    r"messaggio originale|mensagem original|oorspronkelijk bericht|originalmeddelande|forwarded message|"
    r"weitergeleitete nachricht|message transféré) ?-{2,}+.*+|(?<!_)_{10,}+",
    re.IGNORECASE,
)
_FROM: Final = re.compile(r"\W{0,3}(?:from|von|de|da|van|från|fra|od)\W{0,3}?:.++", re.IGNORECASE)
_SENT: Final = re.compile(
    r"\W{0,3}(?:sent|date|gesendet|datum|envoy[ée]|enviado(?: el| em)?|fecha|inviato|data|verzonden"
    r"|skickat|sendt|wysłano)\W{0,3}?:.++",
    re.IGNORECASE,
)
_SIGNED: Final = re.compile(
    r"--|(?:sent from (?:my|mail for|outlook)\b|get outlook for\b|sent via\b|sent with\b"
    r"|von meinem .{2,40} gesendet|"
    r"gesendet mit\b|gesendet von\b|outlook für\b|envoyé (?:de(?:puis)?|à partir de)\b|obtenez outlook\b|"
    r"enviado desde\b|obtener outlook\b|inviato da\b|verzonden vanaf\b|verstuurd vanaf\b|skickat från\b|"
    r"sendt fra\b|enviado do meu\b).{0,80}",
    re.IGNORECASE,
)
_UNSEEN: Final = {  # what turns text around, or hides it
    ord(one): None
    for one in "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c"
    "\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
}


class OwnWords(NamedTuple):
    """What a person wrote: *above* the quotation, and in *all*."""

    above: str
    all: str


def own_words(text: str) -> OwnWords:
    """Return a reply's own words, without quotations, signatures and invisible characters."""
    plain = sanitised(text)
    lines = [line[:_MOST_LINE] for line in plain.split("\n")[:_MOST_LINES]]
    cut, width = _quotation(lines)
    above = _unsigned([line for line in lines[:cut] if not _is_quoted(line)])
    after = lines[cut + width :]
    marked = any(_is_quoted(line) for line in after)
    below = (
        _unsigned([line for line in after if not _is_quoted(line) and not _is_boundary(line)])
        if marked
        else ""
    )
    whole = "\n\n".join(one for one in (above, below) if one)
    return OwnWords(above or below, whole[:MOST_KEPT])


def sanitised(text: str) -> str:
    """Return text that shows what it says: no control characters, nothing turned around or hidden."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    text = text.encode("utf-8", "replace").decode("utf-8").translate(_UNSEEN).replace("\u00a0", " ")
    return unicodedata.normalize("NFC", "".join(_shown(text)))


def _shown(text: str) -> Iterator[str]:
    """Yield the characters of a text, a blank for each that is none, and few marks on each.

    To put marks in order takes time by the square of their number.
    """
    marks = 0
    for one in text:
        kind = unicodedata.category(one)
        marks = marks + 1 if kind[0] == "M" else 0
        if marks <= _MOST_MARKS:
            yield " " if kind in ("Cc", "Cs", "Cf") and one != "\n" else one


def _quotation(lines: list[str]) -> tuple[int, int]:
    """Return where the quotation begins, and how many lines announce it."""
    for number, line in enumerate(lines):
        plain = line.strip()
        if not plain or _is_quoted(line):
            continue
        if _ORIGINAL.fullmatch(plain):
            return number, 1
        if _FROM.fullmatch(plain) and any(
            _SENT.fullmatch(one.strip()) for one in lines[number + 1 : number + 4]
        ):
            return number, 1
        if _announces(plain):
            return number, 1
        if _BEGINS_WROTE.match(plain):
            for width in (2, 3, 4):
                joined = " ".join(one.strip() for one in lines[number : number + width])
                if _announces(joined):
                    return number, width
    return len(lines), 0


def _is_quoted(line: str) -> bool:
    return line.lstrip().startswith((">", "|>"))


def _is_boundary(line: str) -> bool:
    return _announces(line.strip())


def _announces(line: str) -> bool:
    """Whether a line says that somebody wrote what follows: "On Monday, Ada <ada@house.example> wrote:"."""
    if not line.endswith(":") or len(line) > _MOST_ATTRIBUTION:
        return False
    lower = line.casefold()
    for verb in _WROTE.finditer(line):
        language = verb.lastgroup or ""
        before, named = line[: verb.start()], line[verb.end() : -1].strip()
        begins = next((one for one in _BEGINS[language] if lower.startswith(one)), "")
        if begins and 4 <= len(before) - len(begins) <= _MOST_BETWEEN:
            after = before[len(begins) :][:1]
            if not after.isalnum() and len(named) <= (_MOST_NAMED if language in _NAMED_AFTER else 0):
                return True
        name, opened, address = before.rstrip().rpartition("<")
        if opened and len(name) >= 4 and not named and _ADDRESS.fullmatch(address):
            return True
    return False


def _unsigned(lines: list[str]) -> str:
    """Cut a signature off; it is none where nothing stands before it."""
    for number, line in enumerate(lines):
        if _SIGNED.fullmatch(line.strip()) and any(one.strip() for one in lines[:number]):
            lines = lines[:number]
            break
        if line.strip() == "--":
            lines = lines[:number]
            break
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()
