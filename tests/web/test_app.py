"""Properties of every page."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.runtime.context import AppContext
from nurture.web.app import create_app
from nurture.web.request_limits import RequestLimits
from nurture.web.routes import ACCESS, MAX_FORM_BYTES, route_policy
from nurture.web.templates import Templates
from tests.web.world import BASE, NOW, ONE_CLICK, TestClient, World

PAGES = (("dana", "accept"), ("dana", "reject"), ("mia", "unsubscribe"), ("mia", "preferences"))


def _app(world: World) -> FastAPI:
    app = world.client.app
    assert isinstance(app, FastAPI)
    return app


def test_every_route_has_a_declared_policy_and_every_policy_a_route(sqlite_world: World) -> None:
    routes = _app(sqlite_world).routes
    for route in routes:
        assert isinstance(route, APIRoute), f"{route} is no route that the table of policies covers"
        assert route.path in ACCESS, f"{route.path} has no policy in nurture/web/routes.py"
        allowed = ACCESS[route.path].methods
        assert (route.methods or set()) <= allowed <= {"GET", "HEAD", "POST"}
        assert route_policy(route.path.replace("{token}", "x")) is ACCESS[route.path]
    for path, policy in ACCESS.items():
        answered = [route.methods or set() for route in routes if getattr(route, "path", "") == path]
        assert set().union(*answered) == policy.methods, f"{path} declares methods that no route answers"
    assert {route.path for route in routes if isinstance(route, APIRoute)} == set(ACCESS)


def test_a_route_without_a_policy_is_closed(sqlite_world: World) -> None:
    _app(sqlite_world).get("/forgotten")(lambda: {"secret": 1})
    page = sqlite_world.client.get("/forgotten")
    assert page.status_code == 404
    assert "secret" not in page.text


def test_a_method_that_the_policy_does_not_name_is_closed(sqlite_world: World) -> None:
    path = "/health"
    _app(sqlite_world).post(path)(lambda: {"secret": 1})
    assert sqlite_world.client.get(path).status_code == 200
    page = sqlite_world.client.post(path)
    assert page.status_code == 404
    assert "secret" not in page.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"])
def test_no_route_answers_another_method(sqlite_world: World, method: str) -> None:
    before = sqlite_world.all_rows()
    for path in ACCESS:
        answer = sqlite_world.client.request(method, path.replace("{token}", "x"))
        assert answer.status_code == 405, path
        assert "set-cookie" not in answer.headers
    assert sqlite_world.all_rows() == before


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/openapi.json", "/favicon.ico", "/a/", "/a", "/healthz/", "/a/x/y", "//", "/%00"]
)
def test_an_unknown_path_is_a_page_with_404(sqlite_world: World, path: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        page = sqlite_world.client.request(method, path, follow_redirects=False)
        assert page.status_code == 404
        assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_health_reports_that_the_database_answers(world: World) -> None:
    for path in ("/health", "/healthz"):
        answer = world.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok"})
        assert world.client.head(path).status_code == 200
        assert world.client.post(path).status_code == 405


@pytest.fixture
def bare(empty_db: Database, sqlite_world: World) -> TestClient:
    """The pages of a database without tables."""
    ctx = AppContext(empty_db, sqlite_world.ctx.provider)
    return TestClient(create_app(ctx, VirtualClock(NOW)), raise_server_exceptions=False)


def test_without_a_usable_database_the_pages_are_unavailable_and_give_no_details(bare: TestClient) -> None:
    answer = bare.get("/health")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "database": "unusable"})
    page = bare.post("/u/AAAAAAAAAAAAAAAAAAAAAA", data=ONE_CLICK)
    assert page.status_code == 503
    assert page.headers["retry-after"] == "60"
    assert "try again" in page.text
    assert "token" not in page.text.lower()


def test_every_answer_carries_the_strict_headers_and_no_cookie(sqlite_world: World) -> None:
    client = sqlite_world.client
    answers = [client.get(sqlite_world.path(*page)) for page in PAGES]
    answers += [client.get("/healthz"), client.get("/nowhere"), client.put("/healthz")]
    answers += [client.post("/u/x", content=b"x" * (MAX_FORM_BYTES + 1)), client.post(sqlite_world.path(*PAGES[0]))]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 404, 405, 413, 400]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("base_url", "expected"), [(BASE, "max-age=31536000"), ("http://127.0.0.1:8025", None), ("", None)]
)
def test_hsts_is_sent_only_if_the_public_url_is_https(sqlite_world: World, base_url: str, expected: str | None) -> None:
    ctx = replace(sqlite_world.ctx, base_url=base_url)
    client = TestClient(create_app(ctx, sqlite_world.clock))
    for path in (sqlite_world.path("mia", "unsubscribe"), "/nowhere", "/health", "/api/docs"):
        assert client.get(path).headers.get("strict-transport-security") == expected


def test_pages_run_no_script_fetch_nothing_and_have_the_one_style_that_is_allowed(sqlite_world: World) -> None:
    for page in PAGES:
        answer = sqlite_world.client.get(sqlite_world.path(*page))
        assert not re.search(r"<script|<img|<link|\bsrc=|\bstyle=|\son\w+=|javascript:", answer.text)
        (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = b64encode(sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_pages_are_accessible_to_screen_readers_and_keyboards(sqlite_world: World) -> None:
    for page in PAGES:
        html = sqlite_world.client.get(sqlite_world.path(*page)).text
        assert '<html lang="en">' in html
        assert 'name="viewport"' in html
        assert re.search(r"<title>[^<]+</title>", html)
        assert html.count("<h1>") == 1
        for field in re.findall(r'<input (?!type="hidden")[^>]*>', html):
            named = re.search(r'id="([\w-]+)"', field)
            labelled = f'for="{named[1]}"' if named else f'<label class="choice">{field}'
            assert labelled in html


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(sqlite_world: World, announced: bool) -> None:
    before = sqlite_world.all_rows()
    body = b"List-Unsubscribe=One-Click&x=" + b"x" * MAX_FORM_BYTES
    content = body if announced else iter([body[:1000], body[1000:]])
    page = sqlite_world.client.post(
        sqlite_world.path("mia", "unsubscribe"),
        content=content,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert page.status_code == 413
    assert sqlite_world.all_rows() == before


async def _broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the secret reason")


def test_a_crash_shows_a_page_without_its_reason_and_logs_no_path(caplog: pytest.LogCaptureFixture) -> None:
    page = TestClient(RequestLimits(_broken, Templates())).get("/u/secret-token")
    assert page.status_code == 500
    assert "secret" not in page.text
    assert "content-security-policy" in page.headers
    (record,) = (record for record in caplog.records if record.name == "nurture.web.request_limits")
    assert "secret" not in caplog.text
    assert re.fullmatch(r"request_failed GET no route: RuntimeError at test_app\.py:\d+", record.message)
    assert record.exc_info is None
