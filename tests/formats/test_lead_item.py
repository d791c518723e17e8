from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nurture.formats.columns import custom_field_name
from nurture.formats.lead_item import ItemReader
from nurture.formats.lead_row import LeadRow


def read(**item: object) -> LeadRow:
    return ItemReader("crm", {}).read(1, {"email": "a@example.com", **item})


def test_a_custom_field_that_is_known_as_an_opt_out_counts() -> None:
    assert read(custom={"Unsubscribed from all email": "true"}).opted_out
    assert read(custom={"hard_bounce_reason": "mailbox full"}).undeliverable
    assert read(custom={"Unsubscribed from all email": "false"}).opted_out is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sperrkennzeichen", "x"), ("mail_state", "unsubscribed"), ("newsletter", "no"), ("notes", "STOP"),
        ("comment", "Called. Do not email."), ("Massen-E-Mail", "Nicht zulassen"),
    ],
)  # fmt: skip
def test_a_custom_field_that_may_be_an_opt_out_is_named(name: str, value: str) -> None:
    assert read(custom={name: value, "plan": "pro"}).unclear_opt_out == custom_field_name(name)


def test_other_custom_fields_are_no_opt_outs() -> None:
    row = read(custom={"plan": "pro", "newsletter": "yes", "notes": "asks about unsubscribing", "bounce_rate": "12"})
    assert (row.opted_out, row.unclear_opt_out, row.consent_basis) == (None, None, None)


def test_an_opt_out_may_be_a_date_or_a_status() -> None:
    assert read(opted_out="2026-01-01").opted_out_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert read(status="Unsubscribed").opted_out
    assert read(consent_basis="withdrawn").consent_withdrawn


def test_an_unknown_basis_of_consent_gives_none_and_is_noted() -> None:
    reader = ItemReader("api", {})
    row = reader.read(1, {"email": "a@example.com", "consent_basis": "telepathy"})
    assert (row.consent_basis, row.consent_withdrawn) == (None, None)
    (note,) = reader.describe_noted()
    assert "'consent_basis'" in note
    assert "'telepathy' (1)" in note


def test_the_api_reads_cells_as_files_do() -> None:
    row = read(first_name="null", last_name="Zo&euml;", country="NA", employees="1,200.00", title="Mr", postcode="1067")
    assert (row.first_name, row.last_name, row.country, row.employees, row.title) == (None, "Zoë", "NA", 1200, None)
    assert read(country="DE", postcode=1067.0).postcode == "01067"
    assert read(first_name="A\u202ena").first_name == "Ana"


def test_what_an_item_that_cannot_be_read_refuses_is_kept() -> None:
    rescued = ItemReader("crm", {}).rescue(1, {"email": "a@example.com", "opted_out": True, "attended": "perhaps"})
    assert rescued is not None
    assert (rescued.email, rescued.opted_out) == ("a@example.com", True)
    for item in ({"email": "a@example.com"}, {"opted_out": True}, [], {"email": ["a@example.com"], "opted_out": False}):
        assert ItemReader("crm", {}).rescue(1, item) is None
