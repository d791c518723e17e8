from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.address import normalize_address


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (" Ann.Lee+News@Example.COM ", "ann.lee+news@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example"),
        ("ann@straße.example", "ann@xn--strae-oqa.example"),
        ("ann@\uff45xample.com", "ann@example.com"),
        ("ann@日本\u3002example", "ann@xn--wgv71a.example"),
        ("JOSE\u0301@example.com", "josé@example.com"),
        ("Ann@Example.COM.", "ann@example.com"),
        ("ann@xn--bcher-kva.example.", "ann@xn--bcher-kva.example"),
        ("ann@b\u00fccher.example\u3002", "ann@xn--bcher-kva.example"),
        ("ANN@XN--BCHER-KVA.EXAMPLE", "ann@xn--bcher-kva.example"),
    ],
)
def test_an_address_has_one_normal_form(written: str, normal: str) -> None:
    assert normalize_address(written) == normal


def test_two_mailboxes_stay_two() -> None:
    assert normalize_address("a+x@example.com") != normalize_address("a@example.com")
    assert normalize_address("a@straße.example") != normalize_address("a@strasse.example")


@given(st.emails())
def test_normalizing_twice_changes_nothing(address: str) -> None:
    once = normalize_address(address)
    assert normalize_address(once) == once


@given(st.text(max_size=30))
def test_the_domain_becomes_ascii(text: str) -> None:
    assert normalize_address(f"a@{text}x.example").rpartition("@")[2].isascii()
