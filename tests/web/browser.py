"""The machine's own Chromium, headless, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM: Final = shutil.which("chromium")
REQUIRED: Final = "TEST_BROWSER"
"""Set to `required` where a missing browser is a failure, not a reason to skip."""

_QUIET: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

IS_FAINT: Final = """
    const light = (color) => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
            .map(part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
        return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
    };
    const behind = (one) => {
        const color = getComputedStyle(one).backgroundColor;
        return color.endsWith(", 0)") && one.parentElement ? behind(one.parentElement) : color;
    };
    const isFaint = (one) => {
        const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5;
    };
"""
"""A script with `isFaint`: whether the text of an element has a contrast below 4.5 on what is behind it."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser with a separate profile while the block runs."""
    if CHROMIUM is None:
        missing = "There is no chromium. Install it: apt-get install --no-install-recommends chromium"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()
