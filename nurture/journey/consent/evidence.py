"""Check the evidence of an opt-in or of consent that a person records."""

import re
from typing import Final

from nurture.errors import InvalidState

MAX_EVIDENCE_LENGTH: Final = 500
_MIN_WORDS: Final = 3
_MIN_CHARACTERS: Final = 6  # in scripts without spaces between words
_ADDRESS_WITHIN: Final = re.compile(r"\S@\S")


def validate_evidence(text: str) -> str:
    """Return evidence as it is stored. Raises InvalidState if it is too short or contains an email address."""
    plain = " ".join(text.split())
    if _ADDRESS_WITHIN.search(plain):
        raise InvalidState("The evidence contains an email address. Write without it how and when the lead opted in.")
    if len(plain) > MAX_EVIDENCE_LENGTH:
        raise InvalidState(f"The evidence is longer than {MAX_EVIDENCE_LENGTH} characters. Shorten it.")
    words = {word.casefold() for word in re.findall(r"[^\W\d_]{2,}", plain)}
    characters = sum("\u2e80" <= character <= "\ud7ff" for character in plain)
    if len(words) < _MIN_WORDS and characters < _MIN_CHARACTERS:
        raise InvalidState(
            f"{plain!r} is not enough evidence. Write how and when the lead opted in, as in "
            "'asked for it on the phone on March 3'."
        )
    return plain
