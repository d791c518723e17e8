"""The fixed words of layouts, such as "Unsubscribe", in the language of an email."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

_FILE: Final = Path(__file__).with_name("layout_words.yaml")
_DEFAULT: Final = "en"
_WRITTEN: Final = {"no": "nb", "nn": "nb"}

LAYOUT_VARIABLES: Final = frozenset({"language", "words.unsubscribe", "words.or", "words.preferences"})
"""The code of the email's language, and its words, as layouts use them."""


def layout_words(language: str) -> Mapping[str, str]:
    """Return the words of a language, by its code; those of English if the table lacks it."""
    table = _load_words()
    return table.get(_WRITTEN.get(language, language), table[_DEFAULT])


@cache
def _load_words() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = YAML(typ="safe").load(_FILE.read_text("utf-8"))
    return found
