"""Emails to our own team that name several people: an erasure finds the copies of each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.tables.delivery import message as messages
from nurture.domain.policy.team import Manager
from nurture.journey.delivery import claim, run, send
from nurture.journey.erasure import erase
from nurture.journey.handoff.digest_emails import plan_digest
from nurture.journey.handoff.waiting.emails import Notice, plan_emails
from nurture.journey.handoff.waiting.lists import queue_calendar
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.erasure.test_erase import ADDRESS, DAY, HOUR, import_person, make_erasure_context
from tests.journey.handoff.test_sla_sweep import MONDAY, escalation_rules
from tests.journey.observe import one, rows, write


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_erasure_context(db, tmp_path)


def _deliver(ctx: AppContext) -> None:
    run.deliver(ctx, VirtualClock(START))


def _copy(folder: Path, kind: str) -> Path:
    (copy,) = (folder / "maildir" / "new").glob(f"{kind}*")
    return copy


def _listed(ctx: AppContext, folder: Path) -> tuple[int, int]:
    """Return two leads that wait in a queue, Mia and Noor; a list that belongs to Noor is planned."""
    import_person(ctx, folder)
    found = {id_: one(ctx, "SELECT lead_id FROM identity WHERE external_id = :id", id=id_) for id_ in ("c-1", "c-4711")}
    write(ctx, "UPDATE custody SET kind = 'queue', ref = 'needs-a-look', version = version + 1")
    with ctx.database.write() as tx:
        policy = ctx.definitions.current(tx).policy
        plan_emails(tx, {"ana": Notice(found["c-1"])}, queue_calendar(policy, ctx.holidays, START), START)
    return found["c-4711"], found["c-1"]


def test_a_list_that_names_an_erased_person_among_others_is_found(ctx: AppContext, tmp_path: Path) -> None:
    mia, _ = _listed(ctx, tmp_path)
    _deliver(ctx)
    copy = _copy(tmp_path, "waiting")
    assert "Mia Holm" in copy.read_text("utf-8")
    assert (mia,) in rows(ctx, "SELECT lead_id FROM message_mention")
    done = erase.erase_person(ctx, ADDRESS, START + HOUR, folders=[tmp_path / "maildir" / "new"])
    assert str(copy) in done.files
    assert "the mailbox of rep ana: mail about this lead" in done.systems


def test_a_composed_list_is_composed_again_without_an_erased_person(ctx: AppContext, tmp_path: Path) -> None:
    mia, noor = _listed(ctx, tmp_path)
    claimed = claim.claim_batch(ctx, START, 10)
    assert "Mia Holm" in next(iter(claimed.composed.values())).email.text
    for lead in (mia, noor):  # also the one to whom the list belongs
        erase.erase_person(ctx, str(lead), START)
    add_lead(ctx, first_name="Ida", at=START)
    write(ctx, "UPDATE custody SET kind = 'queue', ref = 'needs-a-look', version = version + 1 WHERE kind = 'intake'")
    send.send_claimed(ctx, claimed, VirtualClock(START))
    assert rows(ctx, "SELECT state FROM message WHERE kind = 'waiting'") == [("planned",)]
    _deliver(ctx)
    sent = _copy(tmp_path, "waiting").read_text("utf-8")
    assert "Ida" in sent
    assert "Mia" not in sent


def test_the_digest_of_a_manager_and_a_brief_that_names_a_colleague_are_found(db: Database, tmp_path: Path) -> None:
    rules = escalation_rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
        "one_rep_per_company: no", "one_rep_per_company: 30 days"
    )
    ctx = make_context(db, tmp_path, MONDAY, rules)
    known = {"title": "Head", "demo_requested": True, "company": "Quayside"}
    mia = add_lead(ctx, at=MONDAY, email="mia@quayside.example", full_name="Mia Holm", **known)
    run_at(ctx, MONDAY)
    noor = add_lead(ctx, at=MONDAY, email="noor@quayside.example", full_name="Noor Ali", **known)
    run_at(ctx, MONDAY)
    with ctx.database.write() as tx:
        policy = ctx.definitions.current(tx).policy
        digest = plan_digest(policy, ctx.holidays, Manager("lena", "Lena", "lena@house.example"), noor, MONDAY)
        tx.insert(messages, digest._fields, [digest])
    run.deliver(ctx, VirtualClock(MONDAY + DAY))
    done = erase.erase_person(ctx, str(mia), MONDAY + DAY + HOUR, folders=[tmp_path / "maildir" / "new"])
    named = [Path(file).name.partition(".")[0] for file in done.files]
    offers = rows(ctx, "SELECT id, lead_id FROM offer ORDER BY id")
    assert offers == [(1, mia), (2, noor)]
    assert sorted(named) == ["brief", "brief", "digest"], done.files
