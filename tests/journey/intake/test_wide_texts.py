"""Tests that texts of maximum length, in 4-byte characters, are stored on both databases."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.plain_text import MAX_KEY_BYTES, index_key
from nurture.formats import lead_item
from nurture.formats.items import Item
from nurture.journey.accounts import import_file
from nurture.journey.engagement import signal_files
from nurture.journey.intake import import_file as intake_import_file
from nurture.journey.intake.api import batches
from nurture.journey.intake.api.items import LeadReference, SignalItem
from nurture.journey.leads import find
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context
from tests.journey.engagement.test_replies import HOUR
from tests.journey.observe import one, rows

NOW = START + 2 * HOUR


def max_lengths(model: type[Item]) -> dict[str, int]:
    """Return the maximum lengths of the texts of *model*."""
    fields = {name: field.metadata for name, field in model.model_fields.items()}
    return {name: one.max_length for name, found in fields.items() for one in found if hasattr(one, "max_length")}


SIGNAL_TEXTS = max_lengths(SignalItem)
ADDRESS = "mia@people.example"


def wide(count: int, seed: int = 1) -> str:
    """Return 4-byte characters that an index cannot compress."""
    chance = random.Random(seed)
    return "".join(chr(chance.randrange(0x20000, 0x2A6DF)) for _ in range(count))


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, email=ADDRESS)
    return ctx


def signal(**fields: object) -> dict[str, object]:
    return {"lead": {"email": ADDRESS}, "kind": "visited", "occurred_at": START.isoformat(), **fields}


def test_a_key_that_is_too_long_for_an_index_is_hashed() -> None:
    fits = "x" * MAX_KEY_BYTES
    assert index_key(fits) == fits
    assert index_key(fits + "x").startswith("sha256:")
    assert index_key(wide(251)) == index_key(wide(251)) != index_key(wide(252))
    assert len(index_key("\ud800" * 400).encode()) < MAX_KEY_BYTES


@pytest.mark.parametrize("field", SIGNAL_TEXTS)
def test_each_text_of_a_signal_may_have_its_maximum_length(ctx: AppContext, field: str) -> None:
    long = signal(**{field: wide(SIGNAL_TEXTS[field])})
    for known in (0, 2):
        done = batches.post_signals(ctx, [signal(value="x"), long], NOW)
        assert (done.accepted, done.counts) == (2, {"new": 2 - known, "known": known})


def test_all_texts_of_a_signal_together_may_have_their_maximum_length(ctx: AppContext) -> None:
    long = {name: wide(max_length, max_length) for name, max_length in SIGNAL_TEXTS.items() if name != "id"}
    done = batches.post_signals(ctx, [signal(value="x"), signal(**long)], NOW)
    assert (done.accepted, done.rejected, one(ctx, "SELECT count(*) FROM signal")) == (2, [], 2)


def test_a_lead_is_found_by_an_id_of_maximum_length(ctx: AppContext) -> None:
    long = wide(max_lengths(LeadReference)["external_id"])
    for counts in ({"new": 1, "updated": 0, "unchanged": 0}, {"new": 0, "updated": 0, "unchanged": 1}):
        done = batches.post_leads(ctx, "crm", [{"external_id": long}], "a program", NOW)
        assert (done.accepted, done.counts) == (1, counts)
    lead = find.find_lead(ctx, long)
    assert find.find_lead(ctx, f"crm:{long}") == lead
    named = {"external_id": long, "source": "crm"}
    assert batches.post_signals(ctx, [signal(lead=named)], NOW).accepted == 1
    assert one(ctx, "SELECT lead_id FROM signal") == lead


@pytest.mark.parametrize("field", sorted({*lead_item.FIELD_NAMES, "custom"} - {"email"}))
def test_a_lead_with_a_long_text_does_not_stop_the_others(ctx: AppContext, field: str) -> None:
    long = wide(lead_item.MAX_VALUE_LENGTH)
    lead = {"email": "noor@people.example", field: {"plan": long} if field == "custom" else long}
    done = batches.post_leads(ctx, "crm", [lead, {"email": "ola@people.example"}], "a program", NOW)
    assert {error.index for error in done.rejected} <= {0}
    assert done.accepted == 2 - len(done.rejected)
    assert one(ctx, "SELECT count(*) FROM address WHERE normalized = 'ola@people.example'") == 1


def test_an_outcome_may_have_texts_of_maximum_length(ctx: AppContext) -> None:
    outcome = {"lead": {"email": ADDRESS}, "closing": "lost", "happened_at": START.isoformat()}
    long = {"reason": wide(300), "id": wide(200)}
    assert batches.post_outcomes(ctx, [outcome | long], NOW).rejected == []
    assert batches.post_outcomes(ctx, [outcome | long], NOW).counts["known"] == 1


def _file(folder: Path, *lines: tuple[str, ...]) -> Path:
    with (folder / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return folder / "in.csv"


def test_files_import_texts_of_any_length(ctx: AppContext, tmp_path: Path) -> None:
    long = wide(3_000)
    head = ("lead", "kind", "at", "value", "email", "link")
    signals = [(ADDRESS, "visited", "2026-01-03", "x", "", ""), (ADDRESS, "visited", "2026-01-03", long, long, long)]
    for new in (2, 0):
        done = signal_files.import_signals(ctx, _file(tmp_path, head, *signals), NOW)
        assert (done.new, done.unchanged, done.rejected) == (new, 2 - new, 0)
    file = _file(tmp_path, ("Lead ID", "Email", "Consent"), (long, "noor@people.example", "yes"))
    assert intake_import_file.import_file(ctx, file, NOW, source=long).new == 1
    assert intake_import_file.import_file(ctx, file, NOW, source=long).unchanged == 1
    file = _file(tmp_path, ("id", "name", "parent"), (long, f"A {long}", ""), ("2", "Small", long))
    for new in (2, 0):
        assert import_file.import_accounts(ctx, file, NOW, source=long).new == new
    assert one(ctx, "SELECT count(*) FROM account WHERE parent_id IS NOT NULL") == 1


def test_a_signal_that_the_database_rejects_does_not_stop_the_others(ctx: AppContext, tmp_path: Path) -> None:
    with ctx.database.write() as tx:
        rule = "ALTER TABLE signal ADD CONSTRAINT odd CHECK (value <> 'odd')"
        if tx.is_sqlite:
            rule = (
                "CREATE TRIGGER odd BEFORE INSERT ON signal WHEN NEW.value = 'odd' "
                "BEGIN SELECT RAISE(ABORT, 'odd'); END"
            )
        tx.execute(text(rule))
    done = batches.post_signals(ctx, [signal(value="a"), signal(value="odd"), signal(value="b")], NOW)
    assert (done.accepted, done.counts) == (2, {"new": 2, "known": 0})
    assert [(error.index, error.reason) for error in done.rejected] == [(1, "The database rejected it.")]
    signals = [(ADDRESS, "visited", "2026-01-03", value) for value in ("c", "odd", "d")]
    file = signal_files.import_signals(ctx, _file(tmp_path, ("lead", "kind", "at", "value"), *signals), NOW)
    assert (file.rows, file.new, file.unchanged, file.rejected) == (3, 2, 0, 1)
    assert rows(ctx, "SELECT value FROM signal ORDER BY value") == [("a",), ("b",), ("c",), ("d",)]
