"""Tests of API tokens: scopes, revocation and last use."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import TokenScope
from tests.journey.builders import START, make_context


def test_a_token_is_valid_for_its_scopes_until_it_is_revoked(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    token = tokens.create_token(ctx, "website", [TokenScope.SIGNALS, TokenScope.SIGNALS], START)
    caller = tokens.authenticate(ctx, token, START)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("website", {"signals:write"})
    assert tokens.authenticate(ctx, token[:-1], START) is None
    tokens.revoke_token(ctx, "website", START)
    assert tokens.authenticate(ctx, token, START) is None
    with pytest.raises(NotFound, match="nurture admin tokens list"):
        tokens.revoke_token(ctx, "website", START)


def test_the_last_use_is_recorded_by_day_and_never_moves_backward(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    token = tokens.create_token(ctx, "website", [TokenScope.LEADS], START)
    assert [one.last_used_on for one in tokens.list_tokens(ctx)] == [None]
    for at, day in ((3, 3), (1, 3), (5, 5)):
        tokens.authenticate(ctx, token, START + timedelta(days=at, hours=7))
        (token_info,) = tokens.list_tokens(ctx)
        assert token_info.last_used_on == (START + timedelta(days=day)).date()


def test_two_valid_tokens_cannot_share_a_name(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    first = tokens.create_token(ctx, "website", [TokenScope.LEADS], START)
    with pytest.raises(InvalidState, match="nurture admin tokens revoke website"):
        tokens.create_token(ctx, "website", [TokenScope.LEADS], START)
    tokens.revoke_token(ctx, "website", START)
    assert tokens.create_token(ctx, "website", [TokenScope.LEADS], START) != first
