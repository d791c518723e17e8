"""Extract the text that a person wrote, without quotation and signature."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from nurture.mail.inbound.phrase_patterns import PhrasePattern, load_phrases, normalize

MAX_TEXT: Final = 4_000
"""Characters of a reply that are stored."""

_MAX_MARKS: Final = 10
"""Combining marks on one letter."""

_MAX_LINES: Final = 2_000
_MAX_LINE_LENGTH: Final = 1_000

_WROTE: Final = {
    language: PhrasePattern(r"\b(?:{wrote})(?!\w)", (language,))
    for language in ("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "pl")
}
"""Verbs of attributions that name no address; with an address and a date no language is needed."""

_COLONS: Final = (":", "\uff1a")
_SOME_ADDRESS: Final = re.compile(r"[^\s<>()\[\]@,;:\"]{1,64}@[^\s<>()\[\]@,;:\"]{1,100}+")
_NUMBER: Final = re.compile(r"\d++")
_YEAR_AND_TIME: Final = re.compile(
    r"(?<!\d)20\d\d(?!\d).{0,60}?(?<!\d)\d{1,2}[:.]\d\d|\d{1,2}[:.]\d\d.{0,60}?(?<!\d)20\d\d(?!\d)"
)
_LABEL: Final = re.compile(r"\W{0,3}[^\W\d][^:\uff1a\n]{0,30}[:\uff1a][ \t]{0,9}\S")
_MAX_ATTRIBUTION_LINES: Final = 4
_MIN_LABELS, _MAX_LABELS = 3, 6
_SUBJECT_PREFIX: Final = re.compile(r"[^:\uff1a]{1,20}[:\uff1a]")
_ADDRESS: Final = re.compile(r"[^<>\s@]{1,64}@[^<>\s@]{1,255}+>")
_MAX_NAME_LENGTH: Final = 120
_MAX_MIDDLE_LENGTH: Final = 250
_MAX_ATTRIBUTION_LENGTH: Final = 400
_ATTRIBUTION_START: Final = PhrasePattern(r"(?:{wrote_start})\b")
_ORIGINAL_MESSAGE: Final = PhrasePattern(r"(?<!-)-{2,}+ ?(?:{original_message}) ?-{2,}+.*+|(?<!_)_{10,}+")
_FROM: Final = PhrasePattern(r"\W{0,3}(?:{from})\W{0,3}?:.++")
_SENT: Final = PhrasePattern(r"\W{0,3}(?:{sent})\W{0,3}?:.++")
_SIGNATURE: Final = PhrasePattern(r"--|(?:{signature}).{0,80}")
_INVISIBLE: Final = {  # reverse or hide text
    ord(one): None
    for one in "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
}


class OwnText(NamedTuple):
    """A person's own text: *above_quotation*, and in *full*."""

    above_quotation: str
    full: str


def extract_own_text(text: str, subject: str = "", sender: str = "") -> OwnText:
    """Return a reply's own text, without quotations, signatures and invisible characters.

    A quotation is found by phrases, and by signs that need no language: an address that is not the *sender's*, with
    numbers and a colon; a block of labels with such an address, and with a time or the *subject*.
    """
    plain = sanitize_text(text)
    lines = [line[:_MAX_LINE_LENGTH] for line in plain.split("\n")[:_MAX_LINES]]
    quotation_start, width = _find_quotation(lines, subject, sender)
    above = _strip_signature([line for line in lines[:quotation_start] if not _is_quoted(line)])
    after = lines[quotation_start + width :]
    has_quoted_lines = any(_is_quoted(line) for line in after)
    below = (
        _strip_signature([line for line in after if not _is_quoted(line) and not _is_attribution(line.strip())])
        if has_quoted_lines
        else ""
    )
    full = "\n\n".join(part for part in (above, below) if part)
    return OwnText(above or below, full[:MAX_TEXT])


def sanitize_text(text: str) -> str:
    """Return normalized text without control characters and without characters that reverse or hide text."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    text = text.encode("utf-8", "replace").decode("utf-8").translate(_INVISIBLE).replace("\u00a0", " ")
    return unicodedata.normalize("NFC", "".join(_visible_characters(text)))


def _visible_characters(text: str) -> Iterator[str]:
    """Yield the characters of a text, a blank for each control character, and few combining marks on each.

    Unicode normalization takes quadratic time in the number of marks.
    """
    marks = 0
    for character in text:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind[0] == "M" else 0
        if marks <= _MAX_MARKS:
            yield " " if kind in ("Cc", "Cs", "Cf") and character != "\n" else character


def _find_quotation(lines: list[str], subject: str, sender: str) -> tuple[int, int]:
    """Return the line at which the quotation begins, and the number of its attribution lines."""
    for number, line in enumerate(lines):
        plain = line.strip()
        if plain.endswith(_COLONS) and (start := _attribution_start(lines, number, sender)) is not None:
            return start, number - start + 1
        if not plain or _is_quoted(line):
            continue
        if _ORIGINAL_MESSAGE.compiled.fullmatch(plain):
            return number, 1
        if _FROM.compiled.fullmatch(plain) and any(
            _SENT.compiled.fullmatch(one.strip()) for one in lines[number + 1 : number + 4]
        ):
            return number, 1
        if _is_attribution(plain) or _is_header_block(lines, number, subject, sender):
            return number, 1
        if _ATTRIBUTION_START.compiled.match(plain):
            for width in (2, 3, 4):
                joined = " ".join(one.strip() for one in lines[number : number + width])
                if _is_attribution(joined):
                    return number, width
    return len(lines), 0


def _attribution_start(lines: Sequence[str], end: int, sender: str) -> int | None:
    """Return the first line of an attribution that ends at line *end* with a colon, None if it is none.

    It holds an address and the numbers of a date, in any language, and may be wrapped.
    """
    for start in range(end, max(-1, end - _MAX_ATTRIBUTION_LINES), -1):
        if not lines[start].strip():
            return None
        joined = "".join(lines[start : end + 1])[: _MAX_ATTRIBUTION_LENGTH + 1]
        address = _SOME_ADDRESS.search(joined)
        if address is None or len(joined) > _MAX_ATTRIBUTION_LENGTH or address[0].lower() == sender:
            continue
        if len(_NUMBER.findall(joined.replace(address[0], ""))) > 1:
            return start
    return None


def _is_header_block(lines: Sequence[str], number: int, subject: str, sender: str) -> bool:
    """Return whether the headers of a quoted mail begin here, with labels in any language, after an empty line."""
    if number and lines[number - 1].strip(" \t_-*"):
        return False
    block = []
    for line in lines[number : number + _MAX_LABELS]:
        if _LABEL.match(line) is None:
            break
        block.append(line)
    if len(block) < _MIN_LABELS:
        return False
    addresses = [one[0].lower() for line in block[:2] for one in _SOME_ADDRESS.finditer(line)]
    if not addresses or sender in addresses:
        return False
    ours = normalize(_SUBJECT_PREFIX.sub("", subject, count=1))
    return any(_YEAR_AND_TIME.search(line) or (ours.strip() and ours in normalize(line)) for line in block)


def find_contact(text: str, sender: str) -> str:
    """Return the person that a text names, with name and address as far as they are known; "" without one."""
    address = next((one[0].strip(".") for one in _SOME_ADDRESS.finditer(text) if one[0].lower() != sender), "")
    name = next((name for line in text.split("\n") if (name := _find_name(line))), "")
    return (f"{name} <{address}>" if name and address else name or address)[:_MAX_NAME_LENGTH]


def _find_name(line: str) -> str:
    """Return two or more words in a row that begin with capitals; a line of nothing else is a signature."""
    words = line.split()
    run: list[str] = []
    if line.rstrip().endswith(",") and len(words) < 6:  # a greeting
        return ""
    for position, written in enumerate([*words, ""]):
        word = written.strip("().,;:!?\"'")
        if word[:1].isupper() and word[1:2].islower():
            run.append(word)
            if written[-1] in ".,;:!?)" or position + 1 == len(words):
                if len(run) > 1 and len(run) < len(words):
                    return " ".join(run)
                run = []
        else:
            if len(run) > 1 and len(run) < len(words):
                return " ".join(run)
            run = []
    return ""


def _is_quoted(line: str) -> bool:
    return line.lstrip().startswith((">", "|>"))


def _is_attribution(line: str) -> bool:
    """Return whether a line introduces a quotation, as in "On Monday, Ada <ada@example.org> wrote:"."""
    if not line.endswith(":") or len(line) > _MAX_ATTRIBUTION_LENGTH:
        return False
    return any(
        _introduces(line, verb, load_phrases(language))
        for language, wrote in _WROTE.items()
        for verb in wrote.compiled.finditer(line)
    )


def _introduces(line: str, verb: re.Match[str], phrases: Mapping[str, Any]) -> bool:
    before, named = line[: verb.start()], line[verb.end() : -1].strip()
    start = next((one for one in phrases["wrote_start"] if before.casefold().startswith(one)), "")
    if start and 4 <= len(before) - len(start) <= _MAX_MIDDLE_LENGTH:
        after = before[len(start) :][:1]
        if not after.isalnum() and len(named) <= (_MAX_NAME_LENGTH if phrases.get("name_follows") else 0):
            return True
    name, bracket, address = before.rstrip().rpartition("<")
    return bool(bracket) and len(name) >= 4 and not named and _ADDRESS.fullmatch(address) is not None


def _strip_signature(lines: list[str]) -> str:
    """Remove the signature; a signature phrase on the first line is text."""
    for number, line in enumerate(lines):
        if _SIGNATURE.compiled.fullmatch(line.strip()) and any(one.strip() for one in lines[:number]):
            lines = lines[:number]
            break
        if line.strip() == "--":
            lines = lines[:number]
            break
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()
