"""`nurture tracks test`: whether the email to yourself went, and if not, why."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Place
from tests.doubles.smtp import Fault, smtp_server

ARGS = ("tracks", "test", "welcome/01-hello", "--to", "me@house.example")


def _by_smtp(place: Place, url: str) -> None:
    place.environment.setenv("NURTURE_PROVIDER", "smtp")
    place.environment.setenv("NURTURE_SMTP_URL", url)


def test_a_server_that_cannot_be_reached_is_an_error_with_its_reason(place: Place) -> None:
    _by_smtp(place, "smtp://127.0.0.1:9")
    said = place.fails(*ARGS)
    assert (said.code, said.out) == (6, "")
    assert "127.0.0.1:9 cannot be reached" in said.err
    assert "NURTURE_SMTP_URL" in said.err
    told = place.run(*ARGS, "--json")
    assert (told.code, told.json["receipt"]) == (6, "NotSent")
    assert "127.0.0.1:9 cannot be reached" in told.json["why"]


@pytest.mark.parametrize(
    ("verb", "answer", "receipt", "shown"),
    [
        ("RCPT", "550 5.1.1 nobody of this name", "Rejected", "nobody of this name"),
        ("TAKEN", Fault.DROP, "InDoubt", "before you send it again"),
    ],
)
def test_what_the_server_did_with_it_is_told_and_no_success(
    place: Place, verb: str, answer: str | Fault, receipt: str, shown: str
) -> None:
    with smtp_server() as server:
        _by_smtp(place, f"smtp://127.0.0.1:{server.port}")
        server.will(verb, answer, answer)
        said = place.fails(*ARGS)
        assert (said.code, shown in said.err) == (4, True)
        told = place.run(*ARGS, "--json")
        assert (told.code, told.json["receipt"], bool(told.json["why"])) == (4, receipt, True)


def test_a_server_that_takes_it_is_a_success(place: Place) -> None:
    with smtp_server() as server:
        _by_smtp(place, f"smtp://127.0.0.1:{server.port}")
        assert "Accepted by smtp: [test]" in place.ok(*ARGS).out
        told = place.ok(*ARGS, "--json").json
        assert (told["receipt"], told["why"]) == ("Accepted", None)
        assert len(server.accepted) == 2
