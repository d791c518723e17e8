"""Show the names of emails, steps and queues to people who did not give them."""

import re
from typing import Final

_NUMBER: Final = re.compile(r"(?<![^-])\d+[a-z]?-(?=\D)")


def readable(name: str) -> str:
    """Return a name such as `04-when-do-you-decide` as words: without its number and hyphens."""
    return _NUMBER.sub("", name).replace("-", " ").replace("_", " ")


def readable_title(name: str) -> str:
    """Return a name such as `manager-decision` as words that begin with a capital."""
    words = readable(name)
    return words[:1].upper() + words[1:]
