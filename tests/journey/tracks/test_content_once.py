# ruff: noqa: E501  - rows and sentences as they are
"""With `content: once` nobody gets a piece of content twice, in any track; who has had all of it is counted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.leads import snapshot
from nurture.journey.leads.received_queries import ContentLeft, count_content_left, with_received
from nurture.publishing.publish import publish
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, recorded_statements, rows

DAY = timedelta(days=1)
KEEP = "tracks/keep/track.yaml"


def _email(subject: str, piece: str = "") -> str:
    return f"---\nsubject: {subject}\npreheader: a\n{f'piece: {piece}' if piece else ''}\n---\nHello.\n"


def _rules(content: str = "once") -> dict[str, str]:
    rules = sample_rules()
    rules["tracks/welcome/01-hello.md"] = _email("Hello", "guide")
    rules |= {"tracks/keep/01-news.md": _email("News", "guide"), "tracks/keep/02-tip.md": _email("Tip")}
    rules[KEEP] = rules[KEEP].replace(
        "- email: 01-news", f"- email: [01-news, 02-tip]\n          content: {content}\n          id: letter"
    )
    return rules


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=_rules())


def live(ctx: AppContext, first: int, last: int) -> None:
    run_at(ctx, *(START + day * DAY + timedelta(hours=hour) for day in range(first, last) for hour in (2, 6)))


def sent(ctx: AppContext) -> list[tuple[int, str]]:
    found = rows(ctx, "SELECT lead_id, email FROM message WHERE kind = 'touch' AND state = 'accepted' ORDER BY id")
    return [(lead, email) for lead, email in found]


def left(ctx: AppContext) -> list[ContentLeft]:
    with ctx.database.read() as tx:
        return count_content_left(tx, ctx.definitions.current(tx).programs)


def test_a_lead_gets_only_what_it_has_not_had_and_then_nothing_until_there_is_more(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head of stock")
    fresh = add_lead(ctx)
    live(ctx, 0, 70)
    assert [email for id_, email in sent(ctx) if id_ == lead] == ["01-hello", "02-more", "02-tip"]
    assert [email for id_, email in sent(ctx) if id_ == fresh] == ["01-news", "02-tip"]
    assert custody(ctx, lead) == custody(ctx, fresh) == ("track", "keep")
    assert "letter is skipped: the lead has had all of it" in [
        reason for (reason,) in rows(ctx, "SELECT reason FROM journal WHERE event = 'skipped'")
    ]
    assert left(ctx) == [ContentLeft("keep", 2, 2, 0)]
    assert (
        str(left(ctx)[0])
        == "keep: leads with none of its 2 pieces left: 2; with one left: 0. Write new ones: they go to everybody who had the rest"
    )
    rules = _rules() | {"tracks/keep/03-new.md": _email("New")}
    rules[KEEP] = rules[KEEP].replace("02-tip]", "02-tip, 03-new]")
    publish(ctx, rules, START + 70 * DAY)
    assert left(ctx) == [ContentLeft("keep", 3, 0, 2)]
    live(ctx, 70, 110)
    assert [email for _, email in sent(ctx)][-2:] == ["03-new", "03-new"]
    assert run_audit(ctx, START + 110 * DAY).ok


def test_without_it_emails_go_round_again(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, rules=_rules("any"))
    add_lead(ctx)
    live(ctx, 0, 70)
    assert [email for _, email in sent(ctx)] == ["01-news", "02-tip", "01-news"]
    assert left(ctx) == []


def test_the_author_hears_of_it_before_the_first_lead_gets_there(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, rules=_rules())
    add_lead(ctx)
    assert str(left(ctx)[0]) == ""
    live(ctx, 0, 15)
    assert str(left(ctx)[0]).startswith("keep: leads with none of its 2 pieces left: 0; with one left: 1")


def test_what_leads_have_had_is_read_in_one_statement_and_only_for_tracks_that_ask(ctx: AppContext) -> None:
    leads = [add_lead(ctx) for _ in range(3)]
    live(ctx, 0, 12)
    with ctx.database.read() as tx:
        programs = ctx.definitions.current(tx).programs
        loaded = snapshot.load_snapshots(ctx, tx, None, snapshot.load_rows(tx, leads, lock=False), START)
        with recorded_statements(ctx.database) as statements:
            found = with_received(tx, loaded, programs)
            assert with_received(tx, loaded, {"keep": programs["welcome"]}) == loaded
    assert len(statements) == 1
    assert [one.view.received for one in found] == [frozenset({"guide"})] * 3
