"""Who clicked: a human, a machine that looks at mail before its reader does, or somebody we cannot tell.

`judge` is pure: visits of the own links in, a verdict with its reasons for each out. One certain sign makes
a bot; one circumstance makes a suspect, two together a bot. What is not human is kept and counts for nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from nurture.domain.signals import SignalKind, SignalVerdict

RULES_VERSION: Final = 1
"""To be raised with every change of these rules: stored verdicts are then found again."""


class Agent(StrEnum):
    """What kind of program asked."""

    BROWSER = "browser"
    PROXY = "proxy"  # fetches for a mail program, whoever reads
    SCANNER = "scanner"
    NAMELESS = "nameless"  # says nothing of itself
    UNKNOWN = "unknown"  # nobody told us


_PROXIES: Final = re.compile(r"googleimageproxy|yahoomailproxy|outlook-ios-proxy|ggpht\.com", re.IGNORECASE)
_SCANNERS: Final = re.compile(
    r"bot\b|crawl|spider|scan|headless|phantomjs|preview|facebookexternalhit|slurp"
    r"|barracuda|mimecast|proofpoint|messagelabs|symantec|fireeye|trellix|sophos|trend ?micro|ironport"
    r"|forcepoint|zscaler|cloudmark|safelinks|existence discovery|microsoft office|ms-office"
    r"|curl/|wget/|python|aiohttp|httpx|go-http|okhttp|java/|apache-httpclient|libwww|node-fetch|axios"
    r"|powershell|postman|ruby|perl|php/",
    re.IGNORECASE,
)
_BARE: Final = re.compile(r"mozilla/\d\.\d", re.IGNORECASE)  # Apple's proxy says this and no more


def agent_of(user_agent: str | None) -> Agent:
    """Tell what kind of program a user agent names; None is one that nobody told us."""
    if user_agent is None:
        return Agent.UNKNOWN
    named = user_agent.strip()
    if not named:
        return Agent.NAMELESS
    if _PROXIES.search(named) or _BARE.fullmatch(named):
        return Agent.PROXY
    if _SCANNERS.search(named) or not named.lower().startswith(("mozilla/", "opera/")):
        return Agent.SCANNER
    return Agent.BROWSER


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers in the rules, and for how long a click waits before anything acts on it (*settle*)."""

    settle: timedelta = timedelta(seconds=90)
    too_soon: timedelta = timedelta(seconds=10)
    links: int = 2
    links_within: timedelta = timedelta(seconds=2)
    leads: int = 3
    leads_within: timedelta = timedelta(seconds=10)
    after_bot: timedelta = timedelta(minutes=15)
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        judging = repr(
            (
                RULES_VERSION,
                self.too_soon,
                self.links,
                self.links_within,
                self.leads,
                self.leads_within,
                self.after_bot,
            )
        )
        object.__setattr__(self, "key", sha256(judging.encode()).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class Visit:
    """A click or an open, and how it came in. Marks are short hashes: alike within one message, no address.

    *delivered_at* is when the mail was delivered or else accepted, None if nobody knows. *company* is a mark
    of the address's domain, "" where many strangers share it. *machine*: the provider says that it was one.
    """

    id: int
    kind: SignalKind
    at: datetime
    message: int
    lead: int
    link: str | None = None
    method: str = "GET"
    agent: Agent = Agent.UNKNOWN
    ip_mark: str = ""
    agent_mark: str = ""
    company: str = ""
    honeypot: bool = False
    machine: bool = False
    delivered_at: datetime | None = None


class Judgement(NamedTuple):
    """A verdict and its reasons, in words; "" for a human of whom nothing speaks otherwise."""

    verdict: SignalVerdict
    because: str


def judge(visits: Iterable[Visit], thresholds: Thresholds) -> dict[int, Judgement]:
    """Return the verdict on each visit, by its id; the order of *visits* changes nothing.

    A verdict is right if all visits of its message are there, and those of its company close by in time.
    """
    known = sorted(visits, key=lambda one: (one.at, one.id))
    crowds = _crowds(known)
    by_message: dict[int, list[Visit]] = defaultdict(list)
    for visit in known:
        by_message[visit.message].append(visit)
    judged: dict[int, Judgement] = {}
    for of_message in by_message.values():
        judged |= _judge_message(of_message, crowds, thresholds)
    return judged


_Crowds = Mapping[str, tuple[Sequence[datetime], Sequence[int]]]


def _crowds(known: Sequence[Visit]) -> _Crowds:
    """Return when which leads of each company clicked, in order."""
    found: dict[str, tuple[list[datetime], list[int]]] = defaultdict(lambda: ([], []))
    for visit in known:
        if visit.company and visit.kind is SignalKind.CLICKED:
            moments, leads = found[visit.company]
            moments.append(visit.at)
            leads.append(visit.lead)
    return found


def _judge_message(visits: Sequence[Visit], crowds: _Crowds, thresholds: Thresholds) -> dict[int, Judgement]:
    """Judge the visits of one message, in the order of time."""
    hasty = _many_links(visits, thresholds)
    judged: dict[int, Judgement] = {}
    hit_from: dict[str, datetime] = {}  # when a bot was last seen, by mark
    for visit in visits:
        signs = list(_certain(visit))
        hints = list(_hints(visit, crowds, thresholds))
        if visit.id in hasty:
            hints.append(f"{thresholds.links} links within {_short(thresholds.links_within)}")
        own = bool(signs) or len(hints) > 1
        after = f"within {_short(thresholds.after_bot)} after a bot on the same mail"
        if _was_hit(visit, f"ip {visit.ip_mark}", hit_from, thresholds):
            signs.append(f"the same place {after}")
        elif _was_hit(visit, f"agent {visit.agent_mark}", hit_from, thresholds):
            hints.append(f"the same program {after}")
        judged[visit.id] = _judgement(signs, hints)
        if own:  # what only came after a bot makes no further bots: else one hit would go on for ever
            hit_from[f"ip {visit.ip_mark}"] = hit_from[f"agent {visit.agent_mark}"] = visit.at
    return judged


def _judgement(signs: list[str], hints: list[str]) -> Judgement:
    because = "; ".join(signs + hints)
    if signs or len(hints) > 1:
        return Judgement(SignalVerdict.BOT, because)
    return Judgement(SignalVerdict.SUSPECT if hints else SignalVerdict.HUMAN, because)


def _certain(visit: Visit) -> Iterable[str]:
    if visit.honeypot:
        yield "followed a link that no reader sees"
    if visit.machine:
        yield "the provider says a machine did it"
    if visit.method not in ("GET", "POST"):
        yield f"asked with {visit.method}"
    if visit.agent is Agent.SCANNER:
        yield "a scanner by its user agent"
    if visit.agent is Agent.PROXY:
        yield "a mail program's proxy by its user agent"


def _hints(visit: Visit, crowds: _Crowds, thresholds: Thresholds) -> Iterable[str]:
    if visit.agent is Agent.NAMELESS:
        yield "no user agent"
    if visit.delivered_at is not None and visit.at - visit.delivered_at < thresholds.too_soon:
        yield f"sooner than {_short(thresholds.too_soon)} after delivery"
    if visit.kind is SignalKind.CLICKED and _crowded(visit, crowds, thresholds):
        yield f"{thresholds.leads} people of one company within {_short(thresholds.leads_within)}"


def _was_hit(visit: Visit, mark: str, hit_from: Mapping[str, datetime], thresholds: Thresholds) -> bool:
    hit = hit_from.get(mark)
    return not mark.endswith(" ") and hit is not None and visit.at - hit <= thresholds.after_bot


def _many_links(visits: Sequence[Visit], thresholds: Thresholds) -> set[int]:
    """Return the clicks in any span of *links_within* in which so many different links were followed."""
    clicks = [one for one in visits if one.kind is SignalKind.CLICKED and one.link is not None]
    found: set[int] = set()
    counts: dict[str | None, int] = defaultdict(int)
    first = marked = 0
    for last, click in enumerate(clicks):
        counts[click.link] += 1
        while click.at - clicks[first].at > thresholds.links_within:
            counts[clicks[first].link] -= 1
            if not counts[clicks[first].link]:
                del counts[clicks[first].link]
            first += 1
        if len(counts) >= thresholds.links:
            found |= {one.id for one in clicks[max(first, marked) : last + 1]}
            marked = last + 1
    return found


def _crowded(visit: Visit, crowds: _Crowds, thresholds: Thresholds) -> bool:
    """Tell whether a span around the visit holds clicks of so many leads of its company."""
    if not visit.company:
        return False
    moments, leads = crowds[visit.company]
    within = thresholds.leads_within
    begin = bisect_left(moments, visit.at - within)
    seen: dict[int, int] = defaultdict(int)
    first = begin
    for place in range(begin, len(moments)):
        if moments[first] > visit.at or moments[place] > visit.at + within:
            return False
        seen[leads[place]] += 1
        while moments[place] - moments[first] > within:
            seen[leads[first]] -= 1
            if not seen[leads[first]]:
                del seen[leads[first]]
            first += 1
        if len(seen) >= thresholds.leads and moments[first] <= visit.at <= moments[place]:
            return True
    return False


def _short(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds >= 60 and not seconds % 60:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s"
