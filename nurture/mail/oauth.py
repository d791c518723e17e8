"""Sign in to mail servers with access tokens, as Microsoft 365 and Google require (OAuth 2.0 and XOAUTH2).

A file holds what the identity provider issued. With a refresh token it is that of one mailbox (RFC 6749, section 6);
without one, the application signs in for itself (client credentials, section 4.4) and the
server lets it use the mailbox.
"""

import json
import os
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from nurture.errors import Misconfigured, NurtureError
from nurture.files import open_private
from nurture.settings_model import ApiUrl

EXAMPLE: Final = (
    '{"token_url": "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token", "client_id": "...", '
    '"client_secret": "...", "scope": "https://outlook.office365.com/.default"}'
)
"""A file of an application that signs in for itself."""

_TIMEOUT: Final = 15.0  # seconds
_MAX_ANSWER: Final = 65_536  # bytes
_RENEW_BEFORE: Final = 120.0  # seconds before a token expires: the connection is opened with it, and used at once
_DEFAULT_LIFETIME: Final = 3_600.0  # seconds, where the answer does not say (RFC 6749, section 5.1)


class SignInFailed(NurtureError):
    """No access token was issued. Check the file that NURTURE_SMTP_OAUTH or NURTURE_IMAP_OAUTH names."""


class OAuthGrant(BaseModel):
    """What a file of sign-in data contains."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token_url: ApiUrl
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    scope: str | None = None

    def form(self) -> dict[str, str]:
        """Return the fields of a request for an access token."""
        form = {
            "grant_type": "refresh_token" if self.refresh_token else "client_credentials",
            "client_id": self.client_id,
        }
        secrets = {"client_secret": self.client_secret, "refresh_token": self.refresh_token}
        form |= {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}
        return form | ({"scope": self.scope} if self.scope else {})


class _TokenAnswer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    expires_in: float = Field(default=_DEFAULT_LIFETIME, ge=0, allow_inf_nan=False)
    refresh_token: SecretStr | None = None


class _TokenRefusal(BaseModel):
    error: str = ""
    error_description: str = ""


class AccessTokens:
    """The access tokens of the grant in *file*: one is kept until shortly before it expires. Safe for threads.

    A new refresh token replaces that in the file: Microsoft's expire after 90 days, and each use issues another one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._token: SecretStr | None = None
        self._renew_at = 0.0  # of the monotonic clock

    def response(self, user: str) -> bytes:
        """Return the client's response of XOAUTH2 for *user*. Raises SignInFailed and Misconfigured."""
        return f"user={user}\x01auth=Bearer {self._current().get_secret_value()}\x01\x01".encode()

    def forget(self) -> None:
        """Forget the token, which a server refused: the next sign-in asks for another one."""
        with self._lock:
            self._token = None

    def _current(self) -> SecretStr:
        with self._lock:
            if self._token is None or monotonic() >= self._renew_at:
                self._token = self._request()
            return self._token

    def _request(self) -> SecretStr:
        grant = read_grant(self._file)
        answer = _post_form(grant)
        self._renew_at = monotonic() + answer.expires_in - _RENEW_BEFORE
        if answer.refresh_token is not None and answer.refresh_token != grant.refresh_token:
            _replace_refresh_token(self._file, grant, answer.refresh_token)
        return answer.access_token


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: nobody but the endpoint gets the secret."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return None, so that the redirect is an error."""


def read_grant(file: Path) -> OAuthGrant:
    """Read a file of sign-in data. Raises Misconfigured, which quotes none of it."""
    remedy = f"It must look like {EXAMPLE}; for one mailbox it has a `refresh_token`."
    try:
        return OAuthGrant.model_validate_json(file.read_bytes())
    except OSError as error:
        raise Misconfigured(f"The sign-in data in {file} cannot be read ({error.strerror}).", remedy) from None
    except ValidationError as error:
        problems = {".".join(map(str, one["loc"])) or "the file": one["msg"] for one in error.errors()}
    found = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    raise Misconfigured(f"The sign-in data in {file} is not valid: {found}.", remedy)


def _post_form(grant: OAuthGrant) -> _TokenAnswer:
    """Ask for an access token. Raises SignInFailed, which quotes no secret."""
    request = Request(grant.token_url, urlencode(grant.form()).encode(), {"Accept": "application/json"})  # noqa: S310 - checked
    try:
        with build_opener(_NoRedirects).open(request, timeout=_TIMEOUT) as response:
            return _TokenAnswer.model_validate_json(response.read(_MAX_ANSWER))
    except HTTPError as error:
        problem = _describe_refusal(error)
    except ValidationError:
        problem = "answers without an access token. Check `token_url`."
    except OSError as error:
        problem = f"cannot be reached ({getattr(error, 'reason', None) or type(error).__name__}). It is asked again."
    raise SignInFailed(f"{grant.token_url} {problem}")


_REFUSALS: Final = {
    "invalid_grant": "The refresh token has expired or was revoked. Sign in again and write the new one into the file.",
    "invalid_client": "Correct `client_id` and `client_secret`: a secret may have expired.",
    "unauthorized_client": "Allow the application this kind of sign-in at the identity provider.",
    "invalid_scope": "Correct `scope`.",
}
"""What to do, by the error codes of RFC 6749, section 5.2."""


def _describe_refusal(error: HTTPError) -> str:
    try:
        refusal = _TokenRefusal.model_validate_json(error.read(_MAX_ANSWER))
    except (ValidationError, OSError):
        refusal = _TokenRefusal()
    code = refusal.error if refusal.error.isascii() and refusal.error.isidentifier() else ""
    if error.code >= 500 or not code:
        return f"answers with status {error.code}{f' ({code})' if code else ''}. It is asked again."
    # The provider's own code (AADSTS7000215) is what its documentation explains; the rest may quote what was sent.
    word = refusal.error_description.partition(":")[0]
    named = f", {word}" if word.isascii() and word.isalnum() and len(word) < 20 else ""
    return f"refuses the sign-in ({code}{named}). {_REFUSALS.get(code, 'Check the sign-in data.')}"


def _replace_refresh_token(file: Path, grant: OAuthGrant, token: SecretStr) -> None:
    """Write *grant* with a new refresh token. A file that cannot be written is left: the old one works for a while."""
    values = grant.model_dump(exclude_none=True) | {"refresh_token": token}
    plain = {name: one.get_secret_value() if isinstance(one, SecretStr) else one for name, one in values.items()}
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open_private(beside, encoding="utf-8") as written:
            json.dump(plain, written, indent=2)
        beside.replace(file)
    except OSError:
        beside.unlink(missing_ok=True)
