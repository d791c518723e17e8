"""Classify clicks as human, bot or suspect.

`classify` is pure: it takes tracked events and returns a verdict with its reason for each. One piece of
evidence makes a bot; one suspicion makes a suspect, two a bot. Bot and suspect events are kept, but do not
count.
"""

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
"""Increase with every change of these rules: stored verdicts are then recomputed."""


class AgentType(StrEnum):
    """What kind of program made the request."""

    BROWSER = "browser"
    PROXY = "proxy"  # fetches for a mail program, whether or not anybody reads
    SCANNER = "scanner"
    MISSING = "nameless"  # sent no user agent
    UNKNOWN = "unknown"  # not reported to us


@dataclass(frozen=True, slots=True)
class ClickThresholds:
    """The numbers in the rules, and how long a click waits before it counts (*grace_period*)."""

    grace_period: timedelta = timedelta(seconds=90)
    min_time_after_delivery: timedelta = timedelta(seconds=10)
    links: int = 2
    links_within: timedelta = timedelta(seconds=2)
    leads: int = 3
    leads_within: timedelta = timedelta(seconds=10)
    bot_window: timedelta = timedelta(minutes=15)
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        settings = repr(
            (
                RULES_VERSION,
                self.min_time_after_delivery,
                self.links,
                self.links_within,
                self.leads,
                self.leads_within,
                self.bot_window,
            )
        )
        object.__setattr__(self, "key", sha256(settings.encode()).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class TrackedEvent:
    """A click or an open, and how it arrived. Hashes compare events of one message, and contain no address.

    *delivered_at* is when the email was delivered or else accepted, None if unknown. *company_hash* is a hash
    of the address's domain, "" for a free mail domain. *is_machine*: the provider reported a machine.
    """

    id: int
    kind: SignalKind
    at: datetime
    message: int
    lead: int
    link: str | None = None
    method: str = "GET"
    agent_type: AgentType = AgentType.UNKNOWN
    ip_hash: str = ""
    agent_hash: str = ""
    company_hash: str = ""
    honeypot: bool = False
    is_machine: bool = False
    delivered_at: datetime | None = None


class Classification(NamedTuple):
    """A verdict and its reason in words; "" for a human without any suspicion."""

    verdict: SignalVerdict
    reason: str


def classify(events: Iterable[TrackedEvent], thresholds: ClickThresholds) -> dict[int, Classification]:
    """Return the verdict on each event, by its id, whatever the order of *events*.

    A verdict is correct if *events* contains all events of its message, and those of its company close in time.
    """
    ordered = sorted(events, key=lambda one: (one.at, one.id))
    company_clicks = _clicks_by_company(ordered)
    by_message: dict[int, list[TrackedEvent]] = defaultdict(list)
    for event in ordered:
        by_message[event.message].append(event)
    classified: dict[int, Classification] = {}
    for message_events in by_message.values():
        classified |= _classify_message(message_events, company_clicks, thresholds)
    return classified


_AgentKey = tuple[str, str]  # what a hash is of, and the hash, "" if unknown
_CompanyClicks = Mapping[str, tuple[Sequence[datetime], Sequence[int]]]


def _clicks_by_company(ordered: Sequence[TrackedEvent]) -> _CompanyClicks:
    """Return when which leads of each company clicked, in order."""
    found: dict[str, tuple[list[datetime], list[int]]] = defaultdict(lambda: ([], []))
    for event in ordered:
        if event.company_hash and event.kind is SignalKind.CLICKED:
            times, leads = found[event.company_hash]
            times.append(event.at)
            leads.append(event.lead)
    return found


def _classify_message(
    events: Sequence[TrackedEvent], company_clicks: _CompanyClicks, thresholds: ClickThresholds
) -> dict[int, Classification]:
    """Classify the events of one message, in order of time."""
    rapid = _rapid_link_clicks(events, thresholds)
    classified: dict[int, Classification] = {}
    last_bot_at: dict[_AgentKey, datetime] = {}
    for event in events:
        evidence = list(_bot_evidence(event))
        suspicions = list(_suspicions(event, company_clicks, thresholds))
        if event.id in rapid:
            suspicions.append(f"{thresholds.links} links within {_format_duration(thresholds.links_within)}")
        is_bot_itself = bool(evidence) or len(suspicions) > 1
        after = f"within {_format_duration(thresholds.bot_window)} after a bot on the same email"
        ip, agent = ("ip", event.ip_hash), ("agent", event.agent_hash)
        if _follows_bot(event, ip, last_bot_at, thresholds):
            evidence.append(f"same IP address {after}")
        elif _follows_bot(event, agent, last_bot_at, thresholds):
            suspicions.append(f"same user agent {after}")
        classified[event.id] = _combine(evidence, suspicions)
        # An event that only follows a bot does not extend the window: else one hit would last forever.
        if is_bot_itself:
            last_bot_at[ip] = last_bot_at[agent] = event.at
    return classified


def _combine(evidence: list[str], suspicions: list[str]) -> Classification:
    reason = "; ".join(evidence + suspicions)
    if evidence or len(suspicions) > 1:
        return Classification(SignalVerdict.BOT, reason)
    return Classification(SignalVerdict.SUSPECT if suspicions else SignalVerdict.HUMAN, reason)


def _bot_evidence(event: TrackedEvent) -> Iterable[str]:
    if event.honeypot:
        yield "clicked a link that no reader sees"
    if event.is_machine:
        yield "the provider reported a machine"
    if event.method not in ("GET", "POST"):
        yield f"requested with {event.method}"
    if event.agent_type is AgentType.SCANNER:
        yield "user agent of a scanner"
    if event.agent_type is AgentType.PROXY:
        yield "user agent of a mail program's proxy"


def _suspicions(event: TrackedEvent, company_clicks: _CompanyClicks, thresholds: ClickThresholds) -> Iterable[str]:
    if event.agent_type is AgentType.MISSING:
        yield "no user agent"
    if event.delivered_at is not None and event.at - event.delivered_at < thresholds.min_time_after_delivery:
        yield f"sooner than {_format_duration(thresholds.min_time_after_delivery)} after delivery"
    if event.kind is SignalKind.CLICKED and _is_company_burst(event, company_clicks, thresholds):
        yield f"{thresholds.leads} people of one company within {_format_duration(thresholds.leads_within)}"


def _follows_bot(
    event: TrackedEvent, key: _AgentKey, last_bot_at: Mapping[_AgentKey, datetime], thresholds: ClickThresholds
) -> bool:
    bot_at = last_bot_at.get(key)
    return bool(key[1]) and bot_at is not None and event.at - bot_at <= thresholds.bot_window


def _rapid_link_clicks(events: Sequence[TrackedEvent], thresholds: ClickThresholds) -> set[int]:
    """Return the clicks in any span of *links_within* in which *links* different links were clicked."""
    clicks = [one for one in events if one.kind is SignalKind.CLICKED and one.link is not None]
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


def _is_company_burst(event: TrackedEvent, company_clicks: _CompanyClicks, thresholds: ClickThresholds) -> bool:
    """Return whether a span around the event holds clicks of *leads* leads of its company."""
    if not event.company_hash:
        return False
    times, leads = company_clicks[event.company_hash]
    within = thresholds.leads_within
    begin = bisect_left(times, event.at - within)
    seen: dict[int, int] = defaultdict(int)
    first = begin
    for place in range(begin, len(times)):
        if times[first] > event.at or times[place] > event.at + within:
            return False
        seen[leads[place]] += 1
        while times[place] - times[first] > within:
            seen[leads[first]] -= 1
            if not seen[leads[first]]:
                del seen[leads[first]]
            first += 1
        if len(seen) >= thresholds.leads and times[first] <= event.at <= times[place]:
            return True
    return False


def _format_duration(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds >= 60 and not seconds % 60:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s"
