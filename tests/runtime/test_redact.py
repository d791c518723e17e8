from __future__ import annotations

from nurture.errors import InvalidState
from nurture.runtime.redact import redact


def test_what_failed_is_described_without_the_fields_of_the_lead() -> None:
    error = ValueError("'Ana\\nSouza' <ana@example.com> of Souza Foods cannot be written to")
    redacted = redact(error, {"first_name": "Ana\nSouza", "company": "Souza Foods"}, "ana@example.com")
    assert redacted == "ValueError: '…' <…> of … cannot be written to"


def test_an_error_for_people_keeps_its_own_words() -> None:
    assert redact(InvalidState("Step 02 is gone. Publish again."), {"title": "St"}) == "Step 02 is gone. Publish again."
