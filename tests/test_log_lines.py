"""Every event is one line with its reason, as text or JSON, and without the message of an error."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from nurture.log_lines import EventFormatter

pytestmark = pytest.mark.quick

LOG_ONE = """
import logging
from nurture import log_lines
log_lines.configure({kind!r}, {level!r})
log = logging.getLogger("nurture.journey.replies")
log.info("inbox_read", extra={{"mails": 3}})
log.warning("inbox_unusable", extra={{"reason": "no answer\\nfrom 127.0.0.1:993"}})
try:
    raise ValueError("mia@canary.example")
except ValueError:
    log.exception("sweep_failed")
library = logging.getLogger("library")
library.setLevel("DEBUG")
library.info("a detail")
"""


def _lines(kind: str, level: str) -> list[str]:
    script = LOG_ONE.format(kind=kind, level=level)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "canary" not in done.stderr
    return done.stderr.splitlines()


def test_an_event_is_one_line_of_text_with_its_reason() -> None:
    unusable, failed = _lines("text", "warning")
    assert "level=warning event=inbox_unusable logger=nurture.journey.replies" in unusable
    assert "no answer" in unusable
    assert "127.0.0.1:993" in unusable
    assert 'error="ValueError at <string>:' in failed


def test_an_event_is_one_json_object_and_the_level_is_a_setting() -> None:
    read, unusable, failed = (json.loads(line) for line in _lines("json", "info"))
    assert (read["event"], read["mails"], read["level"]) == ("inbox_read", 3, "info")
    assert unusable["reason"] == "no answer\nfrom 127.0.0.1:993"
    assert failed["error"].startswith("ValueError")
    assert read["time"].endswith("Z")


def test_a_line_without_fields_has_its_level_and_logger() -> None:
    record = logging.LogRecord("nurture.web", logging.ERROR, "", 0, "click_not_recorded", None, None)
    assert "level=error event=click_not_recorded logger=nurture.web" in EventFormatter("text").format(record)
