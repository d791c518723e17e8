"""Make text from outside safe to display, short enough to index, and plain enough to compare."""

import re
import unicodedata
from hashlib import sha256
from typing import Final

# Control characters move the cursor and set colors; bidirectional ones make text display as something else.
_CONTROL_CHARACTERS: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")

MAX_KEY_BYTES: Final = 1_000
"""A PostgreSQL index entry holds at most 2,704 bytes, and may contain two keys."""

_BYTES_PER_CHARACTER: Final = 4  # at most


def replace_control_characters(text: str) -> str:
    """Replace each control character of *text* with a space, except line breaks and tabs."""
    return _CONTROL_CHARACTERS.sub(" ", text)


def strip_accents(text: str) -> str:
    """Return *text* without accents and other marks; what remains is decomposed (NFKD)."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def index_key(text: str) -> str:
    """Return *text* as an index key: its hash if it is over `MAX_KEY_BYTES` in UTF-8."""
    if len(text) <= MAX_KEY_BYTES // _BYTES_PER_CHARACTER:
        return text
    encoded = text.encode(errors="surrogatepass")
    return text if len(encoded) <= MAX_KEY_BYTES else f"sha256:{sha256(encoded).hexdigest()}"
