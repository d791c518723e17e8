"""Test the builders that other tests rely on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from nurture.db.engine import Database
from tests.journey.builders import START, add_lead, make_context, run_at


def test_a_head_enters_welcome_on_the_first_day_and_everybody_else_keep(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    head, other = add_lead(ctx, title="Head of it"), add_lead(ctx, title="Clerk")
    run_at(ctx, START, START + timedelta(hours=2), START + timedelta(hours=3))
    with db.read() as tx:
        refs = {row[0]: row[1] for row in tx.execute(text("SELECT lead_id, ref FROM custody"))}
        sent = tx.execute(text("SELECT lead_id, step FROM message WHERE state = 'accepted'")).all()
    assert refs == {head: "welcome", other: "keep"}
    assert [tuple(row) for row in sent] == [(head, "01-hello")]


def test_a_ready_lead_is_offered_to_a_rep_in_the_first_run(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    with db.read() as tx:
        assert tx.execute(text("SELECT rep, state FROM offer")).one() == ("ana", "offered")
