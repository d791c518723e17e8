"""What routing was asked, as it is stored: plain values, from which the same is asked again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from nurture.domain.routing.account import Account, AccountKind, Match
from nurture.domain.routing.round_robin import Given, Standing
from nurture.domain.routing.routing import Asked


def plain(asked: Asked, team: Mapping[str, list[Any]], given: Given) -> dict[str, Any]:
    """Return *asked* as JSON can hold it; what is as it is by default is left out.

    *team* and *given* are its own, made plain before: most of them stay as they are from lead to lead.
    """
    told: dict[str, Any] = {
        "facts": dict(asked.facts),
        "fit": asked.fit,
        "domain": asked.domain,
        "account": _match(asked.account),
        "former": asked.former,
        "refused": sorted(asked.refused),
        "waited": asked.waited.total_seconds(),
        "overdue": sorted(asked.overdue),
        "team": dict(team),
        "given": {key: dict(one) for key, one in given.items()},
    }
    return {key: value for key, value in told.items() if value}


def again(told: Mapping[str, Any]) -> Asked:
    """Return what was asked when *told* was stored."""
    return Asked(
        told.get("facts", {}),
        told.get("fit", ""),
        told.get("domain", ""),
        _matched(told.get("account", {})),
        told.get("former"),
        frozenset(told.get("refused", ())),
        timedelta(seconds=told.get("waited", 0)),
        frozenset(told.get("overdue", ())),
        {rep: Standing(*one) for rep, one in told.get("team", {}).items()},
        told.get("given", {}),
    )


def standing(one: Standing) -> list[Any]:
    """Return where a rep stands as JSON can hold it."""
    return [one.away, one.back, one.deputy, one.today, one.in_hand, one.newest]


def _match(match: Match) -> dict[str, Any]:
    told: dict[str, Any] = {"because": match.because}
    if match.account is not None:
        told["account"] = _account(match.account)
    if match.candidates:
        told["candidates"] = [_account(one) for one in match.candidates]
    return told


def _account(one: Account) -> list[Any]:
    return [one.id, one.owner, one.kind.value, list(one.domains)]


def _matched(told: Mapping[str, Any]) -> Match:
    account = told.get("account")
    return Match(
        _account_again(account) if account is not None else None,
        tuple(map(_account_again, told.get("candidates", ()))),
        told.get("because", Match().because),
    )


def _account_again(told: list[Any]) -> Account:
    id_, owner, kind, domains = told
    return Account(id_, owner, AccountKind(kind), tuple(domains))
