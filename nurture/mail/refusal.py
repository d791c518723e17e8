"""Judge why a mail server refused an email: no such mailbox, or a block of the sender or of the content."""

import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

_PHRASES: Final = Path(__file__).with_name("refusal_phrases.yaml")
_MAX_REPLY: Final = 4_000
_ENHANCED: Final = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_NOISE: Final = re.compile(
    r"https?://[^\s<>]*+"
    r"|(?<![^\s<>(\[\"':;,=])[^\s<>()\[\]\"':;,=@]{1,100}@[\w.-]++"
    r"|(?<![\w.-])[45]\d\d[- ]#?[245]\.\d{1,3}\.\d{1,3}(?!\d)|(?<![\w.-])[45]\d\d(?=[- ])"
    r"|(?<![\w-])[\w-]{1,63}+\.(?:[\w-]{1,63}+\.?){1,9}+",
    re.IGNORECASE,
)
"""What may contain any word by chance: URLs, addresses, codes, host names."""

_ADDRESS, _POLICY = 1, 7
"""Subjects of enhanced codes (RFC 3463)."""

_GENERAL_FAILURE: Final = "5.0.0"
_SENDER_CODES: Final = ((1, 7), (1, 8))
_DISABLED_MAILBOX: Final = (2, 1)
_FULL_CODES: Final = ((2, 2), (2, 3), (3, 4))
_FIRST_WITHOUT_SPACES: Final = "\u3000"
"""From this character on, scripts do not separate words."""


class Refusal(StrEnum):
    """Why a server refused an email."""

    ABSENT = "absent"  # the address does not exist
    BLOCKED = "blocked"  # because of the sender or the content
    AMBIGUOUS = "ambiguous"  # one of the two
    OTHER = "other"  # a full mailbox, a temporary failure, or no known reason


def judge_refusal(status: str, reply: str) -> Refusal:
    """Judge a refusal by the enhanced code that counts and by the server's *reply* (any length, untrusted).

    Words of a block count before codes and words that say that the address does not exist.
    """
    code_class, subject, detail = map(int, (find_enhanced_status(status, reply) or _GENERAL_FAILURE).split("."))
    words = " ".join(_NOISE.sub(" ", reply[:_MAX_REPLY]).casefold().split())
    return _judge(code_class, subject, detail, words)


def find_enhanced_status(status: str, reply: str) -> str:
    """Return the enhanced code (RFC 3463) that counts, or "".

    A relay quotes the server that refused: the last code in *reply* counts, and *status* only if there is none.
    """
    codes = _ENHANCED.findall(reply[:_MAX_REPLY]) or _ENHANCED.findall(status[:100])
    return codes[-1] if codes else ""


def _judge(code_class: int, subject: int, detail: int, words: str) -> Refusal:
    if _says("blocked", words) or (subject, detail) in _SENDER_CODES:
        return Refusal.BLOCKED
    says_absent = _says("absent", words)
    if subject == _POLICY:  # some servers use 5.7.1 for everything
        return Refusal.AMBIGUOUS if says_absent and code_class == 5 else Refusal.BLOCKED
    if code_class != 5 or (subject, detail) in _FULL_CODES or _says("full", words):
        return Refusal.OTHER
    if _says("ambiguous", words):
        return Refusal.AMBIGUOUS
    if says_absent or subject == _ADDRESS or (subject, detail) == _DISABLED_MAILBOX:
        return Refusal.ABSENT
    return Refusal.AMBIGUOUS if _says("refused", words) else Refusal.OTHER


def _says(kind: str, words: str) -> bool:
    return bool(words) and phrase_patterns()[kind].search(words) is not None


@cache
def phrase_patterns() -> dict[str, re.Pattern[str]]:
    """Return the patterns by kind; they are compiled at first use, because most processes judge nothing."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - see above

    phrases: dict[str, list[str]] = YAML(typ="safe").load(_PHRASES.read_text("utf-8"))
    return {kind: re.compile("|".join(map(_bounded, some))) for kind, some in phrases.items()}


def _bounded(phrase: str) -> str:
    first = next(filter(str.isalpha, phrase))
    return rf"\b(?:{phrase})" if first < _FIRST_WITHOUT_SPACES else f"(?:{phrase})"
