"""SendGrid's suppression lists are read completely, or an error names what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress, SuppressionListProvider
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.mail.providers.sendgrid.responses import PAGE_SIZE
from tests.doubles.sendgrid import KEY, Account, SendGridDouble

SINCE = 1_767_600_000
THEN = datetime.fromtimestamp(SINCE, UTC)


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path_factory.mktemp("lists") / "sendgrid.log") as double:
        yield double


def read(double: SendGridDouble, **options: int) -> list[SuppressedAddress]:
    with closing(SendGridProvider(SecretStr(KEY), url=double.url, **options)) as sendgrid:  # type: ignore[arg-type]
        assert isinstance(sendgrid, SuppressionListProvider)
        return sendgrid.list_suppressions()


def test_every_page_of_every_list_is_read(double: SendGridDouble) -> None:
    many = [
        {"email": f"b{n}@people.example", "created": SINCE, "reason": "550 no such user"} for n in range(PAGE_SIZE + 3)
    ]
    double.suppress("/v3/suppression/bounces", many)
    double.suppress("/v3/suppression/unsubscribes", [{"email": "u@people.example", "created": SINCE}])
    double.suppress("/v3/suppression/spam_reports", [{"email": "s@people.example", "created": SINCE, "ip": ""}])
    double.suppress("/v3/suppression/blocks", [{"email": "tried-again@people.example", "created": SINCE}])
    double.suppress("/v3/asm/groups/7/suppressions", ["g@people.example"])
    found = read(double, asm_group=7)
    assert len(found) == PAGE_SIZE + 6
    assert SuppressedAddress("u@people.example", "provider", THEN) in found
    assert SuppressedAddress("s@people.example", "complaint", THEN) in found
    assert SuppressedAddress("g@people.example", "provider", None) in found
    assert {one.source for one in found if one.email.startswith("b")} == {"bounce"}
    assert not any(one.email.startswith("tried-again") for one in found)


def test_an_invalid_entry_is_skipped(double: SendGridDouble, tmp_path: Path) -> None:
    with SendGridDouble(tmp_path / "odd.log") as odd:
        odd.suppress("/v3/suppression/bounces", [None, 7, {"created": SINCE}, {"email": "b@people.example"}])
        assert read(odd) == [SuppressedAddress("b@people.example", "bounce", None)]


def test_a_key_without_the_permission_is_an_error(tmp_path: Path) -> None:
    with SendGridDouble(tmp_path / "shut.log", Account(can_read_suppressions=False)) as forbidden:
        with pytest.raises(Misconfigured, match="Suppressions, Read Access"):
            read(forbidden)
        forbidden.close()
        with pytest.raises(Misconfigured, match="cannot be read"):
            read(forbidden)
