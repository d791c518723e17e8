from __future__ import annotations

import pytest

from nurture.domain.address import normalize_address
from nurture.formats.mail_domains import is_free_mail, is_shared_domain
from nurture.formats.tables import read_table


@pytest.mark.parametrize(
    ("domain", "free", "shared"),
    [
        ("gmail.com", True, True),
        ("hotmail.com.br", True, True),
        ("telia.com", False, True),
        ("mailinator.com", False, True),
        ("contoso.example", False, False),
        ("outlook-partners.com", False, False),
        ("", False, False),
    ],
)
def test_a_domain_is_free_shared_or_a_companys(domain: str, free: bool, shared: bool) -> None:
    assert (is_free_mail(domain), is_shared_domain(domain)) == (free, shared)


def test_the_table_lists_each_normalized_domain_once_in_order() -> None:
    rows = list(read_table("mail_domains.csv"))
    domains = [row["domain"] for row in rows]
    assert domains == sorted({normalize_address(f"@{domain}")[1:] for domain in domains})
    assert {row["kind"] for row in rows} == {"free", "shared"}
