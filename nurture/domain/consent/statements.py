"""Derive the consent in force from the history of what records said about an address.

A lead file, a CRM, the API or a person at the command line grants or withdraws consent. The newest statement counts:

- an undated grant never outranks a withdrawal; an undated withdrawal counts from when it was recorded
- a withdrawal is lifted by a later dated grant of the same scope; at the same time, the withdrawal wins
- of statements that were recorded together, such as the rows of one file, the withdrawal wins
- a date in the future counts as the time of recording; a grant more than a day ahead is a mistake, and lifts nothing
- a request, from a source whose consent must be confirmed, grants and refuses nothing until its link is followed
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, SuppressionSource, normalize_ref

Target = tuple[SuppressionScope, str]
"""The mail that a statement is about: all mail, or the normal form of a topic."""


ASK_AGAIN_AFTER: Final = timedelta(days=30)
"""An address is asked again only about a yes that is dated this much later than the one it did not confirm."""


_MAX_AHEAD: Final = timedelta(days=1)
"""How far the date of a grant may be ahead of its record, because of time zones."""


class ConsentStatement(NamedTuple):
    """One statement about email to an address. Times are UTC; *stated_at* None means that no date is known.

    *ref* names the topic, "" for all mail. *basis* is None for a withdrawal; one that is not *granted* is requested:
    the person has to confirm it. *source* is the file's system, or who recorded it. *evidence* says how it is known;
    *wording* is the text that the person agreed to.
    """

    scope: SuppressionScope
    ref: str
    basis: str | None
    granted: bool
    source: str
    stated_at: datetime | None
    recorded_at: datetime
    evidence: str = ""
    wording: str = ""

    @property
    def at(self) -> datetime:
        """Return the time from which it counts."""
        return self.recorded_at if self.stated_at is None else min(self.stated_at, self.recorded_at)

    @property
    def event(self) -> str:
        """Return what it does: granted, requested or withdrawn."""
        return "granted" if self.granted else "withdrawn" if self.basis is None else "requested"

    @property
    def target(self) -> Target:
        """Return the mail that it is about."""
        return self.scope, normalize_ref(self.ref) if self.ref else ""


def grant(basis: str, source: str, stated_at: datetime | None, recorded_at: datetime, **more: str) -> ConsentStatement:
    """Return a statement that allows all mail. *more*: evidence and wording."""
    return ConsentStatement(SuppressionScope.GLOBAL, "", basis, True, source, stated_at, recorded_at, **more)


def withdrawal(
    source: str, stated_at: datetime | None, recorded_at: datetime, topic: str = "", **more: str
) -> ConsentStatement:
    """Return a statement that refuses mail about *topic*, "" for all mail. *more*: evidence and wording."""
    scope = SuppressionScope.TOPIC if topic else SuppressionScope.GLOBAL
    return ConsentStatement(scope, topic, None, False, source, stated_at, recorded_at, **more)


def active_withdrawals(statements: Collection[ConsentStatement]) -> list[ConsentStatement]:
    """Return the withdrawals that no later dated grant lifts. The result does not depend on the order."""
    withdrawn = [one for one in statements if one.basis is None and not one.granted]
    if not withdrawn:
        return []
    grants = [one for one in statements if one.granted and one.stated_at and one.stated_at - one.at <= _MAX_AHEAD]
    return [one for one in withdrawn if not any(_lifts(each, one) for each in grants)]


def _lifts(given: ConsentStatement, refused: ConsentStatement) -> bool:
    return given.target == refused.target and given.at > refused.at and given.recorded_at != refused.recorded_at


def withdrawals_as_suppressions(statements: Collection[ConsentStatement]) -> tuple[ActiveSuppression, ...]:
    """Return what *statements* refuse, once for each scope: all mail first, then topics."""
    active = active_withdrawals(statements)
    if not active:
        return ()
    found: dict[Target, ActiveSuppression] = {}
    for one in sorted(active, key=lambda each: (each.target, each.at, each.ref)):
        new = ActiveSuppression(one.scope, one.ref, SuppressionSource.WITHDRAWN, one.at, one.at)
        found[one.target] = found.get(one.target, new)._replace(last_stated_at=one.at)
    return tuple(found.values())


def find_grant(statements: Iterable[ConsentStatement], topic: str | None, at: datetime) -> ConsentStatement | None:
    """Return the newest grant that covers mail about *topic* ("" for none, None for any), None if none does.

    A dated grant is preferred, because its date is evidence. Withdrawals are not considered.
    """
    covering = [one for one in statements if one.granted and one.at <= at]
    if topic is not None:
        targets = ((SuppressionScope.GLOBAL, ""), (SuppressionScope.TOPIC, normalize_ref(topic)))
        covering = [one for one in covering if one.target in targets]
    return max(covering, key=lambda one: (one.stated_at is not None, one.at, one.basis or "", one.source), default=None)


def find_requests(statements: Iterable[ConsentStatement]) -> list[ConsentStatement]:
    """Return the requests, whether they were confirmed or not, oldest record first."""
    return [one for one in statements if one.event == "requested"]


def adds_to(statements: Collection[ConsentStatement], new: ConsentStatement) -> bool:
    """Return whether *new* says more than *statements*: no equal one is among them.

    An undated withdrawal that a grant has lifted counts again: a record that still says no is believed. A request adds
    nothing to consent of its source, and nothing to an earlier request, unless its date is much later.
    """
    if new.event == "requested":
        if any(one.granted and one.source == new.source for one in statements):
            return False
        earlier = [one.at for one in find_requests(statements)]
        return not earlier or (new.stated_at is not None and new.at - max(earlier) >= ASK_AGAIN_AFTER)
    equal = [one for one in statements if _identity(one) == _identity(new)]
    if not equal or new.granted or new.stated_at is not None:
        return not equal
    return not set(equal) & set(active_withdrawals(statements))


def _identity(one: ConsentStatement) -> tuple[object, ...]:
    return one.target, one.basis, one.granted, one.source, one.stated_at


def describe_statement(one: ConsentStatement) -> str:
    """Return a statement in words, without its evidence and wording."""
    what = f"{one.basis} {'given' if one.granted else 'to be confirmed'}" if one.basis else "consent withdrawn"
    about = f" for {one.ref}" if one.ref else ""
    when = f"on {one.stated_at.date()}" if one.stated_at is not None else f"undated, recorded {one.recorded_at.date()}"
    return f"{what}{about} ({one.source}, {when})"
