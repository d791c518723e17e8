"""Registrable domains of email addresses and websites, by the public suffix list."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from publicsuffixlist import PublicSuffixList

from nurture.domain.address import normalize_address
from nurture.formats.mail_domains import is_shared_domain

_MAX_LENGTH: Final = 253


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # the list in the package; nothing is downloaded


@lru_cache(maxsize=65_536)
def registrable_domain(text: str) -> str:
    """Return the registrable domain of an email address, a host or a URL; "" if there is none.

    `nora@mail.contoso.co.uk` and `https://www.contoso.co.uk/about` both give `contoso.co.uk`.
    """
    host = text.strip().rpartition("@")[2] if "://" not in text else text.strip().partition("://")[2]
    host = host.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2].partition(":")[0]
    host = normalize_address("a@" + host)[2:].strip(".") if host else ""
    if "." not in host or len(host) > _MAX_LENGTH or any(not part for part in host.split(".")):
        return ""
    if host.replace(".", "").isdigit() or not all(letter.isalnum() or letter in ".-_" for letter in host):
        return ""
    return _suffixes().privatesuffix(host) or ""


@lru_cache(maxsize=65_536)
def company_domain(text: str) -> str:
    """Return the registrable domain, "" for a free mail domain."""
    domain = registrable_domain(text)
    return "" if is_shared_domain(domain) else domain


def domain_label(domain: str) -> str:
    """Return a domain without its public suffix: `contoso` for contoso.co.uk."""
    return domain.partition(".")[0]
