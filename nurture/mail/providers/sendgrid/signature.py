"""Verify webhook signatures: ECDSA on P-256 with SHA-256, over the timestamp and the raw body."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

SIGNATURE_HEADER: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER: Final = "X-Twilio-Email-Event-Webhook-Timestamp"

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the signer's clock may be ahead of ours."""

_MAX_SIGNATURE_LENGTH: Final = 200  # DER of P-256 has 72 bytes at most
_ALGORITHM: Final = ec.ECDSA(SHA256())
_PREHASHED_ALGORITHM: Final = ec.ECDSA(Prehashed(SHA256()))
# Digits only: timestamp and body are signed as one text, and no byte may move from one to the other.
_TIME: Final = re.compile(r"[0-9]{1,20}")


class SignatureVerifier:
    """The valid public keys: one, or two during a key rotation."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(_load_public_key(key) for key in keys)

    def __bool__(self) -> bool:
        """Return whether there is any key."""
        return bool(self._keys)

    def is_plausible(self, signatures: Sequence[str], timestamps: Sequence[str], now: datetime) -> bool:
        """Return whether the headers are well-formed, before the body is read.

        A timestamp (seconds since 1970, UTC) more than MAX_CLOCK_SKEW ahead of *now* is not.
        """
        if _decode_signature(signatures, timestamps) is None:
            return False
        return int(timestamps[0]) <= (now + MAX_CLOCK_SKEW).timestamp()

    def verify(self, signatures: Sequence[str], timestamps: Sequence[str], body: bytes) -> bool:
        """Return whether one of the keys signed *body*. Each header must occur once."""
        signature = _decode_signature(signatures, timestamps)
        if signature is None:
            return False
        signed_content = timestamps[0].encode("ascii") + body
        return any(_is_valid_signature(key, signature, signed_content) for key in self._keys)

    def verify_digest(self, signatures: Sequence[str], timestamps: Sequence[str], digest: bytes) -> bool:
        """Return whether one of the keys signed the content with this SHA-256: the timestamp, then the body."""
        signature = _decode_signature(signatures, timestamps)
        if signature is None:
            return False
        return any(_is_valid_signature(key, signature, digest, _PREHASHED_ALGORITHM) for key in self._keys)


def _decode_signature(signatures: Sequence[str], timestamps: Sequence[str]) -> bytes | None:
    """Return the signature if both headers occur once and are well-formed."""
    if len(signatures) != 1 or len(timestamps) != 1 or not _TIME.fullmatch(timestamps[0]):
        return None
    if len(signatures[0]) > _MAX_SIGNATURE_LENGTH:
        return None
    try:
        return b64decode(signatures[0].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def _is_valid_signature(
    key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes, algorithm: ec.ECDSA = _ALGORITHM
) -> bool:
    try:
        key.verify(signature, signed, algorithm)
    except InvalidSignature:
        return False
    return True


def _load_public_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(b64decode(text.encode("ascii"), validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:  # binascii's and Unicode's errors are ValueErrors
        raise ValueError("it is not a public key as SendGrid shows it") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("it is a public key, but not for ECDSA on P-256")  # noqa: TRY004 - the text is invalid
    return key
