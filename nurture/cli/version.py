"""Print the version: `nurture version`."""

from __future__ import annotations

from nurture import __version__
from nurture.cli.output import JsonOption, as_json, out


def version(json: JsonOption = False) -> None:
    """Print the version."""
    if json:
        as_json({"version": __version__})
    else:
        out.print(__version__)
