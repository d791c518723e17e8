"""Text of strangers, made safe to show."""

from __future__ import annotations

import re
from typing import Final

# Control characters move cursors and set colours; those of direction let text read as what it is not.
_UNSHOWN: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


def plain(text: str) -> str:
    """Return *text* with a space for each character that does not show; line breaks and tabs stay."""
    return _UNSHOWN.sub(" ", text)
