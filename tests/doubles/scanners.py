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

UNSEEN: Final = "0"
PAGES: Final = ("unsubscribe", "preferences")


class Look(NamedTuple):
    """One request: seconds after delivery, how, for what (a link's number, a page, the pixel), from where."""

    after: float
    method: str
    what: str
    agent: str
    address: str


Scanner = Callable[[int, Random], Iterator[Look]]


def _gateway(lead: int, chance: Random) -> Iterator[Look]:
    """Say who it is, and look at everything with HEAD, then GET."""
    name = chance.choice(("BarracudaCentral", "Mimecast-URL-Protect/2.0", "Proofpoint urlscan", "curl/8.5.0"))
    for place, what in enumerate((*LINKS, UNSEEN, *PAGES, "pixel")):
        for method in ("HEAD", "GET"):
            yield Look(1 + place * 0.3, method, what, name, f"8.8.{lead % 9}.1")


def _disguised(lead: int, chance: Random) -> Iterator[Look]:
    """Pass for a browser, and open everything at once, from an address of its own each time."""
    begin = chance.uniform(1, 6)
    for place, what in enumerate((*LINKS, UNSEEN, *PAGES)):
        yield Look(begin + place * 0.15, "GET", what, CHROME, f"8.8.{lead % 200}.{10 + place}")


def _quarantine(lead: int, chance: Random) -> Iterator[Look]:
    """Open everything when the mail is let out, long after delivery; not the link that is not shown."""
    begin = chance.uniform(600, 4_000)
    for place, what in enumerate((*LINKS, *PAGES)):
        yield Look(begin + place * 0.4, "GET", what, EDGE, f"8.8.4.{lead % 250}")


def _click_time(lead: int, chance: Random) -> Iterator[Look]:
    """Check a link when it is hovered over: HEAD, then GET, and again an hour later."""
    for begin in (chance.uniform(30, 90), chance.uniform(3_600, 4_000)):
        what = chance.choice(LINKS)
        yield Look(begin, "HEAD", what, CHROME, f"8.8.8.{lead % 250}")
        yield Look(begin + 0.5, "GET", what, CHROME, f"8.8.8.{lead % 250}")


def _detonation(lead: int, chance: Random) -> Iterator[Look]:
    """Follow one link in a real browser within seconds, without a word of who it is."""
    yield Look(chance.uniform(0.5, 9), "GET", chance.choice(LINKS), CHROME, f"8.8.16.{lead % 250}")


def _company(lead: int, chance: Random) -> Iterator[Look]:
    """Follow one link of each mail to the same company, minutes after delivery, one right after the other."""
    yield Look(300 + chance.uniform(0, 4), "GET", "1", EDGE, f"8.8.32.{lead % 250}")


def _proxy(_lead: int, chance: Random) -> Iterator[Look]:
    """Fetch the pictures, as mail programs do for everybody."""
    agent = chance.choice(
        ("Mozilla/5.0", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) (via ggpht.com GoogleImageProxy)")
    )
    yield Look(chance.uniform(1, 60), "GET", "pixel", agent, "8.8.64.1")


def _prober(lead: int, chance: Random) -> Iterator[Look]:
    """Ask with every other method, and with none of our forms."""
    for place, method in enumerate(("OPTIONS", "HEAD", "PUT", "DELETE", "PATCH")):
        for what in (*LINKS[:1], *PAGES):
            yield Look(5 + place, method, what, "python-requests/2.32", f"8.8.128.{lead % 250}")


def _lone(lead: int, chance: Random) -> Iterator[Look]:
    """Follow one link in a browser, an hour later, alone: nobody can tell this from its reader."""
    yield Look(chance.uniform(3_000, 9_000), "GET", chance.choice(LINKS), CHROME, f"8.9.{lead % 200}.7")


SCANNERS: Final[tuple[Scanner, ...]] = (
    _gateway,
    _disguised,
    _quarantine,
    _click_time,
    _detonation,
    _company,
    _prober,
)
"""Those that can be told from people; `LONE` cannot."""

LONE: Final = _lone
_LONE_ONE_IN: Final = 20


def trace(lead: int, chance: Random) -> Iterator[Look]:
    """Return what is done with the mail of the *lead*-th lead; each has an image proxy besides."""
    yield from _proxy(lead, chance)
    yield from SCANNERS[lead // COMPANY % len(SCANNERS)](lead, chance)
    if lead % _LONE_ONE_IN == 0:
        yield from _lone(lead, chance)


COMPANY: Final = 4
"""So many leads, one after the other, work for one company."""
