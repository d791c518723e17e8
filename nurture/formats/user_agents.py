"""Recognize the program that made a request by its user agent.

`data/words.csv` lists what scanners of mail and programs call themselves; crawlers are from `crawler-user-agents`.
"""

import re
from functools import lru_cache
from typing import Final

from nurture.domain.scoring.click_filtering import AgentType
from nurture.formats.tables import read_words

_BROWSERS: Final = ("mozilla/", "opera/")
_BARE_MOZILLA: Final = re.compile(r"mozilla/\d\.\d")  # all that Apple's proxy sends
_BOT: Final = re.compile(r"bot\b")


@lru_cache(maxsize=16_384)
def classify_user_agent(user_agent: str | None) -> AgentType:
    """Classify the program of a user agent; None means that it was not reported to us."""
    if user_agent is None:
        return AgentType.UNKNOWN
    text = user_agent.strip().lower()
    if not text:
        return AgentType.MISSING
    named = {meaning for word, meaning in read_words("user_agent").items() if word in text}
    if "proxy" in named or _BARE_MOZILLA.fullmatch(text):
        return AgentType.PROXY
    if named or not text.startswith(_BROWSERS) or _BOT.search(text) or _is_crawler(user_agent):
        return AgentType.SCANNER
    return AgentType.BROWSER


def _is_crawler(user_agent: str) -> bool:
    # Loads 500 KB, and compares for a millisecond.
    from crawleruseragents import is_crawler  # type: ignore[import-untyped]  # noqa: PLC0415

    return bool(is_crawler(user_agent))
