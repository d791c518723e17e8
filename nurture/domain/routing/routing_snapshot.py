"""Convert a routing request to and from stored JSON, so that a routing can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from nurture.domain.routing.account import Account, AccountKind, AccountMatch
from nurture.domain.routing.round_robin import RepAvailability, RotationCounts
from nurture.domain.routing.routing import RoutingRequest


def to_dict(
    request: RoutingRequest, availability: Mapping[str, list[Any]], rotation_counts: RotationCounts
) -> dict[str, Any]:
    """Return *request* as JSON values; defaults are left out.

    *availability* and *rotation_counts* are its own, converted by the caller: most of them do not change from
    lead to lead.
    """
    stored: dict[str, Any] = {
        "fields": dict(request.fields),
        "fit": request.fit_letter,
        "domain": request.domain,
        "account_match": _match_to_dict(request.account_match),
        "former_owner": request.former_owner,
        "declined_by": sorted(request.declined_by),
        "waited": request.waited.total_seconds(),
        "overdue_fields": sorted(request.overdue_fields),
        "availability": dict(availability),
        "rotation_counts": {key: dict(one) for key, one in rotation_counts.items()},
    }
    return {key: value for key, value in stored.items() if value}


def from_dict(stored: Mapping[str, Any]) -> RoutingRequest:
    """Return the request that `to_dict` stored."""
    return RoutingRequest(
        stored.get("fields", {}),
        stored.get("fit", ""),
        stored.get("domain", ""),
        _match_from_dict(stored.get("account_match", {})),
        stored.get("former_owner"),
        frozenset(stored.get("declined_by", ())),
        timedelta(seconds=stored.get("waited", 0)),
        frozenset(stored.get("overdue_fields", ())),
        {rep: RepAvailability(*one) for rep, one in stored.get("availability", {}).items()},
        stored.get("rotation_counts", {}),
    )


def availability_to_list(one: RepAvailability) -> list[Any]:
    """Return a rep's availability as JSON values."""
    return [one.away_reason, one.away_today_only, one.deputy, one.offers_today, one.open_leads, one.last_offer]


def _match_to_dict(match: AccountMatch) -> dict[str, Any]:
    stored: dict[str, Any] = {"reason": match.reason}
    if match.account is not None:
        stored["account"] = _account_to_list(match.account)
    if match.candidates:
        stored["candidates"] = [_account_to_list(one) for one in match.candidates]
    return stored


def _account_to_list(one: Account) -> list[Any]:
    return [one.id, one.owner, one.kind.value, list(one.domains)]


def _match_from_dict(stored: Mapping[str, Any]) -> AccountMatch:
    account = stored.get("account")
    return AccountMatch(
        _account_from_list(account) if account is not None else None,
        tuple(map(_account_from_list, stored.get("candidates", ()))),
        stored.get("reason", AccountMatch().reason),
    )


def _account_from_list(stored: list[Any]) -> Account:
    id_, owner, kind, domains = stored
    return Account(id_, owner, AccountKind(kind), tuple(domains))
