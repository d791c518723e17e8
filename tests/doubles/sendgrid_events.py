"""A double of SendGrid's Event Webhook: signed batches with every type of event."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st
from pydantic import SecretStr

from nurture.mail.providers import registry, spec
from nurture.mail.providers.registry import OpenWebhooks
from nurture.settings import Settings

SIGNATURE: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
PATH: Final = spec.EVENTS_PATH.format(provider="sendgrid")
INBOUND_PATH: Final = spec.INBOUND_PATH.format(provider="sendgrid")

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "processed": {"smtp-id": "<a.b@ismtpd-1>", "pool": {"name": "marketing", "id": 7}},
    "deferred": {"smtp-id": "<a.b@ismtpd-1>", "response": "451 4.7.1 try again later", "attempt": "3"},
    "delivered": {"smtp-id": "<a.b@ismtpd-1>", "response": "250 2.0.0 OK", "tls": 1, "ip": "192.0.2.1"},
    "bounce": {
        "reason": "550 5.1.1 <gone@people.example>: no Mrs Miller here",
        "status": "5.1.1",
        "type": "bounce",
        "bounce_classification": "Invalid Address",
    },
    "blocked": {
        "event": "bounce",
        "reason": "554 5.7.1 listed",
        "type": "blocked",
        "bounce_classification": "Reputation",
    },
    "dropped": {"reason": "Bounced Address", "status": "5.0.0", "smtp-id": "<a.b@ismtpd-1>"},
    "spamreport": {},
    "unsubscribe": {},
    "group_unsubscribe": {"asm_group_id": 10, "ip": "192.0.2.1", "useragent": "Mozilla/5.0", "url": ""},
    "group_resubscribe": {"asm_group_id": 10, "ip": "192.0.2.1", "useragent": "Mozilla/5.0", "url": ""},
    "open": {"useragent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140", "ip": "192.0.2.9"},
    "click": {
        "useragent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140",
        "ip": "192.0.2.9",
        "url": "https://www.example.com/guide",
        "url_offset": {"index": 0, "type": "html"},
    },
    "account_status_change": {"type": "compliance_suspend"},
}
"""The additional fields of each event type. `blocked` is a bounce of that type."""


class Signer:
    """Signs batches like one webhook of an account."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        """Return the public key as SendGrid shows it."""
        return b64encode(self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def headers(self, body: bytes, timestamp: str = "1767601800") -> dict[str, str]:
        """Return the headers that SendGrid sends with *body*."""
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        return {SIGNATURE: b64encode(signature).decode(), TIMESTAMP: timestamp, "Content-Type": "application/json"}


def webhooks(*, events: Sequence[Signer] = (), inbound: Sequence[Signer] = ()) -> OpenWebhooks:
    """Return the webhooks of an installation whose settings have the public keys of these signers."""
    keys = {
        f"sendgrid_{name}_key": SecretStr(",".join(signer.public for signer in signers))
        for name, signers in (("webhook", events), ("inbound", inbound))
    }
    return registry.open_webhooks(Settings(**keys))


def event(kind: str, arg: str | None, at: datetime, id_: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return one event of *kind* for the message with *arg*. Fields that are None are omitted."""
    made = {
        "email": "lead@people.example",
        "timestamp": int(at.timestamp()),
        "event": kind,
        "sg_event_id": id_ or f"id-{kind}-{arg}-{int(at.timestamp())}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "category": ["welcome", "01-hello"],
        "nurture_message": arg,
        **KINDS.get(kind, {}),
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def encode_events(events: Sequence[Any]) -> bytes:
    """Encode a batch like SendGrid: one event per line."""
    return b"[" + b",\r\n".join(orjson.dumps(one) for one in events) + b"]\r\n"


_JUNK: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
)
junk_values: Final = st.recursive(
    _JUNK,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Arbitrary JSON values."""

_FIELDS: Final = (
    "email", "timestamp", "event", "type", "status", "reason", "response", "attempt", "category", "url", "ip",
    "useragent", "sg_event_id", "sg_message_id", "smtp-id", "nurture_message", "sg_machine_open",
    "asm_group_id", "bounce_classification",
)  # fmt: skip
ODD_EVENTS: Final = st.builds(
    lambda plain, odd: {**plain, **odd},
    st.sampled_from(sorted(KINDS)).map(lambda kind: {"event": kind, **KINDS[kind]}),
    st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=6), junk_values, max_size=6),
)
"""Events in which any field may be missing or have any value."""
