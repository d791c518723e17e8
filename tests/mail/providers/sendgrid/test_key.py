"""The API key never appears in errors, logs, reprs or tracebacks."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console
from rich.traceback import Traceback

from nurture.domain.delivery.receipts import Accepted
from nurture.errors import Misconfigured
from nurture.mail.providers.http_client import HttpClient
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from tests.doubles.sendgrid import KEY, Account, Fault, SendGridDouble
from tests.mail.providers.sendgrid import sending
from tests.mail.providers.sendgrid.sending import EMAIL, NOW, opened, sent

server, double = sending.server, sending.double

SECRET = "SG.hunter2-hunter2.0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("key", ["", "  ", "SG.a\nb", "SG.a b", "SG.ä"])
def test_a_key_that_is_no_header_value_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_SENDGRID_KEY") as refused:
        SendGridProvider(SecretStr(key))
    assert not key.strip() or key not in str(refused.value)


def test_a_trailing_line_break_of_a_key_is_ignored(double: SendGridDouble) -> None:
    assert isinstance(sent(double, key=SecretStr(f"{KEY}\n"))[0], Accepted)


def test_the_key_is_in_no_log_and_no_reason(
    double: SendGridDouble, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").debug("debug logging is on")
    failures = [Fault(what=what) for what in ("reset", "garbage", "close", "too_many")]
    double.configure(Account(key=SECRET))
    for failure in failures:
        double.add_faults(failure)
        (receipt,) = sent(double, key=SecretStr(SECRET))
        assert SECRET not in repr(receipt)
    double.configure(Account())
    assert SECRET not in repr(sent(double, key=SecretStr(SECRET)))
    assert "debug logging is on" in caplog.text
    assert SECRET not in caplog.text
    assert all(SECRET not in repr(vars(record)) for record in caplog.records)


def test_the_key_is_in_no_repr_of_the_provider_or_its_parts(double: SendGridDouble) -> None:
    with opened(double, key=SecretStr(SECRET)) as sendgrid:
        sendgrid.send([EMAIL], NOW)
        assert SECRET not in repr(sendgrid)
        client = sendgrid._client._client
        assert isinstance(client, HttpClient)
        held: list[Any] = [sendgrid, sendgrid._client, client, client._session, client._session.connector]
        assert all(SECRET not in repr(vars(one)) for one in held[:3])
        names = {name: getattr(one, name, None) for one in held for name in dir(one) if name.startswith("_")}
        assert SECRET not in repr(names)
        assert "'Authorization': '**********'" in repr(client._session.headers)


def test_the_key_is_in_no_traceback_even_with_its_locals(double: SendGridDouble) -> None:
    with opened(double, key=SecretStr(SECRET)) as sendgrid:
        sendgrid.send([EMAIL], NOW)
        session = sendgrid._client._client._session  # type: ignore[union-attr]
        headers = session.headers
        try:
            assert not headers  # a crash with everything in its locals
        except AssertionError as error:
            formatted = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            screen = io.StringIO()
            Console(file=screen, width=300).print(
                Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
            )
        assert "Authorization" in formatted
        assert "Authorization" in screen.getvalue()
        bare = SECRET.removeprefix("SG.")
        assert bare not in formatted
        assert bare not in screen.getvalue()


def test_the_provider_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="key"):
        pickle.dumps(SendGridProvider(SecretStr(SECRET)))
