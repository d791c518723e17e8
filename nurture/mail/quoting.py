"""Tell a person's own words from what they quote and how they sign."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

MOST_KEPT: Final = 4_000
"""Characters of a reply that are kept."""

_MOST_LINES: Final = 2_000
_MOST_LINE: Final = 1_000

_WROTE: Final = re.compile(
    r"(?:"
    r"on\b.{4,250}\bwrote|am\b.{4,250}\bschrieb\b.{0,120}|le\b.{4,250}\ba [ée]crit"
    r"|el\b.{4,250}\bescribi[óo]|"
    r"il\b.{4,250}\bha scritto|em\b.{4,250}\bescreveu|op\b.{4,250}\bschreef\b.{0,120}|"
    r"(?:den|på)\b.{4,250}\bskrev\b.{0,120}|(?:w dniu\b|dnia\b).{4,250}\bnapisał(?:a|\(a\))?|"
    r".{4,200}<[^<>\s@]+@[^<>\s@]+>\s*(?:wrote|schrieb|a [ée]crit|escribi[óo]|ha scritto|escreveu"
    r"|schreef|skrev)"
    r")\s*:",
    re.IGNORECASE,
)
_BEGINS_WROTE: Final = re.compile(r"(?:on|am|le|el|il|em|op|den|på|w dniu|dnia)\b", re.IGNORECASE)
_ORIGINAL: Final = re.compile(
    r"-{2,}\s*(?:original message|ursprüngliche nachricht|originalnachricht|message d'origine"
    r"|mensaje original|"
    r"messaggio originale|mensagem original|oorspronkelijk bericht|originalmeddelande|forwarded message|"
    r"weitergeleitete nachricht|message transféré)\s*-{2,}.*|_{10,}",
    re.IGNORECASE,
)
_FROM: Final = re.compile(
    r"\W{0,3}(?:from|von|de|da|van|från|fra|od)\W{0,2}\s?:\W{0,3}\s*\S.*", re.IGNORECASE
)
_SENT: Final = re.compile(
    r"\W{0,3}(?:sent|date|gesendet|datum|envoy[ée]|enviado(?: el| em)?|fecha|inviato|data|verzonden"
    r"|skickat|"
    r"sendt|wysłano)\W{0,2}\s?:\W{0,3}\s*\S.*",
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
    kept = "".join(
        one if one == "\n" or unicodedata.category(one) not in ("Cc", "Cs", "Cf") else " " for one in text
    )
    return unicodedata.normalize("NFC", kept)


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
        if _WROTE.fullmatch(plain):
            return number, 1
        if _BEGINS_WROTE.match(plain):
            for width in (2, 3, 4):
                joined = " ".join(one.strip() for one in lines[number : number + width])
                if _WROTE.fullmatch(joined):
                    return number, width
    return len(lines), 0


def _is_quoted(line: str) -> bool:
    return line.lstrip().startswith((">", "|>"))


def _is_boundary(line: str) -> bool:
    return bool(_WROTE.fullmatch(line.strip()))


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
