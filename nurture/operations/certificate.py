"""Look at the certificate of our own pages, as every visitor gets it."""

import socket
import ssl
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from nurture.db import last_rounds
from nurture.db.engine import Database

TIMEOUT: Final = 10.0
SHORT: Final = timedelta(days=14)
"""Certificates are renewed weeks before they expire; one that expires so soon was forgotten."""


def note_certificate(database: Database, base_url: str, now: datetime) -> None:
    """Record whether the certificate of *base_url* expires soon; nothing if it cannot be seen."""
    try:
        expires = read_expiry(base_url)
    except OSError:
        return
    if expires is None:
        return
    with database.write() as tx:
        if expires - now < SHORT:
            last_rounds.note_failure(tx, last_rounds.CERTIFICATE, now, f"{expires:%Y-%m-%d %H:%M} UTC")
        else:
            last_rounds.note_success(tx, last_rounds.CERTIFICATE, now)


def read_expiry(base_url: str) -> datetime | None:
    """Return when the certificate of *base_url* expires (UTC), None if it is not https.

    Its issuer is not verified. Raises OSError if there is no answer.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    from cryptography import x509  # noqa: PLC0415 - once in hours

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # an expired one is what we look for
    with (
        socket.create_connection((parts.hostname, parts.port or 443), TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown).not_valid_after_utc if shown else None
