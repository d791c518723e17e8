"""The token endpoint of an identity provider on loopback: it checks the grant, and issues a new token each time."""

from typing import Any

from tests.doubles.api_server import Answer, ApiDouble, Call

SECRET = "c1ient~secret"


class TokenServer(ApiDouble):
    """Issues `token-1`, `token-2`, ...; those in *valid* are the ones that a mail server may accept.

    *rotates*: each answer contains a new refresh token, and the used one is refused from then on. *refusal* is
    answered instead of a token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.valid: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self.refresh_token = "refresh-0"
        self.rotates = False
        self.expires_in: Any = 3_600
        self.refusal: Answer | None = None

    def answer(self, call: Call) -> Answer:
        """Issue a token, or refuse as RFC 6749, section 5.2 says."""
        form = call.body
        self.forms.append(form)
        if self.refusal is not None:
            return self.refusal
        if call.method != "POST" or form.get("client_id") != "app" or form.get("client_secret") != SECRET:
            return _refuse("invalid_client", f"AADSTS7000215: Invalid client secret {form.get('client_secret')}.")
        issued: dict[str, Any] = {"token_type": "Bearer", "expires_in": self.expires_in}
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] != self.refresh_token:
                return _refuse("invalid_grant", "AADSTS700082: The refresh token has expired.")
            if self.rotates:
                self.refresh_token = f"refresh-{len(self.forms)}"
                issued["refresh_token"] = self.refresh_token
        self.valid.append(f"token-{len(self.valid) + 1}")
        return Answer(200, {**issued, "access_token": self.valid[-1]})

    def writes(self, call: Call) -> bool:
        """Return whether *call* asks for a token."""
        return call.method == "POST"


def _refuse(code: str, description: str) -> Answer:
    return Answer(400, {"error": code, "error_description": description})
