"""Encode a composed email as JSON for SendGrid's Mail Send (v3)."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from nurture.domain.address import normalize_address
from nurture.domain.plain_text import strip_accents
from nurture.mail.providers.http_client import CONTROL_CHARACTERS, InvalidPayload, encode_json
from nurture.mail.rendering.render import Address, ComposedEmail

MESSAGE_ARG: Final = "nurture_message"
"""The only custom argument; SendGrid returns it with each event."""
MAX_BYTES: Final = 30_000_000
MAX_ADDRESS_LENGTH: Final = 320
_MAX_ARG_BYTES: Final = 10_000
_MAX_CATEGORIES: Final = 10
_MAX_CATEGORY_LENGTH: Final = 255
_ASCII_BASES: Final = {
    ord(letter): base
    for base, letters in (
        *(("ss", "ß"), ("o", "ø"), ("O", "Ø"), ("ae", "æ"), ("Ae", "Æ"), ("oe", "œ"), ("Oe", "Œ"), ("l", "ł")),
        *(("L", "Ł"), ("d", "đð"), ("D", "Đ"), ("th", "þ"), ("i", "\u0131"), ("-", "\u2013\u2014\u00b7")),
        *(("'", "\u2018\u2019"), ('"', "\u201c\u201d\u201e")),
    )
    for letter in letters
}
"""Characters that Unicode does not decompose."""
_HEADER_NAME: Final = re.compile(r"[!-9;-~]+")
_RESERVED_HEADERS: Final = frozenset(
    (
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
        *("to", "from", "subject", "reply-to", "cc", "bcc"),
    )
)

# Always explicit: the account's defaults would rewrite links and add a second unsubscribe link.
_TRACKING_SETTINGS: Final = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}


@dataclass(frozen=True, slots=True)
class Account:
    """Settings of the SendGrid account. In *sandbox* mode SendGrid validates email and delivers none."""

    sandbox: bool = False
    asm_group: int | None = None
    ip_pool: str | None = None


def encode_payload(email: ComposedEmail, account: Account) -> bytes:
    """Encode *email* as JSON. Raises InvalidPayload."""
    return encode_json(build_payload(email, account), "SendGrid", MAX_BYTES)


def build_payload(email: ComposedEmail, account: Account) -> dict[str, Any]:
    """Return the request for *email*. Raises InvalidPayload."""
    personalization = build_personalization(email)
    own = {name: personalization.pop(name) for name in ("subject", "custom_args")}
    return build_message(email, account, [personalization]) | own


def build_personalization(email: ComposedEmail) -> dict[str, Any]:
    """Return what is particular to *email* in a request, without its body. Raises InvalidPayload."""
    if not email.subject.strip():
        raise InvalidPayload("the subject is empty")
    if CONTROL_CHARACTERS.search(email.subject):
        raise InvalidPayload("the subject contains a line break or control character")
    personalization: dict[str, Any] = {
        "to": [_email_address("recipient", email.to, _strip_list_separators(email.to.name))],
        "subject": email.subject,
        "custom_args": {MESSAGE_ARG: format_message_arg(email)},
    }
    if email.headers:
        personalization["headers"] = _headers(email.headers)
    return personalization


def build_message(email: ComposedEmail, account: Account, personalizations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the request for *personalizations*; its sender and bodies are those of *email*. Raises InvalidPayload."""
    request: dict[str, Any] = {
        "personalizations": personalizations,
        "from": _email_address("sender", email.sender, _ascii_sender_name(email.sender.name)),
        "content": _content(email),
        "tracking_settings": _TRACKING_SETTINGS,
        "mail_settings": {"sandbox_mode": {"enable": account.sandbox}},
    }
    if email.reply_to is not None:
        request["reply_to"] = _email_address("reply-to", email.reply_to, email.reply_to.name)
    if email.labels:
        request["categories"] = list(_categories(email.labels))
    if account.asm_group is not None:
        request["asm"] = {"group_id": account.asm_group}
    if account.ip_pool:
        request["ip_pool_name"] = account.ip_pool
    return request


def format_message_arg(email: ComposedEmail) -> str:
    """Return the installation id and ref of *email*, which SendGrid returns with each event."""
    arg = f"{email.installation_id}:{email.ref}"
    if len(arg.encode("utf-8", "replace")) + len(MESSAGE_ARG) > _MAX_ARG_BYTES:
        raise InvalidPayload("the message's ref exceeds SendGrid's limit of 10,000 bytes for custom arguments")
    return arg


def _email_address(role: str, address: Address, name: str) -> dict[str, str]:
    email = address.email
    if not email.isascii():
        local, _, domain = email.rpartition("@")
        if not local.isascii():
            raise InvalidPayload(f"the {role}'s address has non-ASCII letters before the @; SendGrid accepts none")
        email = local + normalize_address(f"@{domain}")
    if len(email) > MAX_ADDRESS_LENGTH:
        raise InvalidPayload(
            f"the {role}'s address has {len(email)} characters; SendGrid's limit is {MAX_ADDRESS_LENGTH}"
        )
    name = name.strip()
    return {"email": email, "name": name} if name else {"email": email}


def _ascii_sender_name(name: str) -> str:
    """Return *name* in ASCII, as SendGrid requires for senders: Zoë becomes Zoe, another script becomes ""."""
    ascii_name = _to_ascii(name)
    return ascii_name if ascii_name.isascii() else ""


def _strip_list_separators(name: str) -> str:
    """Remove commas and semicolons, which SendGrid forbids in a recipient's name: it would read a list."""
    if "," in name or ";" in name:
        return " ".join(name.replace(",", " ").replace(";", " ").split())
    return name


def _content(email: ComposedEmail) -> list[dict[str, str]]:
    """Return the non-empty bodies, plain text first, as SendGrid requires."""
    parts = (("text/plain", email.text), ("text/html", email.html))
    content = [{"type": kind, "value": value} for kind, value in parts if value.strip()]
    if not content:
        raise InvalidPayload("the email has an empty body")
    return content


def _headers(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    checked: dict[str, str] = {}
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or CONTROL_CHARACTERS.search(value):
            raise InvalidPayload(f"the header {name!r} contains a line break or another invalid character")
        if name.lower() in _RESERVED_HEADERS:
            raise InvalidPayload(f"the header {name} is reserved: SendGrid writes it")
        checked[name] = value
    if len({name.lower() for name in checked}) < len(headers):
        raise InvalidPayload("a header occurs twice")
    return checked


@lru_cache(maxsize=1_024)
def _categories(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the distinct *labels* in ASCII, as many as SendGrid accepts."""
    names = (_category_name(label)[:_MAX_CATEGORY_LENGTH].strip() for label in labels)
    return tuple(dict.fromkeys(label for label in names if label))[:_MAX_CATEGORIES]


def _category_name(label: str) -> str:
    ascii_label = _to_ascii(label)
    # A label without an ASCII base still needs a unique name.
    return CONTROL_CHARACTERS.sub(
        " ", ascii_label if ascii_label.isascii() else label.encode("punycode").decode("ascii")
    )


@lru_cache(maxsize=1_024)
def _to_ascii(text: str) -> str:
    """Replace letters by their ASCII base where they have one."""
    if text.isascii():
        return text
    return strip_accents(text.translate(_ASCII_BASES))
