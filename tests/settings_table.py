"""Write the table of settings into docs/operators.md: `.venv/bin/python -m tests.settings_table`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nurture.settings import MODELS
from nurture.settings_model import Variable

COMMAND: Final = ".venv/bin/python -m tests.settings_table"
PAGE: Final = Path(__file__).parents[1] / "docs/operators.md"
_HEAD: Final = "| Variable | Default | Meaning |\n|---|---|---|\n"
_WORDS: Final = {"": "none", "True": "`yes`", "False": "`no`"}


def list_settings() -> list[Variable]:
    """Return every setting with its default and description."""
    return [variable for model in MODELS for variable in model.variables()]


def table() -> str:
    """Return the table of all settings: the common ones, then those of each provider."""
    return _HEAD + "".join(map(_row, list_settings()))


def _row(variable: Variable) -> str:
    default = _WORDS.get(variable.default, f"`{variable.default}`")
    return f"| `{variable.name}` | {default} | {variable.description} |\n"


def updated(page: str) -> str:
    """Return *page* with the current table in place of its own."""
    before, _, rest = page.partition(_HEAD)
    after = rest[rest.index("\n\n") + 1 :]
    return before + table() + after


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
