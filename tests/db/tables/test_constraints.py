"""The rules that the database itself keeps, whatever the code above it does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Executable, Table, delete, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from nurture.db.engine import Database
from nurture.db.metadata import metadata

NOON = datetime(2025, 3, 30, 12, tzinfo=UTC)
LEAD = {
    "source": "csv",
    "fields": {},
    "zone": "",
    "country": "",
    "engagement": 0.0,
    "readiness": "",
    "first_contact_at": NOON,
    "created_at": NOON,
    "updated_at": NOON,
}
ROWS: dict[str, dict[str, Any]] = {
    "address": {"email": "Ann@example.com", "normalized": "ann@example.com"},
    "lead": LEAD | {"address_id": 1},
    "identity": {"source": "crm", "external_id": "A1", "lead_id": 1},
    "suppression": {
        "address_id": 1,
        "action": "suppress",
        "scope": "global",
        "ref": "",
        "source": "link",
        "recorded_at": NOON,
    },
    "custody": {
        "lead_id": 1,
        "kind": "track",
        "ref": "keep-warm",
        "since": NOON,
        "next_action": "email",
        "due_at": NOON,
        "version": 1,
    },
    "enrollment": {
        "lead_id": 1,
        "track": "keep-warm",
        "entered_at": NOON,
        "step": "s",
        "visit": 1,
        "anchor_at": NOON,
        "reached_at": NOON,
        "ended_at": None,
    },
    "publication": {
        "kind": "policy",
        "name": "policy",
        "version": 1,
        "digest": "d",
        "sources": {},
        "published_at": NOON,
    },
    "approval": {
        "policy_version": 1,
        "publication_id": 1,
        "approved_by": "Mara",
        "approved_on": NOON.date(),
        "recorded_at": NOON,
        "method": "first",
    },
    "offer": {
        "lead_id": 1,
        "rep": "r",
        "rule": "x",
        "handoff_reason": "x",
        "routing_reason": "x",
        "policy_version": 1,
        "state": "offered",
        "offered_at": NOON,
        "expires_at": NOON,
    },
    "message": {
        "send_key": "touch:1:s:1",
        "kind": "touch",
        "recipient": "lead",
        "lead_id": 1,
        "step": "s",
        "visit": 1,
        "email": "ann@example.com",
        "planned_at": NOON,
        "send_at": NOON,
        "expires_at": NOON,
        "state": "planned",
        "state_at": NOON,
        "attempts": 0,
    },
    "signal": {
        "lead_id": 1,
        "kind": "clicked",
        "occurred_at": NOON,
        "recorded_at": NOON,
        "natural_key": "k",
        "verdict": "human",
        "verdict_reason": "",
        "source": "cli",
    },
    "journal": {"lead_id": 1, "at": NOON, "stage": "advance", "event": "held", "reason": "quiet hours"},
    "clock": {"id": 1, "mode": "live", "seen_at": NOON, "installation_id": "0a1b2c3d", "salt": "5e4f"},
}


def table(name: str) -> Table:
    return metadata.tables[name]


def add(db: Database, name: str, **changed: object) -> None:
    """Add a row of the table *name* that is right but for what is *changed*."""
    with db.write() as tx:
        tx.execute(insert(table(name)).values(ROWS[name] | changed))


@pytest.fixture
def full_db(db: Database) -> Database:
    """A database with one row in each table."""
    for name in ROWS:
        add(db, name)
    return db


def count(db: Database, name: str) -> int:
    with db.read() as tx:
        return len(tx.execute(select(table(name))).all())


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        pytest.param("address", {"email": "ANN@example.com"}, id="two addresses that are the same"),
        pytest.param("lead", {}, id="two leads with one address"),
        pytest.param("identity", {}, id="one external id for two leads"),
        pytest.param("custody", {}, id="two custodians of one lead"),
        pytest.param("enrollment", {"track": "webinar"}, id="a second open enrollment"),
        pytest.param("offer", {"rep": "other"}, id="a second open offer"),
        pytest.param("message", {"step": "other"}, id="the same send key again"),
        pytest.param("signal", {"kind": "replied"}, id="the same signal again"),
        pytest.param("publication", {"digest": "other"}, id="a version published twice"),
        pytest.param("clock", {}, id="a second clock of the same id"),
        pytest.param("clock", {"id": 2}, id="a second clock"),
    ],
)
def test_what_exists_once_is_refused_again(full_db: Database, name: str, changed: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        add(full_db, name, **changed)
    assert count(full_db, name) == 1


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("lead", {"address_id": None}),
        ("enrollment", {"ended_at": NOON}),
        ("offer", {"state": "rejected"}),
        ("message", {"send_key": "touch:1:s:2"}),
        ("publication", {"version": 2}),
        ("publication", {"kind": "track"}),
        ("identity", {"source": "other"}),
    ],
)
def test_what_only_looks_alike_is_taken(full_db: Database, name: str, changed: dict[str, object]) -> None:
    add(full_db, name, **changed)
    add(full_db, "enrollment", ended_at=NOON)
    add(full_db, "offer", state="expired")
    assert count(full_db, name) >= 2


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"kind": "closed", "next_action": ""}, "due"),
        ({"kind": "track", "due_at": None}, "due"),
        ({"kind": "rep", "due_at": None}, "due"),
        ({"kind": "drawer"}, "kind"),
        ({"ref": ""}, "ref"),
        ({"next_action": ""}, "next_action"),
    ],
)
def test_a_lead_never_rests_without_a_custodian_who_has_something_to_do(
    db: Database, changed: dict[str, object], rule: str
) -> None:
    add(db, "address")
    add(db, "lead")
    with pytest.raises(IntegrityError, match=f"ck_custody_{rule}"):
        add(db, "custody", **changed)
    add(db, "custody", kind="closed", ref="won", next_action="", due_at=None)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("suppression", {"scope": "galaxy"}),
        ("suppression", {"action": "forget"}),
        ("message", {"send_key": "x", "recipient": "everybody"}),
        ("message", {"send_key": "x", "state": "maybe"}),
        ("offer", {"state": "lost"}),
        ("approval", {"method": "somehow"}),
        ("clock", {"mode": "warped"}),
    ],
)
def test_a_word_outside_the_vocabulary_is_refused(db: Database, name: str, changed: dict[str, object]) -> None:
    add(db, "address")
    add(db, "lead")
    with pytest.raises(IntegrityError, match=f"ck_{name}_"):
        add(db, name, **changed)


@pytest.mark.parametrize("name", sorted(name for name, row in ROWS.items() if "lead_id" in row))
def test_nothing_is_kept_about_a_lead_that_is_not_there(db: Database, name: str) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        add(db, name, lead_id=404)


def test_no_hand_off_is_made_under_a_policy_that_nobody_approved(full_db: Database) -> None:
    add(full_db, "publication", version=2)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        add(full_db, "offer", policy_version=2, state="accepted")
    add(full_db, "approval", policy_version=2, publication_id=2, method="approved")
    add(full_db, "offer", policy_version=2, state="accepted")
    assert count(full_db, "offer") == 2


def run(db: Database, statement: Executable) -> None:
    with db.write() as tx:
        tx.execute(statement)


@pytest.mark.parametrize("name", ["journal", "suppression", "publication", "approval"])
def test_what_was_recorded_is_never_changed_or_deleted(full_db: Database, name: str) -> None:
    log = table(name)
    (key,) = log.primary_key.columns
    for statement in (update(log).values({key.name: key}), delete(log), delete(log).where(key == 1)):
        with pytest.raises(IntegrityError, match=f"{name} is append-only"):
            run(full_db, statement)
    assert count(full_db, name) == 1


@pytest.mark.parametrize(
    ("name", "words"), [("journal", {"reason": "", "detail": null()}), ("suppression", {"evidence": null()})]
)
def test_erasing_removes_the_text_of_a_log_and_changes_nothing_else(
    full_db: Database, name: str, words: dict[str, Any]
) -> None:
    run(full_db, update(table(name)).values(words))
    run(full_db, update(table(name)).values(words))
    for column in words:
        with pytest.raises(IntegrityError, match=f"{name} is append-only"):
            run(full_db, update(table(name)).values({column: {"other": "words"} if column == "detail" else "x"}))
    with pytest.raises(IntegrityError, match=f"{name} is append-only"):
        run(full_db, update(table(name)).values({**words, "lead_id" if name == "journal" else "source": 1}))


@pytest.mark.parametrize("version", [0, 1, 3])
def test_custody_moves_one_version_at_a_time(full_db: Database, version: int) -> None:
    moved = update(table("custody"))
    with pytest.raises(IntegrityError, match="one version at a time"):
        run(full_db, moved.values(kind="queue", version=version))
    run(full_db, moved.values(kind="queue", version=2))
    with full_db.read() as tx:
        assert tx.execute(select(table("custody").c.version)).scalar_one() == 2


def test_a_json_column_keeps_null_as_null(full_db: Database) -> None:
    journal = table("journal")
    add(full_db, "journal", detail=None)
    with full_db.read() as tx:
        assert len(tx.execute(select(journal).where(journal.c.detail.is_(None))).all()) == 2
