"""Text of strangers, made safe to show, and to look up by."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

# Control characters move cursors and set colors; those of direction let text read as what it is not.
_CONTROL_CHARACTERS: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")

MAX_KEY_BYTES: Final = 1_000
"""PostgreSQL takes 2,704 bytes in one entry of an index, which may hold two keys."""


def replace_control_characters(text: str) -> str:
    """Return *text* with a space for each character that does not show; line breaks and tabs stay."""
    return _CONTROL_CHARACTERS.sub(" ", text)


def index_key(text: str) -> str:
    """Return *text* as it is looked up by: its hash where it is over `MAX_KEY_BYTES` in UTF-8."""
    encoded = text.encode(errors="surrogatepass")
    return text if len(encoded) <= MAX_KEY_BYTES else f"sha256:{sha256(encoded).hexdigest()}"
