from __future__ import annotations

import pytest

from nurture.formats.status_words import Basis, Status, basis_of, status_of, strongest


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Open - Not Contacted", Status.OPEN),
        ("Working - Contacted", Status.WORKING),
        ("Closed - Converted", Status.WON),
        ("Closed - Not Converted", Status.LOST),
        ("customer", Status.CUSTOMER),
        ("salesqualifiedlead", Status.WORKING),
        ("IN_PROGRESS", Status.WORKING),
        ("Attempted to Contact", Status.WORKING),
        ("BAD_TIMING", Status.NURTURE),
        ("Nurturing", Status.NURTURE),
        ("Unqualified", Status.UNQUALIFIED),
        ("closedWon", Status.WON),
        ("In Bob's hands", None),
        ("", None),
    ],
)
def test_the_systems_words_mean_one_of_ours(text: str, status: Status | None) -> None:
    assert status_of(text) == status


def test_of_several_statuses_the_one_that_keeps_our_mail_away_counts() -> None:
    assert strongest([Status.OPEN, Status.WORKING]) is Status.WORKING
    assert strongest([Status.UNQUALIFIED, Status.CUSTOMER]) is Status.CUSTOMER
    assert strongest([]) is None


@pytest.mark.parametrize(
    ("text", "basis"),
    [
        ("Legitimate interest - prospect/lead", Basis.LEGITIMATE_INTEREST),
        ("Double opt-in", Basis.CONSENT),
        ("Freely given consent from contact", Basis.CONSENT),
        ("Performance of a contract", Basis.CONTRACT),
        ("legitimate_interest", Basis.LEGITIMATE_INTEREST),
        ("yes", Basis.CONSENT),
        ("No", None),
        ("Not applicable", None),
        ("I agree to receive mail", Basis.CONSENT),
    ],
)
def test_a_consent_cell_names_a_basis_or_none(text: str, basis: Basis | None) -> None:
    assert basis_of(text) == basis


def test_an_unknown_consent_is_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="legitimate_interest"):
        basis_of("perhaps")
