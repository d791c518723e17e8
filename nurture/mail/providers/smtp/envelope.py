"""An email as one SMTP server wants it: envelope and content, by what it offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nurture.mail.providers.smtp.connection import Relay, Server
from nurture.mail.rendering.mime import mime_bytes, wire_address
from nurture.mail.rendering.render import ComposedEmail


class NotByThisServer(Exception):
    """This server cannot take what the sender of the email needs."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An email as this server wants it."""

    mail: bytes
    rcpt: bytes
    content: bytes


def letter_for(relay: Relay, server: Server, email: ComposedEmail, now: datetime) -> Letter:
    """Write *email* for what the server offers. Raises ValueError or NotByThisServer."""
    content = mime_bytes(email, now, eight_bit=relay.offers("8bitmime") is not None)
    sender, to = wire_address(email.sender.email, "sender"), wire_address(email.to.email)
    reply_to = wire_address(email.reply_to.email, "reply address") if email.reply_to else ""
    ascii_only = (sender + to + reply_to).isascii()
    if not ascii_only and relay.offers("smtputf8") is None:
        if to.isascii():
            raise NotByThisServer(
                f"{server} takes no address with letters beyond ASCII before the @ (no SMTPUTF8). "
                "Correct the sender and reply_to in templates/defaults.yaml."
            )
        raise ValueError(
            f"the recipient's address has letters beyond ASCII before the @, "
            f"and {server} takes none there (no SMTPUTF8)"
        )
    size = relay.offers("size") or ""
    if size.isdigit() and 0 < int(size) < len(content):
        raise ValueError(f"it has {len(content):,} bytes, and {server} takes {int(size):,}")
    options = [
        f" SIZE={len(content)}" if relay.offers("size") is not None else "",
        "" if content.isascii() else " BODY=8BITMIME",
        "" if ascii_only else " SMTPUTF8",
    ]
    return Letter(
        mail=f"MAIL FROM:<{sender}>{''.join(options)}\r\n".encode(),
        rcpt=f"RCPT TO:<{to}>\r\n".encode(),
        content=content.replace(b"\r\n.", b"\r\n..") + b".\r\n",
    )
