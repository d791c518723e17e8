"""Encode a composed email as JSON for Postmark's Email API."""

from collections.abc import Mapping
from typing import Any, Final

from nurture.mail.providers.http_client import CONTROL_CHARACTERS, InvalidPayload, encode_json
from nurture.mail.rendering.mime import encode_address
from nurture.mail.rendering.render import Address, ComposedEmail

MAX_MESSAGE_BYTES: Final = 10_000_000
_MESSAGE_KEY: Final = "nurture_message"
"""The metadata that Postmark returns with each event; the parts after the first have a number after it."""

_MAX_PARTS: Final = 10  # fields of metadata
_MAX_PART_LENGTH: Final = 80  # characters of the value of a field
_MAX_TAG_LENGTH: Final = 1_000


def encode_message(email: ComposedEmail, stream: str) -> bytes:
    """Encode *email* as JSON. Raises InvalidPayload."""
    return encode_json(build_message(email, stream), "Postmark", MAX_MESSAGE_BYTES)


def build_message(email: ComposedEmail, stream: str) -> dict[str, Any]:
    """Return the request to /email for *email*, or one item of /email/batch. Raises InvalidPayload."""
    for name, value in (("Subject", email.subject), *email.headers):
        if CONTROL_CHARACTERS.search(name + value):
            raise InvalidPayload(f"the header {name!r} contains a line break or control character")
    message: dict[str, Any] = {
        "From": _mailbox("sender", email.sender),
        "To": _mailbox("recipient", email.to),
        "Subject": email.subject,
        "Headers": [{"Name": name, "Value": value} for name, value in email.headers],
        "Metadata": split_message_id(f"{email.installation_id}:{email.ref}"),
        "MessageStream": stream,
        # Always explicit: the server's defaults would rewrite links and add a pixel.
        "TrackOpens": False,
        "TrackLinks": "None",
    }
    if email.reply_to is not None:
        message["ReplyTo"] = _mailbox("reply-to", email.reply_to)
    if email.text.strip():
        message["TextBody"] = email.text
    if (html := email.html).strip():
        message["HtmlBody"] = html
    if email.labels:
        message["Tag"] = "/".join(email.labels)[:_MAX_TAG_LENGTH]
    return message


def split_message_id(message_id: str) -> dict[str, str]:
    """Return *message_id* as metadata, in parts as long as Postmark accepts. Raises InvalidPayload."""
    parts = [message_id[start : start + _MAX_PART_LENGTH] for start in range(0, len(message_id), _MAX_PART_LENGTH)]
    if len(parts) > _MAX_PARTS:
        raise InvalidPayload("the message's ref exceeds Postmark's limit of 800 characters for metadata")
    return {_part_key(number): part for number, part in enumerate(parts)}


def join_message_id(metadata: Mapping[str, Any]) -> str:
    """Return the message id that `split_message_id` wrote; "" if there is none."""
    parts = (metadata.get(_part_key(number)) for number in range(_MAX_PARTS))
    return "".join(part for part in parts if isinstance(part, str))


def _part_key(number: int) -> str:
    return f"{_MESSAGE_KEY}_{number}" if number else _MESSAGE_KEY


def _mailbox(role: str, address: Address) -> str:
    """Return a name, quoted, and an address."""
    try:
        email = encode_address(address.email, role)
    except ValueError as error:
        raise InvalidPayload(str(error)) from error
    if not email.isascii():
        raise InvalidPayload(f"the {role}'s address has non-ASCII letters before the @; Postmark accepts none")
    name = CONTROL_CHARACTERS.sub(" ", address.name).strip().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{email}>' if name else email
