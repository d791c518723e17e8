"""Sign-in with the account of one's organization: who comes in, and every way in which a provider may be wrong."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from joserfc.jwk import OctKey
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from nurture.clock import RealClock
from nurture.console.access import user_queries, users
from nurture.console.access.oidc import OidcProvider, OidcRefused
from nurture.console.access.users import Role
from nurture.console.site import COOKIE
from nurture.errors import Misconfigured
from nurture.settings import Settings
from tests.console.world import ConsoleWorld, make_world, serve_console
from tests.doubles.oidc import CLIENT, OTHER_KEY, SECRET, OidcDouble

NOW: Final = int(RealClock().now().timestamp())
_HOSTS: Final = count(1)
EMAIL: Final = "mara@firm.example"


@pytest.fixture
def provider() -> Iterator[OidcDouble]:
    with OidcDouble() as double:
        yield double


@pytest.fixture(scope="module")
def shared() -> Iterator[OidcDouble]:
    """The provider of the running console."""
    with OidcDouble() as double:
        yield double


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, shared: OidcDouble) -> Iterator[ConsoleWorld]:
    """A console with a provider, and a user Mara who never chose a password."""
    made = make_world(tmp_path_factory.mktemp("oidc"))
    users.add_user(made.ctx.database, EMAIL, Role.MARKETER, "", RealClock().now())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = (str(Path(sys.executable).with_name("nurture")), "console", "--port", str(port), "--json")
    settings = {
        "NURTURE_CONSOLE_URL": f"http://127.0.0.1:{port}",
        "NURTURE_CONSOLE_OIDC_ISSUER": shared.url,
        "NURTURE_CONSOLE_OIDC_CLIENT": CLIENT,
        "NURTURE_CONSOLE_OIDC_SECRET": SECRET,
    }
    with serve_console(made, command, **settings):
        yield made
    made.ctx.database.close()


def _client(double: OidcDouble, **changed: Any) -> OidcProvider:
    values = {"issuer": double.url, "client_id": CLIENT, "client_secret": SecretStr(SECRET)}
    return OidcProvider(**values | {"redirect_uri": "http://127.0.0.1:1/sign-in/oidc/callback"} | changed)


def _sign_in(client: OidcProvider) -> str:
    """Return the address that the provider vouches for, after the whole way there and back."""
    attempt = client.begin()
    back = httpx.get(attempt.url)
    assert back.status_code == 302
    return client.finish(attempt.secret, dict(httpx.URL(back.headers["location"]).params), RealClock().now())


def test_the_verified_address_of_a_signed_token_is_returned(provider: OidcDouble) -> None:
    assert _sign_in(_client(provider)) == EMAIL
    (asked,) = provider.asked
    assert asked["scope"] == "openid email"
    assert asked["code_challenge_method"] == "S256"
    assert len({asked[name] for name in ("state", "nonce", "code_challenge")}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"iss": "https://login.example.net"},
        {"iss": None},
        {"aud": "another application"},
        {"aud": ["another application"]},
        {"aud": None},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": NOW - 3_600},
        {"exp": None},
        {"iat": NOW + 3_600},
        {"nbf": NOW + 3_600},
        {"sub": None},
        {"at_hash": "wrong"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"email": None},
        {"email": ["mara@firm.example"]},
        {"email": "mara"},
    ],
)
def test_a_token_that_is_wrong_in_one_claim_lets_nobody_in(provider: OidcDouble, change: dict[str, Any]) -> None:
    provider.changed = change
    with pytest.raises(OidcRefused):
        _sign_in(_client(provider))


def _unsigned(double: OidcDouble) -> None:
    double.algorithm = "none"


def _by_our_secret(double: OidcDouble) -> None:
    double.algorithm, double.key = "HS256", OctKey.import_key(SECRET)


def _by_the_public_key(double: OidcDouble) -> None:
    double.algorithm, double.key = "HS256", OctKey.import_key(str(double.own_key.as_dict()["n"]))


def _by_a_strange_key(double: OidcDouble) -> None:
    double.key = OTHER_KEY


@pytest.mark.parametrize("spoil", [_unsigned, _by_our_secret, _by_the_public_key, _by_a_strange_key])
def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(
    provider: OidcDouble, spoil: Callable[[OidcDouble], None]
) -> None:
    spoil(provider)
    with pytest.raises(OidcRefused):
        _sign_in(_client(provider))


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://login.example.net"},
        {"token_endpoint": "http://login.example.net/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
    ],
)
def test_a_discovery_document_of_others_or_with_unsafe_addresses_is_refused(
    provider: OidcDouble, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    with pytest.raises(OidcRefused):
        _client(provider).begin()
    assert provider.asked == []


def test_a_code_works_once_and_only_for_the_browser_that_began(provider: OidcDouble) -> None:
    client = _client(provider)
    first, second = client.begin(), client.begin()
    answer = dict(httpx.URL(httpx.get(first.url).headers["location"]).params)
    now = RealClock().now()
    for secret, given in (
        (second.secret, answer),
        ("", answer),
        (first.secret, answer | {"state": "x"}),
        (first.secret, answer | {"iss": "https://login.example.net"}),
        (first.secret, {"state": answer["state"], "error": "access_denied"}),
    ):
        with pytest.raises(OidcRefused):
            client.finish(secret, given, now)
    assert client.finish(first.secret, answer, now) == EMAIL
    with pytest.raises(OidcRefused):
        client.finish(first.secret, answer, now)


def test_a_wrong_client_secret_and_a_provider_that_is_down_let_nobody_in(provider: OidcDouble) -> None:
    with pytest.raises(OidcRefused):
        _sign_in(_client(provider, client_secret=SecretStr("wrong")))
    with pytest.raises(OidcRefused):
        _client(provider, issuer="http://127.0.0.1:1").begin()


def test_half_of_a_provider_in_the_settings_is_an_error_that_names_the_rest() -> None:
    assert OidcProvider.of(Settings.model_construct()) is None
    half = Settings.model_construct(console_oidc_issuer="https://login.example.com", console_oidc_client="console")
    with pytest.raises(Misconfigured, match="NURTURE_CONSOLE_OIDC_SECRET, NURTURE_CONSOLE_URL"):
        OidcProvider.of(half)


def test_a_user_signs_in_with_the_account_of_the_organization(browser: Browser, world: ConsoleWorld) -> None:
    with browser.new_context(base_url=world.url) as context:
        tab = context.new_page()
        tab.goto("/leads?track=welcome")
        tab.get_by_role("link", name="Sign in with your organization's account").click()
        expect(tab).to_have_url(f"{world.url}/leads?track=welcome")
        expect(tab.get_by_text(EMAIL)).to_be_visible()
        names = {one["name"]: one for one in context.cookies()}
        assert set(names) == {COOKIE}
        assert (names[COOKIE]["httpOnly"], names[COOKIE]["sameSite"]) == (True, "Lax")


def _through(world: ConsoleWorld) -> httpx.Response:
    """Return the answer of the console after the way to the provider and back, each time from another address."""
    headers = {"X-Forwarded-For": f"192.0.2.{next(_HOSTS)}"}
    with httpx.Client(follow_redirects=True, timeout=20, headers=headers) as browser:
        return browser.get(f"{world.url}/sign-in/oidc?next=//evil.example")


@pytest.mark.parametrize("email", ["stranger@firm.example", "mara@firm.example.org", "removed@firm.example"])
def test_who_was_not_added_does_not_come_in(world: ConsoleWorld, shared: OidcDouble, email: str) -> None:
    database, now = world.ctx.database, RealClock().now()
    if email.startswith("removed"):
        users.add_user(database, email, Role.ADMIN, "", now)
        users.remove_user(database, email, now)
    shared.claims = {"email": email, "email_verified": True, "role": "admin", "groups": ["admin"]}
    answer = _through(world)
    assert answer.status_code == 403
    assert "No user of the console has your address" in answer.text
    assert world.rows("SELECT count(*) FROM console_user WHERE login = :login AND removed_at IS NULL", login=email) == [
        (0,)
    ]


def test_the_role_is_that_of_the_console_and_not_of_the_provider(world: ConsoleWorld, shared: OidcDouble) -> None:
    shared.claims = {"email": EMAIL.upper(), "email_verified": True, "role": "admin", "roles": ["admin"]}
    answer = _through(world)
    assert (answer.status_code, answer.url.path) == (200, "/")
    assert "Role: marketer" in answer.text


def test_a_user_who_is_locked_out_does_not_come_in(world: ConsoleWorld, shared: OidcDouble) -> None:
    shared.claims = {"email": EMAIL, "email_verified": True}
    now = RealClock().now()
    with world.ctx.database.write() as tx:
        found = user_queries.find_user(tx, EMAIL)
        assert found is not None
        user_queries.set_failures(tx, found.id, 6, now + timedelta(minutes=5))
    assert _through(world).status_code == 403
    with world.ctx.database.write() as tx:
        user_queries.set_failures(tx, found.id, 0, None)
    assert _through(world).status_code == 200


def test_without_a_provider_there_is_neither_link_nor_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = make_world(tmp_path_factory.mktemp("plain"))
    with serve_console(made):
        assert "organization" not in httpx.get(f"{made.url}/sign-in").text
        for path in ("/sign-in/oidc", "/sign-in/oidc/callback?code=x&state=y"):
            assert httpx.get(made.url + path).status_code == 404
    made.ctx.database.close()
