"""Encode the request for an email as JSON, as the API of a provider takes it."""

from __future__ import annotations

import re
from typing import Final

import orjson

CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f]")


class InvalidPayload(ValueError):
    """The provider would always refuse this email. The message says why, without personal data."""


def encode_json(request: object, provider: str, max_bytes: int) -> bytes:
    """Encode *request* as JSON that is shorter than *max_bytes*, the limit of *provider*. Raises InvalidPayload."""
    try:
        encoded = orjson.dumps(request)
    except TypeError as error:  # JSONEncodeError is a TypeError: a lone surrogate
        raise InvalidPayload("the email contains invalid characters and cannot be encoded as JSON") from error
    if len(encoded) >= max_bytes:
        size, limit = len(encoded) // 1_000_000, max_bytes // 1_000_000
        raise InvalidPayload(f"the email has {size} MB; {provider}'s limit is {limit} MB")
    return encoded
