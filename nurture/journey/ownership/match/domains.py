"""Registrable domains of email addresses and websites, by the public suffix list."""

from functools import cache, lru_cache
from typing import Final

from publicsuffixlist import PublicSuffixList

from nurture.domain.address import normalize_address
from nurture.formats.mail_domains import is_shared_domain
from nurture.formats.tables import read_words
from nurture.journey.ownership.match.names import parse_name

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


@lru_cache(maxsize=65_536)
def site_domain(website: str) -> str:
    """Return the company domain of a website, "" for a page at a platform such as an app store or a social network."""
    domain = company_domain(website)
    return "" if is_platform(domain) else domain


def is_platform(domain: str) -> bool:
    """Return whether many companies have pages at *domain*; `amazon.*` in `words.csv` stands for all its endings."""
    platforms = read_words("platform_domain")
    return domain in platforms or f"{domain_label(domain)}.*" in platforms


def is_own_domain(domain: str, company: str) -> bool:
    """Return whether a company has *domain* for itself: a platform's domain belongs to the company that it names."""
    return not is_platform(domain) or domain_label(domain) in parse_name(company).key


def domain_label(domain: str) -> str:
    """Return a domain without its public suffix: `contoso` for contoso.co.uk."""
    return domain.partition(".")[0]
