"""What is in front of every page and socket of the console."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from nurture.clock import RealClock
from nurture.console.access import users
from nurture.console.site import COOKIE, SECURE_COOKIE
from tests.console.world import PASSWORD, ConsoleWorld, make_world, serve_console

SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket&client_id=x"


def open_socket(world: ConsoleWorld, token: str, origin: str | None = "") -> ClientConnection:
    """Open a web socket with this cookie; *origin* "" is the console's own, None sends none."""
    address = world.url.replace("http:", "ws:") + SOCKET
    headers = {"Cookie": f"{COOKIE}={token}"}
    return connect(address, origin=world.url if origin == "" else origin, additional_headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path", ["/", "/leads/1", "/_nicegui/3.18.0/static/nicegui.js", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"]
)
def test_without_a_session_no_page_file_or_socket_opens(world: ConsoleWorld, path: str) -> None:
    for cookies in ({}, {COOKIE: "x" * 43}, {COOKIE: ""}):
        answer = httpx.get(world.url + path, cookies=cookies)
        assert answer.status_code in (303, 401)
        assert "nicegui" not in answer.text
    with pytest.raises(InvalidStatus):
        open_socket(world, "x" * 43)


def test_a_socket_closes_with_the_first_message_after_its_session_was_ended(world: ConsoleWorld) -> None:
    token = world.sign_in("sales-manager", PASSWORD).cookies[COOKIE]
    with open_socket(world, token) as socket:
        assert str(socket.recv(10)).startswith("0{")
        users.end_sessions(world.ctx.database, "sales-manager", RealClock().now())
        socket.send('42["event",{"client_id":"x","id":1}]')
        received = list(socket)  # until it closes
        assert [one for one in received if str(one).startswith("42")] == []
    assert httpx.get(world.url, cookies={COOKIE: token}).status_code == 303


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_a_request_from_another_site_is_refused(world: ConsoleWorld, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    form = {"login": "viewer", "password": PASSWORD}
    assert httpx.post(f"{world.url}/sign-in", data=form, headers=headers).status_code == 403
    cookies = {COOKIE: world.token("viewer")}
    assert httpx.post(f"{world.url}/sign-out", cookies=cookies, headers=headers).status_code == 403
    assert world.get("/", "viewer").status_code == 200
    with pytest.raises(InvalidStatus):
        open_socket(world, world.token("viewer"), origin)


def test_after_the_sign_in_only_a_page_of_ours_opens(world: ConsoleWorld) -> None:
    for target, opened in (("/leads?find=x", "/leads?find=x"), ("//evil.example", "/"), ("/\\evil.example", "/")):
        form = {"login": "admin", "password": PASSWORD, "next": target}
        answer = httpx.post(f"{world.url}/sign-in", data=form, headers={"Origin": world.url})
        assert answer.headers["location"] == opened


def test_forms_to_sign_in_have_no_script_and_pages_load_nothing_from_elsewhere(world: ConsoleWorld) -> None:
    form = httpx.get(f"{world.url}/sign-in")
    assert "script" not in form.headers["content-security-policy"]
    assert "default-src 'none'" in form.headers["content-security-policy"]
    page = world.get("/", "viewer")
    for part in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert part in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"


def test_one_address_may_not_try_passwords_without_end(world: ConsoleWorld) -> None:
    answers = [world.sign_in("nobody", "wrong").status_code for _ in range(15)]
    assert answers[-1] == 429
    assert set(answers) == {403, 429}


def test_the_cookie_is_http_only_same_site_and_secure_behind_https(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with serve_console(world) as plain:
        cookie = plain.sign_in("viewer", PASSWORD).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
        forwarded = {"X-Forwarded-Proto": "https", "Origin": plain.url.replace("http:", "https:")}
        cookie = plain.sign_in("viewer", PASSWORD, **forwarded).headers["set-cookie"]
        assert cookie.startswith(SECURE_COOKIE)
        assert "Secure" in cookie.split("; ")
    url = "https://console.example.com"
    with serve_console(world, NURTURE_CONSOLE_URL=url) as proxied:
        answer = proxied.sign_in("viewer", PASSWORD, Origin=url)
        assert answer.headers["set-cookie"].startswith(SECURE_COOKIE)
        assert "max-age" in answer.headers["strict-transport-security"]
        assert proxied.sign_in("viewer", PASSWORD).status_code == 403
    world.ctx.database.close()
