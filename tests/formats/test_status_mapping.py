from __future__ import annotations

import pytest

from nurture.formats.status_mapping import ConsentBasis, LeadStatus, map_consent_basis, map_status, most_restrictive


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Open - Not Contacted", LeadStatus.OPEN),
        ("Working - Contacted", LeadStatus.WORKING),
        ("Closed - Converted", LeadStatus.WON),
        ("Closed - Not Converted", LeadStatus.LOST),
        ("customer", LeadStatus.CUSTOMER),
        ("salesqualifiedlead", LeadStatus.WORKING),
        ("IN_PROGRESS", LeadStatus.WORKING),
        ("Attempted to Contact", LeadStatus.WORKING),
        ("BAD_TIMING", LeadStatus.NURTURE),
        ("Nurturing", LeadStatus.NURTURE),
        ("Unqualified", LeadStatus.UNQUALIFIED),
        ("closedWon", LeadStatus.WON),
        ("Kunde", LeadStatus.CUSTOMER),
        ("Existing Client", LeadStatus.CUSTOMER),
        ("Customer - Churned", LeadStatus.LOST),
        ("Lost Lead", LeadStatus.LOST),
        ("In Bearbeitung", LeadStatus.WORKING),
        ("Opportunity: Won", LeadStatus.WON),
        ("Qualified Out", LeadStatus.UNQUALIFIED),
        ("Not a Lead", LeadStatus.UNQUALIFIED),
        ("Deceased", LeadStatus.UNQUALIFIED),
        ("In Bob's hands", None),
        ("Do Not Call", None),
        ("Partner", None),
        ("", None),
    ],
)
def test_status_texts_of_other_systems_are_mapped(text: str, status: LeadStatus | None) -> None:
    assert map_status(text) == status


def test_the_most_restrictive_of_several_statuses_is_used() -> None:
    assert most_restrictive([LeadStatus.OPEN, LeadStatus.WORKING]) is LeadStatus.WORKING
    assert most_restrictive([LeadStatus.UNQUALIFIED, LeadStatus.CUSTOMER]) is LeadStatus.CUSTOMER
    assert most_restrictive([]) is None


@pytest.mark.parametrize(
    ("text", "basis"),
    [
        ("Legitimate interest - prospect/lead", ConsentBasis.LEGITIMATE_INTEREST),
        ("Double opt-in", ConsentBasis.CONSENT),
        ("Freely given consent from contact", ConsentBasis.CONSENT),
        ("Performance of a contract", ConsentBasis.CONTRACT),
        ("legitimate_interest", ConsentBasis.LEGITIMATE_INTEREST),
        ("yes", ConsentBasis.CONSENT),
        ("No", None),
        ("Not applicable", None),
        ("I agree to receive mail", ConsentBasis.CONSENT),
    ],
)
def test_a_consent_text_is_mapped_to_a_basis_or_none(text: str, basis: ConsentBasis | None) -> None:
    assert map_consent_basis(text) == basis


def test_an_unknown_consent_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="legitimate_interest"):
        map_consent_basis("perhaps")
