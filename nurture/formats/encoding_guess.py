"""Guess the encoding of text that is not UTF-8, and repair text that was encoded twice."""

import re
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Final

from nurture.formats.tables import read_table

_CANDIDATES: Final = (  # words of the first that have no fault are the strongest evidence
    ("cp1251", "cp1253", "koi8_r"),
    ("cp932", "gb18030", "euc_jp", "cp949", "big5"),
    ("cp1252", "mac_roman", "cp1250", "cp1254", "cp850"),
)
_NAMES: Final = {"mac_roman": "Mac Roman", "cp932": "Shift-JIS"}
_WORD: Final = re.compile(r"[^\s,;|\t\"()\[\]<>@/]*[^\x00-\x7f][^\s,;|\t\"()\[\]<>@/]*")
_MARKS: Final = ".!?:'*-\u2018\u2019\u201c\u201d\u201e\xab\xbb\u2013\u2014\u2026\xae\u2122\u20ac"
_IDEOGRAPH: Final = re.compile("[\u3005-\u30ff\u4e00-\u9fff\uff10-\uff5a]{2,}|[\uac00-\ud7a3]{2,}")

_CONTINUATION: Final = "".join(
    {bytes([byte]).decode("cp1252", "replace").replace("\ufffd", chr(byte)) for byte in range(0x80, 0xC0)}
)
_TWICE: Final = re.compile(f"(?:[\u00c2-\u00f4][{re.escape(_CONTINUATION)}]{{1,3}})+")
_ONE_LETTER: Final = re.compile("[\u00a0-\u017f\u2010-\u203a\u20ac\u2122]+")
_MORE_LETTERS: Final = re.compile("[\u0370-\u045f\u05d0-\u05ea\u0621-\u064a\u3040-\u9fff\uac00-\ud7a3]{2,}")


def guess_encoding(sample: bytes) -> str:
    """Return the encoding in which the words of *sample*, lines with bytes outside ASCII, look most like words."""
    from charset_normalizer import from_bytes  # noqa: PLC0415 - only files of old encodings need it

    matches = from_bytes(sample, cp_isolation=[*chain(*_CANDIDATES)], threshold=1.0)
    mess = {name: one.chaos for one in matches for name in one.could_be_from_charset}
    found: list[tuple[tuple[int, bool, int, float], str]] = []
    for rank, names in enumerate(_CANDIDATES):
        for name in names:
            with suppress(UnicodeDecodeError):
                bad, mixed = _implausibility(sample.decode(name))
                found.append(((bad, mixed, rank, mess.get(name, 1.0)), name))
    return min(found, key=lambda one: one[0])[1] if found else "cp1252"


def _implausibility(text: str) -> tuple[int, bool]:
    """Return how many words are none, and whether the text needs the letters of several languages."""
    words = _WORD.findall(text)
    special = {
        letter for word in words for letter in word.casefold() if letter.isalpha() and "\x7f" < letter < "\u3000"
    }
    return sum(not _is_word(word) for word in words), not any(special <= alphabet for alphabet in _alphabets())


def encoding_label(name: str) -> str:
    """Return the name of an encoding as people know it."""
    return _NAMES.get(name, name.replace("cp125", "Windows-125"))


def _is_word(word: str) -> bool:
    """Return whether a word is of one script and of one language's letters, with its capitals in front."""
    for before, letter, after in zip(f" {word}", word, f"{word[1:]} ", strict=False):
        if not letter.isascii() and letter.isupper() and (before.islower() or (before.isalpha() and after.islower())):
            return False
    inner = word.strip(_MARKS)
    special = {letter for letter in inner.casefold() if not letter.isascii()} - {"\u2019"}
    if len(inner) == 1:
        return False
    if _IDEOGRAPH.fullmatch(inner) or not special:
        return True
    letters = [letter for letter in inner if letter.isalpha()]
    if any(special <= alphabet for alphabet in _alphabets()):
        foreign = sum(not letter.isascii() for letter in letters)
        return foreign == len(letters) or not min(special) > "\u0250"
    return False


@cache
def _alphabets() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(row["letters"]) for row in read_table("alphabets.csv"))


def is_encoded_twice(text: str) -> bool:
    """Return whether *text* has UTF-8 that was read as Windows-1252 and encoded again, as in "MÃ¼ller"."""
    return any(_repair(found) != found.group() for found in _TWICE.finditer(text))


def repair(text: str) -> str:
    """Return *text* with what was provably encoded twice as it was meant."""
    return text if text.isascii() else _TWICE.sub(_repair, text)


def _repair(found: re.Match[str]) -> str:
    text = found.group()
    raw = b"".join(_byte(letter) for letter in text)
    try:
        meant = raw.decode("utf-8")
    except UnicodeDecodeError:
        return text
    return meant if _ONE_LETTER.fullmatch(meant) or _MORE_LETTERS.fullmatch(meant) else text


def _byte(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")
