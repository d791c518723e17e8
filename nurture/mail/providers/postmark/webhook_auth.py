"""Verify the HTTP basic authentication of a webhook: Postmark signs nothing."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from nurture.mail.providers.webhooks import HeaderValues

_MAX_LENGTH: Final = 1_000


class AuthenticatedBody:
    """A body whose headers proved the sender: nothing in it is checked."""

    def update(self, chunk: bytes) -> None:
        """Ignore the body."""

    def is_valid(self) -> bool:
        """Return True."""
        return True


class BasicAuthVerifier:
    """The valid credentials, each USER:PASSWORD: one, or two while they are changed."""

    def __init__(self, credentials: Sequence[str]) -> None:
        self._digests = [sha256(one.encode()).digest() for one in credentials]

    def begin(self, header_values: HeaderValues, now: datetime) -> AuthenticatedBody | None:  # noqa: ARG002
        """Return the check of the body that follows; None without exactly one header with valid credentials."""
        values = header_values("Authorization")
        if len(values) != 1 or len(values[0]) > _MAX_LENGTH:
            return None
        scheme, _, encoded = values[0].partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            given = sha256(b64decode(encoded.encode("ascii"), validate=True)).digest()
        except (binascii.Error, UnicodeEncodeError):
            return None
        # Digests have one length, and every one is compared: the time tells nothing of the secret.
        matches = [compare_digest(given, known) for known in self._digests]
        return AuthenticatedBody() if any(matches) else None
