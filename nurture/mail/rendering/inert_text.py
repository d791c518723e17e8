"""Make what strangers wrote inert where people in sales read it: no link, no mention, no markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_WEB: Final = re.compile(r"(?:https?|ftps?)://|www\.", re.IGNORECASE)
_SCHEME: Final = re.compile(r"://|(?<![a-z])(?:mailto|tel|sms|file|data|javascript):(?=\S)", re.IGNORECASE)
_SHARE: Final = re.compile(r"\\\\(?=\w)")
_DOT: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")
_MARKUP: Final = str.maketrans({one: chr(ord(one) + 0xFEE0) for one in "[]<>@*`~|\\#"})
_ENTITY: Final = re.compile(r"&(?=#?\w++;)")
_EMPHASIS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore that is not within a word, as the names of our fields have them."""


def unlinked(text: str) -> str:
    """Return text in which mail programs find no link to make clickable; plain email addresses stay."""
    return "".join(_word(word) for word in re.split(r"(\s+)", text))


def _word(word: str) -> str:
    if _WEB.search(word):
        return _WEB.sub(_defanged, word)
    if "://" in word or ":" in word or "\\" in word:
        word = _SHARE.sub(r"[\\\\]", _SCHEME.sub(lambda found: found[0].replace(":", "[:]"), word))
    # A bare domain is made a link too: acme.example/login.
    return word if "@" in word else _DOT.sub("[.]", word)


def _defanged(found: re.Match[str]) -> str:
    return found[0].lower().replace("tt", "xx").replace("ftp", "fxp").replace(".", "[.]")


def unlinked_values(value: Any) -> Any:
    """Return the values of a template with every text in them unlinked."""
    if isinstance(value, str):
        return unlinked(value)
    if isinstance(value, Mapping):
        return {name: unlinked_values(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [unlinked_values(one) for one in value]
    return value


def unmarked(text: str) -> str:
    """Return text on one line in which no chat program finds a link, a mention or formatting.

    Slack, Teams, Discord and the others each read another markup: its signs become their full-width forms.
    """
    plain = _ENTITY.sub("\N{FULLWIDTH AMPERSAND}", " ".join(unlinked(text).split()))
    return _EMPHASIS.sub("\N{FULLWIDTH LOW LINE}", plain).translate(_MARKUP)
