"""Make the pictures of docs/console.md from a console on the demo's world: URL, login and password of an admin.

make demo && .venv/bin/nurture practice console --folder demo
python -m tests.console.pictures http://127.0.0.1:8026 LOGIN PASSWORD
"""

from __future__ import annotations

import sys
from base64 import b64encode
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, StorageState, ViewportSize

from tests.console.test_browser import THEMES
from tests.web.browser import chromium

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "console"
_WIDTHS: Final = (390, 1280, 1920)
_HEIGHT: Final = 860
_SCALE: Final = 0.36
_TRACK: Final = "/tracks/webinar-no-show"
_PICTURES: Final[tuple[tuple[str, str, int, Literal["light", "dark"]], ...]] = (
    ("today", "/", 1280, "light"),
    ("tracks", "/tracks", 1280, "light"),
    ("track", _TRACK, 1280, "dark"),
    ("simulation", f"{_TRACK}/simulation", 1280, "light"),
    ("lead", "/leads/17", 1280, "light"),
    ("email", f"{_TRACK}/emails/01-we-missed-you", 1280, "light"),
    ("team", "/handoffs/team?days=90", 1280, "light"),
    ("calendar", "/calendar", 1280, "light"),
    ("reports", "/reports/funnel", 1280, "light"),
    ("deliverability", "/deliverability", 1280, "light"),
    ("today-phone", "/", 390, "dark"),
    ("leads-phone", "/leads?track=keep-warm", 390, "light"),
)
_SHEETS: Final = {
    "today": "/",
    "tracks": "/tracks",
    "track": _TRACK,
    "lead": "/leads/17",
    "handoffs": "/handoffs?days=90",
}
"""Pages that are shown at every width, light and dark, in one picture."""


def main() -> None:
    """Write every picture anew."""
    url, login, password = sys.argv[1:]
    with chromium() as browser:
        state = _sign_in(browser, url, login, password)
        for name, path, width, theme in _PICTURES:
            (_FOLDER / f"{name}.png").write_bytes(_take(browser, url + path, width, theme, state))
        for name, path in _SHEETS.items():
            taken = [[_take(browser, url + path, width, theme, state) for width in _WIDTHS] for theme in THEMES]
            _write_sheet(browser, _FOLDER / f"{name}-widths.jpg", taken)


def _sign_in(browser: Browser, url: str, login: str, password: str) -> StorageState:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{url}/sign-in")
    tab.get_by_label("login").fill(login)
    tab.get_by_label("Password").fill(password)
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("heading", level=1).wait_for()
    state = context.storage_state()
    context.close()
    return state


def _take(browser: Browser, url: str, width: int, theme: Literal["light", "dark"], state: StorageState) -> bytes:
    size: ViewportSize = {"width": width, "height": _HEIGHT}
    context = browser.new_context(viewport=size, color_scheme=theme, timezone_id="Europe/Berlin", storage_state=state)
    tab = context.new_page()
    tab.goto(url, wait_until="networkidle")
    tab.get_by_role("heading", level=1).wait_for()
    taken = tab.screenshot()
    context.close()
    return taken


def _write_sheet(browser: Browser, to: Path, rows: list[list[bytes]]) -> None:
    """Write one picture with a row of pictures for each theme."""
    height = f'height="{_HEIGHT * _SCALE:.0f}"'
    shown = [[f'<img {height} src="data:image/png;base64,{b64encode(one).decode()}">' for one in row] for row in rows]
    body = "".join(f"<div>{''.join(row)}</div>" for row in shown)
    style = "body{margin:0;background:#8a94a0;width:max-content}div{display:flex;gap:12px;padding:12px}"
    tab = browser.new_page(viewport={"width": 1400, "height": 100})
    tab.set_content(f"<style>{style}</style>{body}")
    tab.locator("body").screenshot(path=to, type="jpeg", quality=78)
    tab.close()


if __name__ == "__main__":
    main()
