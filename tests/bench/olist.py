"""Replay 17 months of 8,000 real leads in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Figure, Skipped, measure_time
from tests.stories.olist import WHOLE

STORY = Path(__file__).parents[1] / "stories" / "test_olist.py"
NAME = "olist_story_s"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Time the story that `make test` runs, with all its leads."""
    if not os.environ.get("NURTURE_OLIST_DIR"):
        return [Skipped(NAME, "NURTURE_OLIST_DIR names no folder")]
    if not STORY.exists():
        return [Skipped(NAME, "tests/stories/test_olist.py is not there")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}", str(STORY)]
    codes: list[int] = []
    story = measure_time(
        lambda: codes.append(
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env={**os.environ, WHOLE: "yes"}).returncode
        )
    )
    if codes != [0]:
        return [Skipped(NAME, f"the story does not pass (pytest ended with {codes[0]})")]
    return [Figure(NAME, story.wall, "s", maximum=120, note="17 months, 8,000 leads, start of pytest included")]
