"""Conditions compare the owner of a lead as emails name it, and a change of the owner asks them again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.definitions import read_all
from nurture.journey.accounts.accounts import assign_account
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.leads import snapshot
from nurture.journey.tracks.advance import load_for_planner
from nurture.journey.tracks.enroll_where import enroll_where
from nurture.journey.tracks.forecast_groups import forecast_all
from nurture.publishing.audience_check import count_audiences
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, due_at, one, recorded_statements, rows

DAY = timedelta(days=1)
OF_BEN = """
name: of-ben
goal: The customers of Ben
audience: {field: owner, is: Ben}
priority: 50
steps:
  - email: 01-news
    after: 10 days
finally: keep
"""
ROUTING = """
routing:
  - {name: ben, when: {field: owner, is: Ben}, to: {rep: ana}}
  - {name: account, to: account owner}
  - {name: all, to: {pool: everyone}}
"""


def rules(policy: str = "") -> dict[str, str]:
    found = sample_rules()
    found["tracks/of-ben/track.yaml"] = OF_BEN
    found["tracks/of-ben/01-news.md"] = found["tracks/keep/01-news.md"]
    found["sales/policy.yaml"] += policy
    return found


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=rules())


def take_accounts(ctx: AppContext, tmp_path: Path, *lines: str, at: int = 0) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text("\n".join(["id,name,domains,owner", *lines]) + "\n", "utf-8")
    import_accounts(ctx, file, START + at * DAY, source="crm")


def tracks(ctx: AppContext, *leads: int) -> list[str]:
    return [custody(ctx, lead)[1] for lead in leads]


def test_an_audience_sees_the_owner_of_the_account_and_what_the_file_named_without_one(
    ctx: AppContext, tmp_path: Path
) -> None:
    take_accounts(ctx, tmp_path, "1,Acme,acme.example,ben", "2,Bolt,bolt.example,ana")
    of_account = add_lead(ctx, email="mia@acme.example")
    of_file = add_lead(ctx, email="noor@other.example", owner="ben@house.example")
    of_another = add_lead(ctx, email="lia@bolt.example", owner="Ben")
    unknown = add_lead(ctx)
    run_at(ctx, START)
    assert tracks(ctx, of_account, of_file, of_another, unknown) == ["of-ben", "of-ben", "keep", "keep"]
    assert one(ctx, "SELECT count(*) FROM lead_account") == 0  # asking decides nothing


def test_a_lead_moves_to_the_track_of_its_new_owner_and_no_other_lead_is_woken(ctx: AppContext, tmp_path: Path) -> None:
    accounts = ["1,Acme,acme.example,ana", "2,Bolt,bolt.example,ana", "3,Quillbrook,,ana"]
    take_accounts(ctx, tmp_path, *accounts)
    by_domain = add_lead(ctx, email="mia@acme.example")
    by_name = add_lead(ctx, company="Quillbrook")
    by_hand = add_lead(ctx)
    new_account = add_lead(ctx, email="kim@crane.example")
    others = [add_lead(ctx, email="lia@bolt.example"), add_lead(ctx)]
    run_at(ctx, START)
    assign_account(ctx, by_hand, one(ctx, "SELECT id FROM account WHERE name = 'Acme'"), START)
    run_at(ctx, START)
    before = [due_at(ctx, lead) for lead in others]
    changed = [accounts[0].replace("ana", "ben"), accounts[1], accounts[2].replace("ana", "ben")]
    take_accounts(ctx, tmp_path, *changed, "4,Crane,crane.example,ben", at=1)
    assert [due_at(ctx, lead) for lead in others] == before
    run_at(ctx, START + DAY)
    assert tracks(ctx, by_domain, by_name, by_hand, new_account, *others) == ["of-ben"] * 4 + ["keep"] * 2


def test_a_lead_that_is_assigned_by_hand_is_asked_again(ctx: AppContext, tmp_path: Path) -> None:
    take_accounts(ctx, tmp_path, "1,Acme,acme.example,ben")
    lead = add_lead(ctx)
    run_at(ctx, START)
    assign_account(ctx, lead, one(ctx, "SELECT id FROM account"), START + DAY)
    run_at(ctx, START + DAY)
    assert tracks(ctx, lead) == ["of-ben"]


def test_an_import_of_accounts_wakes_leads_in_the_same_number_of_statements(ctx: AppContext, tmp_path: Path) -> None:
    take_accounts(ctx, tmp_path, "1,Acme,acme.example,ana")
    add_lead(ctx, email="mia@acme.example")
    run_at(ctx, START)
    counts = []
    for at, (more, owner) in enumerate([(0, "ben"), (60, "ana")], 1):
        for number in range(more):
            add_lead(ctx, email=f"a{number}@acme.example")
        run_at(ctx, START + at * DAY, START + at * DAY)
        with recorded_statements(ctx.database) as statements:
            take_accounts(ctx, tmp_path, f"1,Acme,acme.example,{owner}", at=at + 1)
        counts.append(len(statements))
    assert counts[0] == counts[1]
    leads = [row[0] for row in rows(ctx, "SELECT lead_id FROM custody")]
    assert {due_at(ctx, lead) for lead in leads} == {START + 3 * DAY}


def test_routing_rules_and_conditions_of_commands_see_the_owner(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=rules(ROUTING))
    take_accounts(ctx, tmp_path, "1,Acme,acme.example,ben")
    lead = add_lead(ctx, email="mia@acme.example", demo_requested=True)
    other = add_lead(ctx, email="noor@acme.example", title="Head of stock")
    run_at(ctx, START)
    assert one(ctx, "SELECT rep FROM offer WHERE lead_id = :lead", lead=lead) == "ana"
    assert "owner is Ben" in one(ctx, "SELECT routing_reason FROM offer")
    condition = read_all.load(rules()).tracks["of-ben"].audience
    assert condition is not None
    assert enroll_where(ctx, "welcome", condition, START).entering == {"of-ben": 1}
    assert tracks(ctx, other) == ["welcome"]


def test_a_count_of_audiences_before_publishing_sees_the_owner(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    take_accounts(ctx, tmp_path, "1,Acme,acme.example,ben")
    add_lead(ctx, email="mia@acme.example")
    add_lead(ctx)
    counts = {one.track: (one.fit, one.leads) for one in count_audiences(ctx, rules(), START)}
    assert counts["of-ben"] == (1, 2)


def test_leads_that_differ_only_in_their_owner_are_forecast_apart(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    with ctx.database.read() as tx:
        definitions = ctx.definitions.current(tx)
        locked = snapshot.load_rows(tx, [lead], lock=False)
        (without,) = load_for_planner(ctx, tx, definitions, locked, START)
    of_ben = replace(without, view=replace(without.view, lead=replace(without.view.lead, owner="Ben")))
    groups: list[None] = []
    leads = [(one, "") for one in (without, without, of_ben)]
    forecast_all(leads, definitions, START, START + DAY, ctx.holidays, lambda: groups.append(None))
    assert len(groups) == 2


def test_what_no_condition_asks_for_is_not_read(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    add_lead(ctx, title="Head")
    with recorded_statements(ctx.database) as statements:
        run_at(ctx, START, START + DAY)
    assert not [one for one in statements if "lead_account" in one]


def test_a_condition_that_names_a_rep_by_id_or_address_is_a_warning_with_the_name() -> None:
    for written in ("ben@house.example", "[Ana, BEN@house.example]"):
        found = rules()
        found["tracks/of-ben/track.yaml"] = OF_BEN.replace("is: Ben", f"is: {written}")
        (warning,) = (one for one in read_all.check(found) if "owner" in str(one))
        assert "Write `Ben`" in str(warning)
    assert not [one for one in read_all.check(rules()) if "owner" in str(one)]
