from __future__ import annotations

from nurture.errors import Refused
from nurture.runtime.redact import unnamed


def test_what_failed_is_told_without_the_facts_of_the_lead() -> None:
    error = ValueError("'Ana\\nSouza' <ana@example.com> of Souza Foods cannot be written to")
    told = unnamed(error, {"first_name": "Ana\nSouza", "company": "Souza Foods"}, "ana@example.com")
    assert told == "ValueError: '…' <…> of … cannot be written to"


def test_an_error_for_people_keeps_its_own_words() -> None:
    assert (
        unnamed(Refused("Step 02 is gone. Publish again."), {"title": "St"})
        == "Step 02 is gone. Publish again."
    )
