"""Derive current suppressions from an address's log of opt-outs and opt-ins."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from nurture.domain.signals import SignalKind


class SuppressionScope(StrEnum):
    """What an opt-out covers."""

    GLOBAL = "global"
    TOPIC = "topic"
    TRACK = "track"


class SuppressionSource(StrEnum):
    """Who caused a suppression."""

    ONE_CLICK = "one-click"
    PAGE = "page"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    REPLY = "reply"
    IMPORT = "import"
    ADMIN = "admin"
    PROVIDER = "provider"
    WITHDRAWN = "withdrawn"  # a withdrawal by a lead file, a CRM or the API: see `statements`; never in the log


class LiftedBy(StrEnum):
    """What can lift an opt-out, in the order in which opt-outs are listed."""

    LOGGED_OPT_IN = "logged"  # an opt-in that a person logged with its evidence
    PAGE = "page"  # also the reader's button on the preferences page: the opt-out came by a link of ours
    MAILBOX_WORKS = "works"  # evidence that the mailbox accepts mail


class LogAction(StrEnum):
    """What a log entry does."""

    SUPPRESS = "suppress"
    OPT_IN = "opt_in"
    RETRACT = "retract"  # takes back equal opt-outs of the same time: a file was imported by mistake


class SuppressionLogEntry(NamedTuple):
    """One entry of an address's log. *ref* names the topic or track, "" for all mail.

    An opt-in whose *source* is a bounce says that the mailbox works again; any other says that mail is wanted.
    An opt-in by a link of ours lifts only opt-outs by such a link, because somebody else may have the link.
    """

    action: LogAction
    scope: SuppressionScope
    ref: str
    source: SuppressionSource
    at: datetime


class ActiveSuppression(NamedTuple):
    """An opt-out in force: its first source, since when, and when it was last stated."""

    scope: SuppressionScope
    ref: str
    source: SuppressionSource
    since: datetime
    last_stated_at: datetime


def find_kept_refusals(
    refusals: Iterable[ActiveSuppression], topics: Mapping[str, str]
) -> list[tuple[ActiveSuppression, str]]:
    """Return each refusal of a topic that a track had, with the track; *topics* are the former ones by track.

    With another topic, a track would send what was refused under the old one, so such a refusal is about the track.
    """
    by_topic = {track: normalize_ref(topic) for track, topic in topics.items()}
    return [
        (one, track)
        for one in refusals
        if one.scope is SuppressionScope.TOPIC
        for track, topic in by_topic.items()
        if normalize_ref(one.ref) == topic
    ]


LiftKey = tuple[SuppressionScope, str, LiftedBy]
"""What an opt-in must match to lift an opt-out: scope, topic or track, and what can lift it."""

_LIFTED_BY: Final = {
    SuppressionSource.PAGE: LiftedBy.PAGE,
    SuppressionSource.ONE_CLICK: LiftedBy.PAGE,
    SuppressionSource.BOUNCE: LiftedBy.MAILBOX_WORKS,
}
_SOURCE_BY_SIGNAL: Final[Mapping[str, SuppressionSource]] = {
    SignalKind.UNSUBSCRIBED: SuppressionSource.IMPORT,
    SignalKind.BOUNCED: SuppressionSource.BOUNCE,
    SignalKind.COMPLAINED: SuppressionSource.COMPLAINT,
}


def parse_source(text: str) -> SuppressionSource:
    """Return the source that *text* names; ADMIN for an unknown word, so that no opt-out is lost."""
    try:
        return SuppressionSource(text)
    except ValueError:  # an entry may carry the kind of the signal instead
        return _SOURCE_BY_SIGNAL.get(text, SuppressionSource.ADMIN)


def source_for_signal(kind: SignalKind, signal_source: str, value: str | None = None) -> SuppressionSource:
    """Return the source of an opt-out by a signal of *kind* that arrived by *signal_source*.

    *value* names the source if our own code wrote it; values from API callers are ignored.
    """
    if kind is not SignalKind.UNSUBSCRIBED:
        return _SOURCE_BY_SIGNAL.get(kind, SuppressionSource.ADMIN)
    if signal_source in ("reported", "api"):
        return SuppressionSource.ADMIN if signal_source == "reported" else SuppressionSource.IMPORT
    for named in (value, signal_source):
        if named in set(SuppressionSource):
            return SuppressionSource(named or "")
    return SuppressionSource.IMPORT


@lru_cache(maxsize=4096)
def normalize_ref(ref: str) -> str:
    """Return the normal form by which topics and tracks are matched: case-folded, single spaces, composed."""
    return unicodedata.normalize("NFKC", re.sub(r"\s+", " ", unicodedata.normalize("NFKC", ref)).strip().casefold())


def lift_key(scope: SuppressionScope, ref: str, source: SuppressionSource) -> LiftKey:
    """Return what an opt-in must match to lift this opt-out."""
    return scope, normalize_ref(ref) if ref else "", _LIFTED_BY.get(source, LiftedBy.LOGGED_OPT_IN)


def active_opt_outs(log: Collection[SuppressionLogEntry]) -> list[SuppressionLogEntry]:
    """Return the opt-outs of *log* that no newer opt-in lifts, each once, the oldest first.

    The result does not depend on order or duplicates. At the same time the opt-out wins.
    """
    lifted: dict[LiftKey, datetime] = {}
    for one in log:
        if one.action is LogAction.OPT_IN:
            scope, ref, lift = lift_key(one.scope, one.ref, one.source)
            for key in {(scope, ref, lift), (scope, ref, LiftedBy.PAGE if lift is LiftedBy.LOGGED_OPT_IN else lift)}:
                lifted[key] = max(one.at, lifted.get(key, one.at))
    outs = {one for one in log if one.action is LogAction.SUPPRESS}
    outs -= {one._replace(action=LogAction.SUPPRESS) for one in log if one.action is LogAction.RETRACT}
    if lifted:
        outs = {
            one
            for one in outs
            if (key := lift_key(one.scope, one.ref, one.source)) not in lifted or lifted[key] <= one.at
        }
    return sorted(outs, key=lambda one: (one.at, one.scope, one.ref, one.source))


def current_suppressions(log: Collection[SuppressionLogEntry]) -> tuple[ActiveSuppression, ...]:
    """Return the suppressions in force by an address's *log*: all mail first, then topics, then tracks."""
    found: dict[LiftKey, ActiveSuppression] = {}
    for one in active_opt_outs(log):
        key = lift_key(one.scope, one.ref, one.source)
        new = ActiveSuppression(one.scope, one.ref, one.source, one.at, one.at)
        found[key] = found.get(key, new)._replace(last_stated_at=one.at)
    return tuple(found[key] for key in sorted(found))


def is_new_opt_out(log: Collection[SuppressionLogEntry], entry: SuppressionLogEntry) -> bool:
    """Return whether the opt-out *entry* adds to *log*: no equal opt-out is as new."""
    key = lift_key(entry.scope, entry.ref, entry.source)
    return not any(
        one.action is LogAction.SUPPRESS
        and one.at >= entry.at
        and lift_key(one.scope, one.ref, one.source) == key
        and not is_retracted(log, one)
        for one in log
    )


def is_retracted(log: Collection[SuppressionLogEntry], entry: SuppressionLogEntry) -> bool:
    """Return whether *log* takes the opt-out *entry* back."""
    return entry._replace(action=LogAction.RETRACT) in log


def is_reader_opt_out(one: ActiveSuppression) -> bool:
    """Return whether the reader opted out by a link of ours, and may undo it by one."""
    return _LIFTED_BY.get(one.source) is LiftedBy.PAGE


def find_covering(suppressions: Iterable[ActiveSuppression], track: str, topic: str = "") -> ActiveSuppression | None:
    """Return the suppression that covers mail of *track* (about *topic*, "" for none), None if none does."""
    for one in suppressions:
        match one.scope:
            case SuppressionScope.GLOBAL:
                return one
            case SuppressionScope.TOPIC if topic and normalize_ref(one.ref) == normalize_ref(topic):
                return one
            case SuppressionScope.TRACK if track and normalize_ref(one.ref) == normalize_ref(track):
                return one
            case _:
                continue
    return None


def describe_suppression(one: ActiveSuppression) -> str:
    """Return an opt-out in words, without personal data."""
    return f"{one.source} ({one.scope}{f' {one.ref}' if one.ref else ''})"
