"""An OpenID Connect provider on loopback: discovery, PKCE, one-time codes, and ID tokens that may be wrong."""

from __future__ import annotations

import secrets
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote, urlencode

import orjson
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from nurture.clock import RealClock
from tests.doubles.api_server import Answer, ApiDouble, Call

CLIENT: Final = "console"
SECRET: Final = "0idc~secret-of-the-console"
OTHER_KEY: Final = RSAKey.generate_key(2048, {"kid": "other"})


@dataclass(frozen=True)
class _Grant:
    redirect_uri: str
    challenge: str
    nonce: str


class OidcDouble(ApiDouble):
    """Lets everybody in as *claims* say, without a page to sign in.

    *changed* replaces claims of the ID token, None takes one away; *algorithm* and *key* sign it. *metadata* replaces
    what the discovery document says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.own_key = RSAKey.generate_key(2048, {"kid": "own"})
        self.key: RSAKey | OctKey = self.own_key
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {"email": "mara@firm.example", "email_verified": True}
        self.changed: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.asked: list[dict[str, str]] = []
        self._grants: dict[str, _Grant] = {}

    def writes(self, call: Call) -> bool:
        """Return whether *call* asks for a token."""
        return call.path == "/token"

    def answer(self, call: Call) -> Answer:
        """Play the provider."""
        match call.path:
            case "/.well-known/openid-configuration":
                return Answer(200, self._discovery())
            case "/jwks":
                return Answer(200, KeySet([self.own_key]).as_dict(private=False))
            case "/authorize":
                return self._authorize(call.query)
            case "/token":
                return self._issue(call)
        return Answer(404)

    def _discovery(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
        return {"issuer": self.url, **{name: self.url + path for name, path in places.items()}} | self.metadata

    def _authorize(self, query: dict[str, str]) -> Answer:
        self.asked.append(query)
        right = query["client_id"] == CLIENT and query["response_type"] == "code"
        if not right or "openid" not in query["scope"].split() or query.get("code_challenge_method") != "S256":
            return Answer(400, {"error": "invalid_request"})
        code = secrets.token_urlsafe()
        self._grants[code] = _Grant(query["redirect_uri"], query["code_challenge"], query["nonce"])
        back = urlencode({"code": code, "state": query["state"]})
        return Answer(302, None, (("Location", f"{query['redirect_uri']}?{back}"),))

    def _issue(self, call: Call) -> Answer:
        scheme, _, basic = call.headers.get("authorization", "").partition(" ")
        user, _, password = b64decode(basic).decode().partition(":")
        if scheme != "Basic" or (unquote(user), unquote(password)) != (CLIENT, SECRET):
            return Answer(401, {"error": "invalid_client"})
        grant = self._grants.pop(call.body.get("code", ""), None)
        proof = urlsafe_b64encode(sha256(call.body.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if grant is None or proof != grant.challenge or call.body.get("redirect_uri") != grant.redirect_uri:
            return Answer(400, {"error": "invalid_grant"})
        now = int(RealClock().now().timestamp())
        claims = {"iss": self.url, "sub": "1", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": grant.nonce}
        claims |= self.claims | self.changed
        return Answer(200, {"access_token": "at", "token_type": "Bearer", "id_token": self._sign(claims)})

    def _sign(self, claims: dict[str, Any]) -> str:
        kept = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm} | ({"kid": self.key.kid} if self.key.kid else {})
        if self.algorithm == "none":
            return f"{_encode(header)}.{_encode(kept)}."
        return jwt.encode(header, kept, self.key, [self.algorithm])


def _encode(part: dict[str, Any]) -> str:
    return urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=")
