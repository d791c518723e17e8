"""A token opens what it was made for until it is revoked, and tells when it was last used."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import NotFound, Refused
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import Scope
from tests.journey.builders import START, make_house


def test_a_token_is_good_for_its_scopes_until_it_is_revoked(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path)
    token = tokens.create(house, "website", [Scope.SIGNALS, Scope.SIGNALS], START)
    caller = tokens.find(house, token, START)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("website", {"signals:write"})
    assert tokens.find(house, token[:-1], START) is None
    tokens.revoke(house, "website", START)
    assert tokens.find(house, token, START) is None
    with pytest.raises(NotFound, match="nurture admin tokens list"):
        tokens.revoke(house, "website", START)


def test_use_is_noted_by_the_day_and_never_backwards(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path)
    token = tokens.create(house, "website", [Scope.LEADS], START)
    assert [one.used_on for one in tokens.list_tokens(house)] == [None]
    for at, day in ((3, 3), (1, 3), (5, 5)):
        tokens.find(house, token, START + timedelta(days=at, hours=7))
        (told,) = tokens.list_tokens(house)
        assert told.used_on == (START + timedelta(days=day)).date()


def test_two_valid_tokens_never_share_a_name(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path)
    first = tokens.create(house, "website", [Scope.LEADS], START)
    with pytest.raises(Refused, match="nurture admin tokens revoke website"):
        tokens.create(house, "website", [Scope.LEADS], START)
    tokens.revoke(house, "website", START)
    assert tokens.create(house, "website", [Scope.LEADS], START) != first
