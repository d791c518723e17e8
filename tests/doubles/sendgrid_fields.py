"""The rules for single fields of SendGrid's Mail Send."""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

_HELP: Final = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#"
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
LINE_BREAK: Final = re.compile(r"[\r\n\0]")
_HEADER_NAME: Final = re.compile(r"[!-9;-~]+")
_RESERVED: Final = frozenset(
    (
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    )
)
_THREE_DAYS: Final = 72 * 3600

_BYPASS_SETTINGS: Final = tuple(f"bypass_{name}_management" for name in ("list", "spam", "bounce", "unsubscribe"))
_ENABLE: Final[dict[str, type]] = {"enable": bool}
_SETTINGS: Final[dict[str, dict[str, dict[str, type]]]] = {
    "mail_settings": {
        **dict.fromkeys(_BYPASS_SETTINGS, _ENABLE),
        "footer": {"enable": bool, "text": str, "html": str},
        "sandbox_mode": _ENABLE,
    },
    "tracking_settings": {
        "click_tracking": {"enable": bool, "enable_text": bool},
        "open_tracking": {"enable": bool, "substitution_tag": str},
        "subscription_tracking": {"enable": bool, "text": str, "html": str, "substitution_tag": str},
        "ganalytics": {
            "enable": bool,
            **{f"utm_{name}": str for name in ("source", "medium", "term", "content", "campaign")},
        },
    },
}


class FieldError(NamedTuple):
    """One entry of the error list in a response."""

    field: str | None
    message: str

    def to_json(self) -> dict[str, str | None]:
        """Return the entry in the format of the API."""
        anchor = f"{_HELP}message.{self.field.split('.', 1)[0]}" if self.field else None
        return {"message": self.message, "field": self.field, "help": anchor}


FieldErrors = Iterator[FieldError]


def is_not(kind: type, given: Mapping[str, Any], key: str) -> bool:
    return key in given and type(given[key]) is not kind


def unknown(given: Mapping[str, Any], known: Collection[str], path: str) -> list[FieldError]:
    return [
        FieldError(f"{path}{key}", f"Additional property {key} is not allowed") for key in given if key not in known
    ]


def strings(given: object, path: str) -> FieldErrors:
    if type(given) is not dict:
        yield FieldError(path, f"The {path.rsplit('.', 1)[-1]} must be an object of strings.")
        return
    for key, value in given.items():
        if type(value) is not str:
            yield FieldError(f"{path}.{key}", f"The value of {key} must be a string.")


def mailbox(given: object, path: str) -> FieldErrors:
    if type(given) is not dict:
        yield FieldError(path, "An email object must have an email and may have a name.")
        return
    yield from unknown(given, ("email", "name"), f"{path}.")
    email = given.get("email")
    if type(email) is not str or not email:
        yield FieldError(f"{path}.email", "The email address is required.")
    elif len(email) > 320:
        yield FieldError(f"{path}.email", "The email address must not be longer than 320 characters.")
    elif not _ADDRESS.fullmatch(email):
        yield FieldError(f"{path}.email", "Does not contain a valid address.")
    yield from line(given.get("name", ""), f"{path}.name")


def line(given: object, path: str) -> FieldErrors:
    if type(given) is not str:
        yield FieldError(path, "The value must be a string.")
    elif LINE_BREAK.search(given):
        yield FieldError(path, "The value must not contain line breaks.")


def attachments(given: object) -> FieldErrors:
    if type(given) is not list:
        yield FieldError("attachments", "The attachments must be an array.")
        return
    for number, one in enumerate(given):
        path = f"attachments.{number}"
        if type(one) is not dict:
            yield FieldError(path, "An attachment must be an object.")
            continue
        yield from unknown(one, ("content", "type", "filename", "disposition", "content_id"), f"{path}.")
        for key, value in one.items():
            yield from line(value, f"{path}.{key}")
        if not one.get("filename"):
            yield FieldError(f"{path}.filename", "The filename of the attachment is required.")
        if not _is_base64(one.get("content")):
            yield FieldError(f"{path}.content", "The attachment content must be base64 encoded.")
        if one.get("disposition", "attachment") not in ("attachment", "inline"):
            yield FieldError(f"{path}.disposition", "The disposition must be inline or attachment.")


def _is_base64(given: object) -> bool:
    try:
        return type(given) is str and bool(binascii.a2b_base64(given, strict_mode=True))
    except ValueError:
        return False


def headers(given: object, path: str) -> FieldErrors:
    if type(given) is not dict:
        yield FieldError(path, "The headers must be an object of strings.")
        return
    seen: set[str] = set()
    for name, value in given.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            yield FieldError(f"{path}.{name}", "Header names must be ASCII, without spaces and colons.")
        if lower in _RESERVED:
            yield FieldError(f"{path}.{name}", f"The header {name} is reserved and cannot be used.")
        if lower in seen:
            yield FieldError(f"{path}.{name}", f"The header {name} is given twice.")
        seen.add(lower)
        yield from line(value, f"{path}.{name}")


def categories(given: object) -> FieldErrors:
    if type(given) is not list:
        yield FieldError("categories", "The categories must be an array of strings.")
        return
    if len(given) > 10:
        yield FieldError("categories", "You may only have up to 10 categories per request.")
    texts = [one for one in given if type(one) is str]
    if len(texts) < len(given):
        yield FieldError("categories", "Each category must be a string.")
    if len(set(texts)) < len(texts):
        yield FieldError("categories", "The categories must be unique.")
    for one in texts:
        if not 1 <= len(one) <= 255:
            yield FieldError("categories", "A category name must have 1 to 255 characters.")
        if not one.isascii():
            yield FieldError("categories", "A category name may only contain ASCII characters.")


def send_at(given: Mapping[str, Any], path: str, now: float) -> FieldErrors:
    if is_not(int, given, "send_at"):
        yield FieldError(f"{path}send_at", "The send_at must be an integer: unix seconds.")
    elif given.get("send_at", 0) > now + _THREE_DAYS:
        yield FieldError(f"{path}send_at", "Scheduled sends cannot be more than 72 hours in the future.")


def asm(payload: Mapping[str, Any]) -> FieldErrors:
    if "asm" not in payload:
        return
    given = payload["asm"]
    if type(given) is not dict:
        yield FieldError("asm", "The asm must be an object.")
        return
    yield from unknown(given, ("group_id", "groups_to_display"), "asm.")
    if type(given.get("group_id")) is not int:
        yield FieldError("asm.group_id", "The asm group_id is required and must be an integer.")
    displayed = given.get("groups_to_display", [])
    if type(displayed) is not list or any(type(one) is not int for one in displayed):
        yield FieldError("asm.groups_to_display", "The groups_to_display must be an array of integers.")
    elif len(displayed) > 25:
        yield FieldError("asm.groups_to_display", "You may display up to 25 unsubscribe groups.")


def pool(payload: Mapping[str, Any], ip_pools: Collection[str] | None) -> FieldErrors:
    if "ip_pool_name" not in payload:
        return
    given = payload["ip_pool_name"]
    if type(given) is not str or not 2 <= len(given) <= 64:
        yield FieldError("ip_pool_name", "The ip_pool_name must be a string of 2 to 64 characters.")
    elif ip_pools is not None and given not in ip_pools:
        yield FieldError("ip_pool_name", "The ip_pool_name does not exist.")


def settings(payload: Mapping[str, Any], name: str) -> FieldErrors:
    shape, given = _SETTINGS[name], payload.get(name, {})
    if type(given) is not dict:
        yield FieldError(name, f"The {name} must be an object.")
        return
    yield from unknown(given, shape, f"{name}.")
    for key in given.keys() & shape.keys():
        path = f"{name}.{key}"
        if type(given[key]) is not dict:
            yield FieldError(path, f"The {key} must be an object.")
            continue
        yield from unknown(given[key], shape[key], f"{path}.")
        for inner, kind in shape[key].items():
            if is_not(kind, given[key], inner):
                yield FieldError(f"{path}.{inner}", f"The {inner} parameter must be a {kind.__name__}.")


def bypasses(payload: Mapping[str, Any]) -> FieldErrors:
    given = payload.get("mail_settings")
    if type(given) is not dict:
        return
    on = [key for key in _BYPASS_SETTINGS if type(given.get(key)) is dict and given[key].get("enable") is True]
    if _BYPASS_SETTINGS[0] in on and len(on) > 1:
        yield FieldError("mail_settings", "bypass_list_management cannot be combined with other bypass filters.")
