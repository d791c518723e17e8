"""Find the pages: every file in `nurture/console/pages/` defines one as `PAGE`."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from nurture.console import pages
from nurture.console.page import Page


def load_pages() -> Sequence[Page[Any]]:
    """Return every page, in the order of the navigation."""
    found: list[Page[Any]] = [
        import_module(f"{pages.__name__}.{one.name}").PAGE for one in iter_modules(pages.__path__)
    ]
    return sorted(found, key=lambda page: (page.order, page.path))
