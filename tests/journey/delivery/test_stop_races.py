"""Test stops and starts committed at any time while workers deliver."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from random import Random

from tests.chaos.databases import DatabaseSource
from tests.chaos.stopping import stopped_run
from tests.doubles.sendgrid import SendGridDouble

SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"
DUE = 400


def test_no_call_begins_after_a_stop_and_no_message_is_lost(
    source: DatabaseSource, double: SendGridDouble, tmp_path: Path
) -> None:
    result = stopped_run(source, double, tmp_path, Random(SEED), workers=2)
    assert result.verdict.wrong == [], REPEAT
    assert result.violations == 0, REPEAT
    assert result.when.total() > 50
