"""Print the version: `nurture version`."""

from __future__ import annotations

from nurture import __version__
from nurture.cli.output import JsonOption, out, print_json


def version(json: JsonOption = False) -> None:
    """Print the version."""
    if json:
        print_json({"version": __version__})
    else:
        out.print(__version__)
