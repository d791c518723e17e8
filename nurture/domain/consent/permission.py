"""Decide whether an address may be mailed: the one rule for intake, planning and sending."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.consent.statements import (
    ConsentStatement,
    active_withdrawals,
    describe_statement,
    find_grant,
    find_requests,
    withdrawals_as_suppressions,
)
from nurture.domain.consent.suppression import (
    ActiveSuppression,
    SuppressionScope,
    SuppressionSource,
    describe_suppression,
    find_covering,
)

NO_BASIS: Final = "no consent or other legal basis is recorded"


class MailPermission(NamedTuple):
    """Whether mail is allowed, and the *basis* that was *given*; else *why_not*.

    *refusal* forbids it; None: no basis is known. *requested_at* is when consent was requested that the person has not
    confirmed, None if it need not.
    """

    allowed: bool
    basis: str
    why_not: str
    refusal: ActiveSuppression | None = None
    requested_at: datetime | None = None
    given: ConsentStatement | None = None

    @property
    def reason(self) -> str:
        """Return in words why mail is allowed or not."""
        return self.why_not if self.given is None else describe_statement(self.given)

    def to_ask(self) -> MailPermission:
        """Return whether the person may be asked to confirm its consent: only if nothing else is missing."""
        return self._replace(allowed=self.requested_at is not None)


def combine_refusals(
    statements: Collection[ConsentStatement], suppressions: Sequence[ActiveSuppression]
) -> tuple[ActiveSuppression, ...]:
    """Return everything that is refused, said by the person or by a record: all mail first."""
    withdrawn = withdrawals_as_suppressions(statements)
    return tuple(sorted((*suppressions, *withdrawn), key=lambda one: one.scope)) if withdrawn else tuple(suppressions)


def may_mail(
    statements: Collection[ConsentStatement],
    suppressions: Sequence[ActiveSuppression],
    topic: str | None,
    at: datetime,
    *,
    track: str = "",
) -> MailPermission:
    """Decide whether an address may be mailed at *at* (UTC) about *topic* on *track*.

    *statements* are its whole history, *suppressions* the active ones. *topic* "" is mail without a topic; None asks
    whether anything may be sent at all.
    """
    if not statements and not suppressions:
        return MailPermission(False, "", NO_BASIS)
    if len(statements) == 1 and not suppressions:  # most addresses: found without a search
        (only,) = statements
        if only.granted and only.scope == SuppressionScope.GLOBAL and only.at <= at:
            return MailPermission(True, only.basis or "", "", given=only)
    refusal = find_covering(combine_refusals(statements, suppressions), track, topic or "")
    if refusal is not None:
        return MailPermission(False, "", f"suppressed: {_describe(refusal, statements)}", refusal)
    given = find_grant(statements, topic, at)
    if given is None and (requests := find_requests(statements)):
        source, at = requests[-1].source, requests[-1].recorded_at
        reason = f"waits for the confirmation of its consent ({source}, requested on {at:%Y-%m-%d})"
        return MailPermission(False, "", reason, requested_at=at)
    if given is None:
        return MailPermission(False, "", NO_BASIS)
    return MailPermission(True, given.basis or "", "", given=given)


def basis_in_force(statements: Collection[ConsentStatement], at: datetime) -> str | None:
    """Return the basis of the newest grant, None if there is none or all mail was refused by a record."""
    permission = may_mail(statements, (), None, at)
    return permission.basis or None


def _describe(refusal: ActiveSuppression, statements: Collection[ConsentStatement]) -> str:
    if refusal.source is not SuppressionSource.WITHDRAWN:
        return describe_suppression(refusal)
    said = (refusal.scope, refusal.last_stated_at)
    same = [each for each in active_withdrawals(statements) if (each.scope, each.at) == said]
    one = max(same, key=lambda each: (each.source, each.stated_at is not None), default=None)
    return describe_suppression(refusal) if one is None else describe_statement(one)
