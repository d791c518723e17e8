"""Sign in with the account of one's organization: OpenID Connect, the authorization code flow with PKCE.

The provider says only who somebody is. Who may come in, and with which role, is what `nurture users add` says.
"""

import hmac
import logging
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from itertools import islice
from secrets import token_urlsafe
from typing import Any, Final, Self
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr

from nurture.errors import Misconfigured, NurtureError, format_error_chain
from nurture.settings import Settings
from nurture.settings_model import is_localhost, variable_name

CALLBACK_PATH: Final = "/sign-in/oidc/callback"
"""Where the provider sends browsers back to; it has to be registered there."""

_DISCOVERY: Final = "/.well-known/openid-configuration"
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a private key of the provider alone; neither none at all nor one by our own secret."""

_TIMEOUT: Final = 8.0  # seconds, for each answer of the provider
_LEEWAY: Final = 60  # seconds by which the clocks may differ
_MAX_ANSWER: Final = 262_144  # bytes
_PART: Final = 4_096

_log: Final = logging.getLogger(__name__)


class OidcRefused(NurtureError):
    """The provider did not let this person in, or its answer cannot be trusted; the log says why."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that was begun: the address at the provider, and the *secret* that stays in the browser's cookie.

    State, nonce and code verifier are derived from the secret, so that only this browser can end this sign-in.
    """

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """The provider of the settings, which *issuer* names, and our account there."""

    issuer: str
    client_id: str
    client_secret: SecretStr
    redirect_uri: str

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the provider of the settings, None without one. Raises Misconfigured for half of one."""
        names = ("console_oidc_issuer", "console_oidc_client", "console_oidc_secret", "console_url")
        issuer, client_id, secret, url = (getattr(settings, name) for name in names)
        if not (issuer or client_id or secret):
            return None
        missing = [variable_name(name) for name in names if not getattr(settings, name)]
        if missing:
            raise Misconfigured(f"Sign-in by OpenID Connect needs {', '.join(missing)} too.")
        return cls(issuer, client_id, secret, url + CALLBACK_PATH)

    def begin(self) -> Attempt:
        """Return a new sign-in, after asking the provider where it begins. Raises OidcRefused."""
        secret = token_urlsafe(32)
        with self._open_session() as session:
            endpoints = self._discover(session)
            url, _ = session.create_authorization_url(
                endpoints["authorization_endpoint"],
                state=_derive(secret, "state"),
                nonce=_derive(secret, "nonce"),
                code_verifier=_derive(secret, "verifier"),
            )
        return Attempt(url, secret)

    def finish(self, secret: str, answer: Mapping[str, str], now: datetime) -> str:
        """Return the verified email address of who signed in, from the *answer* with which the browser came back.

        *now* is the real time (UTC). Raises OidcRefused.
        """
        if not secret or not hmac.compare_digest(answer.get("state", "").encode(), _derive(secret, "state").encode()):
            raise _refused("state", "another sign-in, or none, was begun in this browser")
        if answer.get("iss", self.issuer) != self.issuer:  # RFC 9207
            raise _refused("issuer", "the answer is of another issuer")
        if not answer.get("code"):
            raise _refused("code", f"the provider answered {answer.get('error', 'nothing')[:80]!r}")
        with self._open_session() as session:
            endpoints = self._discover(session)
            token = self._fetch_token(session, endpoints, answer["code"], secret)
            keys = _fetch(session, endpoints["jwks_uri"])
        claims = self._verify(token, keys, secret, now)
        email = claims.get("email")
        if not isinstance(email, str) or "@" not in email or claims.get("email_verified") is not True:
            raise _refused("email", "the provider names no verified address")
        return email

    def _open_session(self) -> Any:
        from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415 - only where it is used

        session = OAuth2Session(
            self.client_id,
            self.client_secret.get_secret_value(),
            scope="openid email",
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
        )
        session.trust_env = False  # no password from a .netrc file
        return session

    def _discover(self, session: Any) -> Mapping[str, Any]:
        found = _fetch(session, self.issuer.rstrip("/") + _DISCOVERY)
        if found.get("issuer") != self.issuer:
            raise _refused("issuer", "the discovery document is of another issuer")
        for name in _ENDPOINTS:
            if not _is_safe(found.get(name)):
                raise _refused("discovery", f"{name} is not an https address")
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" not in methods:
            session.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 - the name of a method
        return found

    def _fetch_token(self, session: Any, endpoints: Mapping[str, Any], code: str, secret: str) -> Mapping[str, Any]:
        try:
            token = session.fetch_token(
                endpoints["token_endpoint"],
                code=code,
                code_verifier=_derive(secret, "verifier"),
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
        except Exception as error:  # noqa: BLE001 - whatever the provider answers, it lets nobody in
            raise _refused("token", format_error_chain(error)) from None
        return token if isinstance(token, Mapping) else {}

    def _verify(self, token: Mapping[str, Any], keys: Mapping[str, Any], secret: str, now: datetime) -> Any:
        """Return the claims of an ID token whose signature, issuer, audience, nonce and times are right."""
        from authlib.oidc.core import CodeIDToken  # noqa: PLC0415 - only where it is used
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415

        params = {
            "nonce": _derive(secret, "nonce"),
            "client_id": self.client_id,
            "access_token": token.get("access_token"),
        }
        options = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
        }
        published: Any = dict(keys)
        try:
            decoded = jwt.decode(str(token.get("id_token", "")), KeySet.import_key_set(published), _ALGORITHMS)
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(int(now.timestamp()), _LEEWAY)
        except Exception as error:  # noqa: BLE001 - whatever is in a token, it lets nobody in
            claim = getattr(error, "claim", None) or "signature or form"
            raise _refused("ID token", f"{claim} ({format_error_chain(error)})") from None
        return claims


def _derive(secret: str, name: str) -> str:
    mac = hmac.digest(secret.encode(), name.encode(), sha256)
    return urlsafe_b64encode(mac).decode().rstrip("=")


def _is_safe(url: object) -> bool:
    """Return whether this is an address by https, or of this machine."""
    parts = urlsplit(url) if isinstance(url, str) else None
    host = parts.hostname if parts is not None else None
    return bool(parts and host) and (parts.scheme == "https" or (parts.scheme == "http" and is_localhost(host)))  # type: ignore[union-attr,arg-type]


def _fetch(session: Any, url: str) -> Mapping[str, Any]:
    """Return a JSON object of the provider; a redirection is not followed. Raises OidcRefused."""
    try:
        with session.get(url, withhold_token=True, timeout=_TIMEOUT, allow_redirects=False, stream=True) as answer:
            parts = islice(answer.iter_content(_PART), _MAX_ANSWER // _PART)  # the rest of a longer answer is not read
            body = b"".join(parts)
            found = orjson.loads(body) if answer.status_code == HTTPStatus.OK else None
    except Exception as error:  # noqa: BLE001 - whatever the provider answers, it lets nobody in
        raise _refused("answer", format_error_chain(error)) from None
    if not isinstance(found, dict):
        raise _refused("answer", f"{urlsplit(url).path} answered {answer.status_code}")
    return found


def _refused(what: str, why: str) -> OidcRefused:
    """Log why a sign-in was refused, without codes, tokens or addresses."""
    _log.warning("oidc_refused %s: %s", what, why)
    return OidcRefused("The sign-in did not work. Try it again, or ask an admin.")
