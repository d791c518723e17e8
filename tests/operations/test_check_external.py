"""The doctor's check of the CRM, whose problems are only warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.crm.base import Crm, CrmUnavailable
from nurture.operations import check_external
from nurture.operations.doctor import CheckResult, DoctorContext, can_send, run_checks
from nurture.settings import Settings
from nurture.simulation.engine import DiscardingProvider
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import START

SECRET = "pat-very-secret"


@dataclass
class Examined(ScriptedCrm):
    """A CRM with these faults, or one that is down."""

    faults: list[str] = field(default_factory=list)
    down: str = ""

    def check(self, _now: datetime) -> Sequence[str]:
        if self.down:
            raise CrmUnavailable(self.down)
        return self.faults


def found(url: str, folder: Path, crm: Crm | None) -> list[CheckResult]:
    settings = Settings(database_url=SecretStr(url), hubspot_token=SecretStr(SECRET), maildir=folder / "maildir")
    setup = DoctorContext(
        settings, VirtualClock(START), DiscardingProvider, "/healthz", "http://127.0.0.1:9/api", lambda: crm
    )
    return run_checks(setup, [("CRM", check_external.check_crm)])


def test_a_crm_with_all_fields_is_ok(sqlite_url: str, tmp_path: Path) -> None:
    (one,) = found(sqlite_url, tmp_path, Examined())
    assert (one.state, one.message) == ("ok", "scripted: it has all required fields; 0 hand-offs wait for the push")


@pytest.mark.parametrize(
    ("crm", "message"),
    [
        (None, "none: sales gets hand-offs by email only"),
        (Examined(faults=["The field X is missing."]), "scripted: The field X is missing."),
        (Examined(down=f"it refuses {SECRET}"), "scripted: it refuses ***"),
    ],
)
def test_what_is_wrong_there_is_a_warning_without_secrets(
    sqlite_url: str, tmp_path: Path, crm: Crm | None, message: str
) -> None:
    findings = found(sqlite_url, tmp_path, crm)
    assert findings[0].message.startswith(message)
    assert can_send(findings)
