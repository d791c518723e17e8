"""Tests of matching leads with accounts."""

from __future__ import annotations

import pytest

from nurture.domain.routing.account import Account
from nurture.journey.ownership.match.domains import company_domain, registrable_domain
from nurture.journey.ownership.match.index import AccountIndex, IndexedAccount
from nurture.journey.ownership.match.names import parse_name
from tests.journey.ownership.match.labeled_leads import Score, labeled_set, score


@pytest.fixture(scope="module")
def found() -> Score:
    return score(labeled_set(others=2_000))


def test_less_than_two_percent_go_to_the_wrong_owner(found: Score) -> None:
    assert found.leads > 800
    assert found.wrong_percent < 2, found.wrong


def test_most_leads_are_matched_and_few_are_left_to_a_person(found: Score) -> None:
    assert found.unsure_percent < 15
    assert found.right["own address"] + found.right["own address, deeper"] > 300
    assert not {one.trap for one in found.wrong} & {"own address", "website only", "namesake elsewhere"}


def test_equal_names_typos_and_subsidiaries_are_left_to_a_person(found: Score) -> None:
    for trap in ("namesake elsewhere", "short name, namesake", "a slip in the name", "group, free mail, bare name"):
        assert found.unsure[trap], trap


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("nora@mail.contoso.example", "contoso.example"),
        ("https://WWW.contoso.example:8443/about?x=1#y", "contoso.example"),
        ("contoso.co.uk", "contoso.co.uk"),
        ("nora@shop.contoso.com.br", "contoso.com.br"),
        ("nora@bücher.example", "xn--bcher-kva.example"),
        ("co.uk", ""),
        ("localhost", ""),
        ("192.0.2.7", ""),
        ("a@b@c..example", ""),
        ("", ""),
        ("not a domain.example", ""),
    ],
)
def test_a_domain_is_reduced_to_its_registrable_part(text: str, domain: str) -> None:
    assert registrable_domain(text) == domain


@pytest.mark.parametrize("free", ["gmail.com", "yahoo.co.jp", "hotmail.com.br", "gmx.li", "mailinator.com", "bk.ru"])
def test_a_free_mail_domain_identifies_no_company(free: str) -> None:
    assert company_domain(f"nora@{free}") == ""
    known = [IndexedAccount(Account(1, "ada", domains=(free,)), "Contoso")]
    assert AccountIndex(known).match(f"nora@{free}", "").account is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Contoso S.p.A.", "CONTOSO spa"),
        ("Müller & Co. KG", "Mueller und Co"),
        ("A.P. Hansen A/S", "AP Hansen"),
        ("OOO Ромашка", "Romashka, OOO"),
        ("The Contoso Company, Inc.", "Contoso"),
        ("Łódź Foods Sp. z o.o.", "Lodz Foods sp.z.o.o"),
        ("Contoso Ltd. (formerly Fabrikam)", "contoso"),
    ],
)
def test_a_name_has_one_key_however_it_is_written(one: str, other: str) -> None:
    assert parse_name(one).key == parse_name(other).key


@pytest.mark.parametrize("name", ["AG", "The Company", "GmbH & Co. KG", "Group Holding International", "3M", "?!"])
def test_a_name_of_only_common_words_is_not_emptied(name: str) -> None:
    assert parse_name(name).full or name == "?!"
    assert not parse_name(name).is_distinctive


def test_an_empty_index_and_an_empty_lead_match_nothing() -> None:
    assert AccountIndex([]).match("nora@contoso.example", "Contoso").account is None
    known = [IndexedAccount(Account(1, "ada", domains=("contoso.example",)), "Contoso")]
    assert AccountIndex(known).match("", "").account is None
    assert AccountIndex(known).match("not an address", "?!").account is None


def test_accounts_that_share_a_domain_are_distinguished_by_name_or_left_to_a_person() -> None:
    shared = ("contoso.example",)
    index = AccountIndex(
        [
            IndexedAccount(Account(1, "ada", domains=shared), "Contoso Holding"),
            IndexedAccount(Account(2, "ben", domains=shared), "Contoso France", parent=1),
        ]
    )
    by_name = index.match("nora@contoso.example", "Contoso France SAS")
    assert by_name.account == Account(2, "ben", domains=shared)
    unsure = index.match("nora@contoso.example", "Contoso Iberia")
    assert [one.id for one in unsure.candidates] == [1, 2]
    assert unsure.reason == "2 accounts share the domain of the address"


def test_a_label_under_another_ending_is_a_question() -> None:
    delta = AccountIndex([IndexedAccount(Account(3, "mara", domains=("delta.com",)), "Delta")])
    assert delta.match(company="Delta", website="delta.co.uk").is_ambiguous
    countries = [
        IndexedAccount(Account(1, "mara", domains=("contoso.co.uk",)), "Contoso UK"),
        IndexedAccount(Account(2, "tomas", domains=("contoso.com.au",)), "Contoso AU"),
    ]
    found = AccountIndex(countries).match(company="Contoso", website="contoso.com")
    assert [one.id for one in found.candidates] == [1, 2]


@pytest.mark.parametrize("country", ["DE", "(NZ)", "Chile", "Österreich", "UK"])
def test_a_country_at_the_end_of_a_name_is_no_part_of_it(country: str) -> None:
    assert parse_name(f"Contoso {country}").core_key == "contoso"
    assert parse_name(f"Contoso {country}").key != "contoso"


def test_a_page_at_a_platform_says_nothing_of_the_company() -> None:
    linkedin = IndexedAccount(Account(1, "ada", domains=("linkedin.com",)), "LinkedIn")
    ledger = IndexedAccount(Account(2, "ben", domains=("google.com",)), "Ledgerleaf")
    index = AccountIndex([linkedin, ledger])
    assert index.match("", "Pin Works", "https://www.linkedin.com/company/pin").account is None
    assert index.match("nora@google.com", "").account is None
    assert index.match("nora@linkedin.com", "").account == linkedin.account
