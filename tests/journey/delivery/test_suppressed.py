"""Test opt-outs committed at any time while workers deliver."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.chaos.databases import DatabaseSource
from tests.chaos.suppressing import suppressed_run
from tests.doubles.sendgrid import SendGridDouble

SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"
DUE = 1_200


def test_whoever_opts_out_before_the_last_check_gets_no_mail(
    source: DatabaseSource, double: SendGridDouble, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    result = suppressed_run(source, double, tmp_path, Random(SEED), workers=2)
    counts = ", ".join(f"{count} {when}" for when, count in sorted(result.when.items()))
    record_property("story", f"opt-outs on {source.name}: {counts}; SEED={SEED}")
    assert result.verdict.wrong == [], REPEAT
    assert result.violations == 0, REPEAT
    assert result.when.total() > result.when["after the call"] > 0
