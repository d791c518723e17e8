"""What an address's log of opt-outs and opt-ins means: about what it may not be mailed, and since when."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from nurture.domain.signals import SignalKind


class Scope(StrEnum):
    """What an opt-out covers."""

    GLOBAL = "global"
    TOPIC = "topic"
    TRACK = "track"


class Source(StrEnum):
    """Who said that an address is not to be mailed."""

    ONE_CLICK = "one-click"
    PAGE = "page"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    REPLY = "reply"
    IMPORT = "import"
    ADMIN = "admin"
    PROVIDER = "provider"


class Lift(StrEnum):
    """What can lift an opt-out, in the order in which opt-outs are listed."""

    LOGGED = "logged"  # an opt-in that a person logged with its evidence
    PAGE = "page"  # the same, or the reader's button on the preferences page: it was said by a link of ours
    WORKS = "works"  # that the mailbox takes mail


class Act(StrEnum):
    """What an entry of the log does."""

    SUPPRESS = "suppress"
    OPT_IN = "opt_in"


class Logged(NamedTuple):
    """One entry of an address's log. *ref* names the topic or track, "" for all mail.

    An opt-in whose *source* is a bounce says that the mailbox works again; any other, that it is wanted. One
    by a link of ours lifts only opt-outs by such a link, as the link may be in other hands.
    """

    act: Act
    scope: Scope
    ref: str
    source: Source
    at: datetime


class Standing(NamedTuple):
    """An opt-out that stands: who said so first, since when, and when it was last said."""

    scope: Scope
    ref: str
    source: Source
    since: datetime
    newest: datetime


Key = tuple[Scope, str, Lift]
"""What an opt-in must match to lift an opt-out: scope, topic or track, and what can lift it."""

_LIFTS: Final = {Source.PAGE: Lift.PAGE, Source.ONE_CLICK: Lift.PAGE, Source.BOUNCE: Lift.WORKS}
_BY_SIGNAL: Final = {
    SignalKind.UNSUBSCRIBED: Source.IMPORT,
    SignalKind.BOUNCED: Source.BOUNCE,
    SignalKind.COMPLAINED: Source.COMPLAINT,
}


def source_named(text: str) -> Source:
    """Return the source that *text* names; an unknown word is no reason to lose an opt-out."""
    try:
        return Source(text)
    except ValueError:
        # Older entries carry the kind of the signal.
        return _BY_SIGNAL.get(SignalKind(text), Source.ADMIN) if text in set(SignalKind) else Source.ADMIN


def source_of(kind: SignalKind, door: str, value: str | None = None) -> Source:
    """Return who opted out by a signal of *kind* that came in by *door*.

    *value* names the source where our own code wrote it; what callers write there counts for nothing.
    """
    if kind is not SignalKind.UNSUBSCRIBED:
        return _BY_SIGNAL.get(kind, Source.ADMIN)
    if door in ("told", "api"):
        return Source.ADMIN if door == "told" else Source.IMPORT
    for named in (value, door):
        if named in set(Source):
            return Source(named or "")
    return Source.IMPORT


def folded(ref: str) -> str:
    """Return the one spelling by which topics and tracks are matched: no case, no double spaces, composed."""
    return unicodedata.normalize(
        "NFKC", re.sub(r"\s+", " ", unicodedata.normalize("NFKC", ref)).strip().casefold()
    )


def key_of(scope: Scope, ref: str, source: Source) -> Key:
    """Return what an opt-in must match to lift this."""
    return scope, folded(ref) if ref else "", _LIFTS.get(source, Lift.LOGGED)


def unlifted(log: Collection[Logged]) -> list[Logged]:
    """Return the opt-outs of *log* that no newer opt-in lifts, each once, the oldest first.

    Neither the order of the log nor repeats matter. At the same moment the opt-out wins.
    """
    lifted: dict[Key, datetime] = {}
    for one in log:
        if one.act is Act.OPT_IN:
            scope, ref, lift = key_of(one.scope, one.ref, one.source)
            for key in {(scope, ref, lift), (scope, ref, Lift.PAGE if lift is Lift.LOGGED else lift)}:
                lifted[key] = max(one.at, lifted.get(key, one.at))
    outs = {one for one in log if one.act is Act.SUPPRESS}
    if lifted:
        outs = {
            one
            for one in outs
            if (key := key_of(one.scope, one.ref, one.source)) not in lifted or lifted[key] <= one.at
        }
    return sorted(outs, key=lambda one: (one.at, one.scope, one.ref, one.source))


def stands(log: Collection[Logged]) -> tuple[Standing, ...]:
    """Return what stands against an address by its *log*, all mail first, then topics, then tracks."""
    found: dict[Key, Standing] = {}
    for one in unlifted(log):
        key = key_of(one.scope, one.ref, one.source)
        first = found.get(key)
        if first is None:
            found[key] = Standing(one.scope, one.ref, one.source, one.at, one.at)
        else:
            found[key] = first._replace(newest=one.at)
    return tuple(found[key] for key in sorted(found))


def adds(log: Iterable[Logged], entry: Logged) -> bool:
    """Say whether the opt-out *entry* could ever matter beside *log*: nothing alike is as new."""
    key = key_of(entry.scope, entry.ref, entry.source)
    return not any(
        one.act is Act.SUPPRESS and one.at >= entry.at and key_of(one.scope, one.ref, one.source) == key
        for one in log
    )


def by_link(one: Standing) -> bool:
    """Whether the reader said so by a link of ours, and may take it back by one."""
    return _LIFTS.get(one.source) is Lift.PAGE


def covering(standing: Iterable[Standing], track: str, topic: str = "") -> Standing | None:
    """Return what keeps mail of *track* (about *topic*, "" for none) from an address, None if nothing."""
    for one in standing:
        match one.scope:
            case Scope.GLOBAL:
                return one
            case Scope.TOPIC if topic and folded(one.ref) == folded(topic):
                return one
            case Scope.TRACK if track and folded(one.ref) == folded(track):
                return one
            case _:
                continue
    return None


def told(one: Standing) -> str:
    """Return an opt-out in words, without a person in it."""
    return f"{one.source} ({one.scope}{f' {one.ref}' if one.ref else ''})"
