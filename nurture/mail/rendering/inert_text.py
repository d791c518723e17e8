"""Neutralize links, mentions and markup in untrusted text that is shown to sales."""

import re
from collections.abc import Mapping
from typing import Any, Final

_WEB: Final = re.compile(r"(?:https?|ftps?)://|www\.", re.IGNORECASE)
_SCHEME: Final = re.compile(r"://|(?<![a-z])(?:mailto|tel|sms|file|data|javascript):(?=\S)", re.IGNORECASE)
_UNC_PATH: Final = re.compile(r"\\\\(?=\w)")
_DOT: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")
_MARKUP: Final = str.maketrans({one: chr(ord(one) + 0xFEE0) for one in "[]<>@*`~|\\#"})
_ENTITY: Final = re.compile(r"&(?=#?\w++;)")
_EMPHASIS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore outside of a word; field names contain underscores."""


def defang_links(text: str) -> str:
    """Return text in which mail programs detect no links; email addresses stay unchanged."""
    return "".join(_defang_word(word) for word in re.split(r"(\s+)", text))


def _defang_word(word: str) -> str:
    if _WEB.search(word):
        return _WEB.sub(_defang_url, word)
    if "://" in word or ":" in word or "\\" in word:
        word = _UNC_PATH.sub(r"[\\\\]", _SCHEME.sub(lambda found: found[0].replace(":", "[:]"), word))
    # Mail programs also link bare domains such as acme.example/login.
    return word if "@" in word else _DOT.sub("[.]", word)


def _defang_url(match: re.Match[str]) -> str:
    return match[0].lower().replace("tt", "xx").replace("ftp", "fxp").replace(".", "[.]")


def defang_values(value: Any) -> Any:
    """Return template values with `defang_links` applied to every string."""
    if isinstance(value, str):
        return defang_links(value)
    if isinstance(value, Mapping):
        return {name: defang_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [defang_values(one) for one in value]
    return value


def escape_markup(text: str) -> str:
    """Return text on one line in which chat programs detect no link, mention or formatting.

    The markup characters of Slack, Teams, Discord and others become their full-width forms.
    """
    plain = _ENTITY.sub("\N{FULLWIDTH AMPERSAND}", " ".join(defang_links(text).split()))
    return _EMPHASIS.sub("\N{FULLWIDTH LOW LINE}", plain).translate(_MARKUP)
