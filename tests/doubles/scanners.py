"""What machines do with mail before, and instead of, its readers: one trace for each kind that is known.

Written down from what mail gateways, click-time checks and image proxies do: they ask within seconds of
delivery, or once more when the mail is let out of quarantine; some say who they are, most pass for a browser;
they follow every link, those to our pages too; they never post.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple

CHROME: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"
EDGE: Final = CHROME + " Edg/140.0"
LINKS: Final = ("1", "2", "3")
"""The numbers of the links in the mail that is looked at."""

HONEYPOT: Final = "0"
PAGES: Final = ("unsubscribe", "preferences")


class ScannerRequest(NamedTuple):
    """One request: seconds after delivery, how, for what (a link's number, a page, the pixel), from where."""

    after: float
    method: str
    target: str
    agent: str
    address: str


Scanner = Callable[[int, Random], Iterator[ScannerRequest]]


def _gateway(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Say who it is, and look at everything with HEAD, then GET."""
    name = chance.choice(("BarracudaCentral", "Mimecast-URL-Protect/2.0", "Proofpoint urlscan", "curl/8.5.0"))
    for number, target in enumerate((*LINKS, HONEYPOT, *PAGES, "pixel")):
        for method in ("HEAD", "GET"):
            yield ScannerRequest(1 + number * 0.3, method, target, name, f"8.8.{lead % 9}.1")


def _browser_like(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Pass for a browser, and open everything at once, from an address of its own each time."""
    begin = chance.uniform(1, 6)
    for number, target in enumerate((*LINKS, HONEYPOT, *PAGES)):
        yield ScannerRequest(begin + number * 0.15, "GET", target, CHROME, f"8.8.{lead % 200}.{10 + number}")


def _quarantine(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Open everything when the mail is let out, long after delivery; not the link that is not shown."""
    begin = chance.uniform(600, 4_000)
    for number, target in enumerate((*LINKS, *PAGES)):
        yield ScannerRequest(begin + number * 0.4, "GET", target, EDGE, f"8.8.4.{lead % 250}")


def _click_time(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Check a link when it is hovered over: HEAD, then GET, and again an hour later."""
    for begin in (chance.uniform(30, 90), chance.uniform(3_600, 4_000)):
        target = chance.choice(LINKS)
        yield ScannerRequest(begin, "HEAD", target, CHROME, f"8.8.8.{lead % 250}")
        yield ScannerRequest(begin + 0.5, "GET", target, CHROME, f"8.8.8.{lead % 250}")


def _detonation(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Follow one link in a real browser within seconds, without a word of who it is."""
    yield ScannerRequest(chance.uniform(0.5, 9), "GET", chance.choice(LINKS), CHROME, f"8.8.16.{lead % 250}")


def _company(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Follow one link of each mail to the same company, minutes after delivery, one right after the other."""
    yield ScannerRequest(300 + chance.uniform(0, 4), "GET", "1", EDGE, f"8.8.32.{lead % 250}")


def _proxy(_lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Fetch the pictures, as mail programs do for everybody."""
    agent = chance.choice(("Mozilla/5.0", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) (via ggpht.com GoogleImageProxy)"))
    yield ScannerRequest(chance.uniform(1, 60), "GET", "pixel", agent, "8.8.64.1")


def _prober(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Ask with every other method, and with none of our forms."""
    for number, method in enumerate(("OPTIONS", "HEAD", "PUT", "DELETE", "PATCH")):
        for target in (*LINKS[:1], *PAGES):
            yield ScannerRequest(5 + number, method, target, "python-requests/2.32", f"8.8.128.{lead % 250}")


def _single_visit(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Follow one link in a browser, an hour later, alone: nobody can tell this from its reader."""
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
"""Those that can be distinguished from people; `SINGLE_VISIT` cannot."""

SINGLE_VISIT: Final = _single_visit
_SINGLE_VISIT_ONE_IN: Final = 20


def scanner_requests(lead: int, chance: Random) -> Iterator[ScannerRequest]:
    """Return what is done with the mail of the *lead*-th lead; each has an image proxy besides."""
    yield from _proxy(lead, chance)
    yield from SCANNERS[lead // COMPANY % len(SCANNERS)](lead, chance)
    if lead % _SINGLE_VISIT_ONE_IN == 0:
        yield from _single_visit(lead, chance)


COMPANY: Final = 4
"""So many leads, one after the other, work for one company."""
