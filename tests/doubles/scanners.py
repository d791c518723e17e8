"""Request traces of link scanners, one per known kind.

Modeled on mail gateways, click-time checks and image proxies: they request within seconds of delivery, or again
when the mail leaves quarantine; some identify themselves, most pose as a browser; they follow every link, also to
our own pages; they never post.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple

CHROME: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"
EDGE: Final = CHROME + " Edg/140.0"
LINKS: Final = ("1", "2", "3")
"""The link numbers of the scanned mail."""

HONEYPOT: Final = "0"
PAGES: Final = ("unsubscribe", "preferences")


class ScannerRequest(NamedTuple):
    """One request: seconds after delivery, method, target (link number, page or pixel) and source."""

    after: float
    method: str
    target: str
    agent: str
    address: str


Scanner = Callable[[int, Random], Iterator[ScannerRequest]]


def _gateway(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Identify itself and request every link with HEAD, then GET."""
    name = chance.choice(("BarracudaCentral", "Mimecast-URL-Protect/2.0", "Proofpoint urlscan", "curl/8.5.0"))
    for number, target in enumerate((*LINKS, HONEYPOT, *PAGES, "pixel")):
        for method in ("HEAD", "GET"):
            yield ScannerRequest(1 + number * 0.3, method, target, name, f"8.8.{lead % 9}.1")


def _browser_like(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Pose as a browser and open all links at once, each from another address."""
    begin = chance.uniform(1, 6)
    for number, target in enumerate((*LINKS, HONEYPOT, *PAGES)):
        yield ScannerRequest(begin + number * 0.15, "GET", target, CHROME, f"8.8.{lead % 200}.{10 + number}")


def _quarantine(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Open all visible links when the mail leaves quarantine, long after delivery."""
    begin = chance.uniform(600, 4_000)
    for number, target in enumerate((*LINKS, *PAGES)):
        yield ScannerRequest(begin + number * 0.4, "GET", target, EDGE, f"8.8.4.{lead % 250}")


def _click_time(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Check a link on hover: HEAD, then GET, and again an hour later."""
    for begin in (chance.uniform(30, 90), chance.uniform(3_600, 4_000)):
        target = chance.choice(LINKS)
        yield ScannerRequest(begin, "HEAD", target, CHROME, f"8.8.8.{lead % 250}")
        yield ScannerRequest(begin + 0.5, "GET", target, CHROME, f"8.8.8.{lead % 250}")


def _detonation(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Follow one link in a real browser within seconds, unidentified."""
    yield ScannerRequest(chance.uniform(0.5, 9), "GET", chance.choice(LINKS), CHROME, f"8.8.16.{lead % 250}")


def _company(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Follow one link of each mail to the same company, minutes after delivery, in quick succession."""
    yield ScannerRequest(300 + chance.uniform(0, 4), "GET", "1", EDGE, f"8.8.32.{lead % 250}")


def _proxy(_lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Fetch the images, as mail programs prefetch them."""
    agent = chance.choice(("Mozilla/5.0", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) (via ggpht.com GoogleImageProxy)"))
    yield ScannerRequest(chance.uniform(1, 60), "GET", "pixel", agent, "8.8.64.1")


def _prober(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Send requests with every other method, without our forms."""
    for number, method in enumerate(("OPTIONS", "HEAD", "PUT", "DELETE", "PATCH")):
        for target in (*LINKS[:1], *PAGES):
            yield ScannerRequest(5 + number, method, target, "python-requests/2.32", f"8.8.128.{lead % 250}")


def _single_visit(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Follow a single link in a browser an hour later; indistinguishable from a human."""
    yield ScannerRequest(chance.uniform(3_000, 9_000), "GET", chance.choice(LINKS), CHROME, f"8.9.{lead % 200}.7")


SCANNERS: Final[tuple[Scanner, ...]] = (
    _gateway,
    _browser_like,
    _quarantine,
    _click_time,
    _detonation,
    _company,
    _prober,
)
"""The traces that can be distinguished from humans; `SINGLE_VISIT` cannot."""

SINGLE_VISIT: Final = _single_visit
_SINGLE_VISIT_ONE_IN: Final = 20


def scanner_requests(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Return the requests for the mail of the *lead*-th lead, including an image proxy."""
    yield from _proxy(lead, chance)
    yield from SCANNERS[lead // COMPANY % len(SCANNERS)](lead, chance)
    if lead % _SINGLE_VISIT_ONE_IN == 0:
        yield from _single_visit(lead, chance)


COMPANY: Final = 4
"""The number of consecutive leads that work for one company."""
