"""Build regular expressions from the phrases of each language in `phrases/`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from nurture.formats.languages import LANGUAGES

_FOLDER: Final = Path(__file__).parent / "phrases"
_KIND: Final = re.compile(r"\{([a-z_]{1,30})\}")


@dataclass(frozen=True)
class PhrasePattern:
    """A regular expression in which `{kind}` stands for the phrases of that kind in *languages*.

    It ignores case. It is compiled at first use, because most processes read no mail.
    """

    template: str
    languages: Sequence[str] = LANGUAGES

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """Return the compiled expression."""
        return re.compile(_KIND.sub(lambda found: "|".join(self._phrases(found[1])), self.template), re.IGNORECASE)

    def _phrases(self, kind: str) -> dict[str, None]:
        return dict.fromkeys(
            phrase for language in self.languages for phrase in load_phrases(language).get(kind, ())
        )  # without duplicates, in order


@cache
def load_phrases(language: str) -> dict[str, Any]:
    """Return the phrases of *language* by kind; `{name}` in an opt-out is replaced by the file's part of that name."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - where mail is read

    phrases: dict[str, Any] = YAML(typ="safe").load((_FOLDER / f"{language}.yaml").read_text("utf-8"))
    for name, part in phrases.get("parts", {}).items():
        phrases["opt_out"] = [phrase.replace(f"{{{name}}}", part) for phrase in phrases["opt_out"]]
    return phrases
