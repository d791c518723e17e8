"""Webhook signatures: signed content is accepted, and any changed bit is refused."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.providers.sendgrid.signature import SignatureVerifier
from tests.doubles.sendgrid_events import SIGNATURE, TIMESTAMP, Signer

SIGNER = Signer()
VERIFIER = SignatureVerifier([SIGNER.public])
BODY = b'[{"event":"delivered"}]'
NOW = datetime(2026, 3, 4, tzinfo=UTC)
HEADERS = SIGNER.headers(BODY)
CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def verifies(signature: str = HEADERS[SIGNATURE], timestamp: str = HEADERS[TIMESTAMP], body: bytes = BODY) -> bool:
    return verifies_with(VERIFIER, [signature], [timestamp], body)


def verifies_with(
    verifier: SignatureVerifier, signatures: Sequence[str], timestamps: Sequence[str], body: bytes
) -> bool:
    values = {SIGNATURE: signatures, TIMESTAMP: timestamps}
    check = verifier.begin(values.__getitem__, NOW)
    if check is None:
        return False
    for start in range(0, len(body), 7):
        check.update(body[start : start + 7])
    return check.is_valid()


def test_signed_content_is_accepted() -> None:
    assert verifies()


def test_two_keys_are_valid_during_a_rotation() -> None:
    other = Signer()
    headers = other.headers(BODY)
    assert not verifies(headers[SIGNATURE])
    both = SignatureVerifier([SIGNER.public, other.public])
    assert verifies_with(both, [headers[SIGNATURE]], [headers[TIMESTAMP]], BODY)


def test_without_a_key_nothing_is_accepted() -> None:
    assert not verifies_with(SignatureVerifier([]), [HEADERS[SIGNATURE]], [HEADERS[TIMESTAMP]], BODY)


@given(st.integers(0, 8 * len(BODY) - 1))
def test_a_flipped_bit_of_the_body_is_refused(bit: int) -> None:
    flipped = bytearray(BODY)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verifies(body=bytes(flipped))


@given(st.data())
def test_a_flipped_bit_of_the_signature_is_refused(data: st.DataObject) -> None:
    flipped = bytearray(b64decode(HEADERS[SIGNATURE]))
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verifies(b64encode(flipped).decode())


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        "=",
        "not base64!",
        "a" * 100_000,
        "MEUCIQ==",
        "ß",
        "\0",
        HEADERS[SIGNATURE] + "\n",
        " " + HEADERS[SIGNATURE],
        HEADERS[SIGNATURE][:-4],
        HEADERS[SIGNATURE] * 2,
        b64encode(b"\x30\x06\x02\x01\x00\x02\x01\x00").decode(),
        b64encode(encode_dss_signature(0, 0)).decode(),
        b64encode(encode_dss_signature(CURVE_ORDER, CURVE_ORDER)).decode(),
        b64encode(encode_dss_signature(1, 1)).decode(),
        b64encode(b64decode(HEADERS[SIGNATURE]) + b"\0").decode(),
    ],
    ids=lambda _: "",  # keys differ per run, but pytest-xdist workers need the same test ids
)
def test_a_malformed_signature_is_refused(signature: str) -> None:
    assert not verifies(signature)


@pytest.mark.parametrize(
    "timestamp", ["", "0", "1767601801", "+1767601800", " 1767601800", "1767601800.0", "١٧٦", "1" * 500, "-1", "\0"]
)
def test_another_timestamp_is_refused(timestamp: str) -> None:
    assert not verifies(timestamp=timestamp)


def test_no_byte_can_move_from_timestamp_to_body() -> None:
    full = HEADERS[TIMESTAMP].encode() + BODY
    for place in range(len(HEADERS[TIMESTAMP]) + 1, len(full)):
        assert not verifies(timestamp=full[:place].decode(), body=full[place:])


@pytest.mark.parametrize(("signatures", "timestamps"), [(0, 1), (1, 0), (2, 1), (1, 2), (0, 0)])
def test_each_header_must_occur_once(signatures: int, timestamps: int) -> None:
    assert not verifies_with(VERIFIER, [HEADERS[SIGNATURE]] * signatures, [HEADERS[TIMESTAMP]] * timestamps, BODY)


def test_the_alternate_form_of_a_signature_verifies_only_the_same_content() -> None:
    r, s = decode_dss_signature(b64decode(HEADERS[SIGNATURE]))
    other = b64encode(encode_dss_signature(r, CURVE_ORDER - s)).decode()
    assert verifies(other)  # ECDSA signatures are malleable; batches are deduplicated by body
    assert not verifies(other, body=BODY + b" ")


def spki(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    made = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(made).decode()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "SG.secret",
        "ß",
        SIGNER.public[:-8],
        b64encode(b64decode(SIGNER.public)[:-1] + bytes([b64decode(SIGNER.public)[-1] ^ 1])).decode(),
        spki(ec.generate_private_key(ec.SECP384R1())),
        spki(ec.generate_private_key(ec.SECP256K1())),
        spki(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=lambda _: "",
)
def test_an_invalid_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="it is"):
        SignatureVerifier([key])
