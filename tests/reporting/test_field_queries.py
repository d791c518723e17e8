"""The list of fields shows which leads have each, and no example of a personal one."""

from __future__ import annotations

from pathlib import Path

from nurture.db.engine import Database
from nurture.definitions.read_all import read
from nurture.reporting.field_queries import list_fields
from tests.journey.builders import add_lead, make_context, sample_rules
from tests.journey.observe import recorded_statements

FIELDS = "plan: {type: choice, choices: [free, paid], label: The plan}\n"


def test_each_field_has_its_type_label_coverage_and_examples(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, first_name="Ana", attended=True, plan="free", seats="5")
    add_lead(ctx, plan="paid", attended=False, employees=7, title="")
    definitions, _ = read(sample_rules() | {"fields.yaml": FIELDS})
    found = {one.name: one for one in list_fields(ctx, definitions.fields)}
    plan = found["plan"]
    assert (plan.type, plan.label, plan.coverage, plan.examples) == ("choice", "The plan", 1.0, ("free", "paid"))
    assert (found["attended"].coverage, set(found["attended"].examples)) == (1.0, {"yes", "no"})
    assert (found["first_name"].coverage, found["first_name"].examples) == (0.5, ())
    assert (found["employees"].examples, found["title"].leads) == (("7",), 0)
    assert (found["seats"].declared, found["seats"].type) == (False, "text")


def test_the_list_costs_two_statements(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, plan="free")
    with recorded_statements(db) as statements:
        list_fields(ctx, {})
    assert len([each for each in statements if not each.startswith("BEGIN")]) == 2
