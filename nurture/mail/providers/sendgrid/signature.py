"""Verify webhook signatures: ECDSA on P-256 with SHA-256, over the timestamp and the raw body."""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from nurture.mail.providers.spec import HeaderValues

SIGNATURE_HEADER: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER: Final = "X-Twilio-Email-Event-Webhook-Timestamp"

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the signer's clock may be ahead of ours."""

_MAX_SIGNATURE_LENGTH: Final = 200  # DER of P-256 has 72 bytes at most
_ALGORITHM: Final = ec.ECDSA(Prehashed(SHA256()))
# Digits only: timestamp and body are signed as one text, and no byte may move from one to the other.
_TIME: Final = re.compile(r"[0-9]{1,20}")


class SignedBody:
    """A body that is arriving with *signature*, which covers *timestamp* and the body."""

    def __init__(self, keys: Sequence[ec.EllipticCurvePublicKey], signature: bytes, timestamp: str) -> None:
        self._keys = keys
        self._signature = signature
        self._digest = sha256(timestamp.encode("ascii"))

    def update(self, chunk: bytes) -> None:
        """Take the next part of the raw body."""
        self._digest.update(chunk)

    def is_valid(self) -> bool:
        """Return whether one of the keys signed the body."""
        digest = self._digest.digest()
        return any(_is_valid_signature(key, self._signature, digest) for key in self._keys)


class SignatureVerifier:
    """The valid public keys: one, or two during a key rotation."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(_load_public_key(key) for key in keys)

    def begin(self, header_values: HeaderValues, now: datetime) -> SignedBody | None:
        """Return the check of the body that follows; None if a header is malformed or does not occur once.

        A timestamp (seconds since 1970, UTC) more than MAX_CLOCK_SKEW ahead of *now* is refused.
        """
        signatures, timestamps = header_values(SIGNATURE_HEADER), header_values(TIMESTAMP_HEADER)
        signature = _decode_signature(signatures, timestamps)
        if signature is None or int(timestamps[0]) > (now + MAX_CLOCK_SKEW).timestamp():
            return None
        return SignedBody(self._keys, signature, timestamps[0])


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


def _is_valid_signature(key: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes) -> bool:
    try:
        key.verify(signature, digest, _ALGORITHM)
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
