"""One SendGrid double per module, reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.sendgrid import Account, SendGridDouble


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path_factory.mktemp("sendgrid") / "oracle.log") as double:
        yield double


@pytest.fixture
def double(running: SendGridDouble) -> SendGridDouble:
    running.configure(Account())
    running.add_faults()
    return running
