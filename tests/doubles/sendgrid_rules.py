"""The documented rules of SendGrid's Mail Send; where two documents differ, the stricter one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any, Final

import orjson

from tests.doubles.sendgrid_fields import (
    LINE_BREAK,
    FieldError,
    FieldErrors,
    asm,
    attachments,
    bypasses,
    categories,
    headers,
    is_not,
    line,
    mailbox,
    pool,
    send_at,
    settings,
    strings,
    unknown,
)

MAX_BYTES: Final = 30_000_000
"""The size of a whole request must be below this."""
_TOP: Final = frozenset(
    (
        "personalizations",
        "from",
        "reply_to",
        "reply_to_list",
        "subject",
        "content",
        "attachments",
        "template_id",
        "sections",
        "headers",
        "categories",
        "custom_args",
        "send_at",
        "batch_id",
        "asm",
        "ip_pool_name",
        "mail_settings",
        "tracking_settings",
    )
)
_PERSONALIZATION: Final = frozenset(
    (
        "to",
        "cc",
        "bcc",
        "from",
        "subject",
        "headers",
        "substitutions",
        "dynamic_template_data",
        "custom_args",
        "send_at",
    )
)

_ADDRESSEES: Final = ("to", "cc", "bcc")
_PARTS: Final = {"text/plain": 0, "text/html": 1}


def find_errors(payload: object, now: float, ip_pools: Collection[str] | None = None) -> list[FieldError]:
    """Return all errors of *payload* at *now* (unix seconds). *ip_pools* are those that exist."""
    if not isinstance(payload, dict):
        return [FieldError(None, "Bad Request")]
    return [
        *unknown(payload, _TOP, ""),
        *_personalizations(payload, now),
        *_senders(payload),
        *_subject(payload),
        *_content(payload),
        *attachments(payload.get("attachments", [])),
        *headers(payload.get("headers", {}), "headers"),
        *strings(payload.get("sections", {}), "sections"),
        *categories(payload.get("categories", [])),
        *send_at(payload, "", now),
        *asm(payload),
        *pool(payload, ip_pools),
        *(
            FieldError(key, f"{key} must be a string.")
            for key in ("template_id", "batch_id")
            if is_not(str, payload, key)
        ),
        *settings(payload, "mail_settings"),
        *settings(payload, "tracking_settings"),
        *bypasses(payload),
    ]


def is_sandboxed(payload: Mapping[str, Any]) -> bool:
    """Return whether a valid *payload* is in sandbox mode."""
    return bool(payload.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"))


def custom_args(payload: Mapping[str, Any], personalization: Mapping[str, Any]) -> dict[str, Any]:
    """Return the custom arguments of a personalization, which override the message's."""
    return {**payload.get("custom_args", {}), **personalization.get("custom_args", {})}


def _personalizations(payload: Mapping[str, Any], now: float) -> FieldErrors:
    given = payload.get("personalizations")
    if type(given) is not list or not given:
        yield FieldError(
            "personalizations", "The personalizations field is required and must have at least one personalization."
        )
        return
    if len(given) > 1000:
        yield FieldError(
            "personalizations",
            "The personalization block is limited to 1000 personalizations per API request. "
            f"You have provided {len(given)} personalizations.",
        )
        return
    yield from _message_args(payload)
    seen: set[str] = set()
    recipients = 0
    for number, one in enumerate(given):
        path = f"personalizations.{number}"
        if type(one) is not dict:
            yield FieldError(path, "A personalization must be an object.")
            continue
        for kind in _ADDRESSEES:
            if kind in one:
                recipients += len(one[kind]) if type(one[kind]) is list else 0
                yield from _addressees(one[kind], f"{path}.{kind}", seen)
        yield from _personalization(payload, one, path, now)
    if recipients > 1000:
        yield FieldError("personalizations", "There is a limit of 1000 total recipients (to + cc + bcc) per request.")


def _personalization(payload: Mapping[str, Any], one: dict[str, Any], path: str, now: float) -> FieldErrors:
    yield from unknown(one, _PERSONALIZATION, f"{path}.")
    if "to" not in one:
        yield FieldError(f"{path}.to", "The to array is required for all personalization objects.")
    if "from" in one:
        yield from _sender(one["from"], f"{path}.from")
    if "subject" in one:
        yield from _subject_text(one["subject"], f"{path}.subject")
    yield from headers(one.get("headers", {}), f"{path}.headers")
    yield from send_at(one, f"{path}.", now)
    if "substitutions" in one:
        yield from _substitutions(payload, one["substitutions"], f"{path}.substitutions")
    if is_not(dict, one, "dynamic_template_data"):
        yield FieldError(f"{path}.dynamic_template_data", "The dynamic_template_data must be an object.")
    yield from _personalization_args(payload, one, path)


def _message_args(payload: Mapping[str, Any]) -> FieldErrors:
    if "custom_args" in payload:
        yield from _args(payload["custom_args"], "custom_args")


def _personalization_args(payload: Mapping[str, Any], one: dict[str, Any], path: str) -> FieldErrors:
    if "custom_args" in one:
        yield from _args(one["custom_args"], f"{path}.custom_args")
    if type(one.get("custom_args", {})) is dict and type(payload.get("custom_args", {})) is dict:
        size = len(orjson.dumps(custom_args(payload, one)))
        if size > 10_000:
            yield FieldError(f"{path}.custom_args", f"custom_args are limited to 10000 bytes; these have {size}.")


def _args(given: object, path: str) -> FieldErrors:
    if given == {}:
        yield FieldError(path, "custom_args must not be empty.")
    yield from strings(given, path)


def _substitutions(payload: Mapping[str, Any], given: object, path: str) -> FieldErrors:
    yield from strings(given, path)
    if type(given) is not dict:
        return
    if str(payload.get("template_id", "")).startswith("d-"):
        yield FieldError(path, "Substitutions may not be used with dynamic templating.")
    size = sum(len(tag.encode()) + len(value.encode()) for tag, value in given.items() if type(value) is str)
    if size > 10_000:
        yield FieldError(path, f"substitutions are limited to 10000 bytes per personalization; these have {size}.")
    for tag in given:
        if not tag or " " in tag:
            yield FieldError(path, f"The substitution tag {tag!r} must not be empty or contain spaces.")


def _addressees(given: object, path: str, seen: set[str]) -> FieldErrors:
    if type(given) is not list or not given:
        yield FieldError(path, f"The {path.rsplit('.', 1)[-1]} array must have at least one email object.")
        return
    for number, one in enumerate(given):
        where = f"{path}.{number}"
        yield from mailbox(one, where)
        if type(one) is not dict:
            continue
        name, email = one.get("name", ""), one.get("email")
        if type(name) is str and (";" in name or "," in name):
            yield FieldError(f"{where}.name", "The name must not contain ; or , characters.")
        if type(email) is str:
            if email.lower() in seen:
                yield FieldError(
                    "personalizations",
                    "Each unique email address in the personalizations array should only be included once. "
                    f"You have included [{email}] more than once.",
                )
            seen.add(email.lower())


def _sender(given: object, path: str) -> FieldErrors:
    yield from mailbox(given, path)
    if type(given) is dict:
        for key, value in given.items():
            if type(value) is str and not value.isascii():
                yield FieldError(f"{path}.{key}", "Unicode encoding is not supported for the from field.")


def _senders(payload: Mapping[str, Any]) -> FieldErrors:
    if "from" in payload:
        yield from _sender(payload["from"], "from")
    else:
        yield FieldError("from", "The from object must be provided for every email send.")
    if "reply_to" in payload:
        yield from mailbox(payload["reply_to"], "reply_to")
    if "reply_to_list" not in payload:
        return
    if "reply_to" in payload:
        yield FieldError("reply_to_list", "Use either reply_to or reply_to_list, not both.")
    given = payload["reply_to_list"]
    if type(given) is not list or not 1 <= len(given) <= 1000:
        yield FieldError("reply_to_list", "The reply_to_list must have 1 to 1000 email objects.")
        return
    for number, one in enumerate(given):
        yield from mailbox(one, f"reply_to_list.{number}")
    emails = [str(one.get("email")).lower() for one in given if type(one) is dict]
    if len(set(emails)) < len(emails):
        yield FieldError("reply_to_list", "Each email address in the reply_to_list must be unique.")


def _subject_text(given: object, path: str) -> FieldErrors:
    if type(given) is not str or not given.strip():
        yield FieldError(path, "The subject must be a string at least one character in length.")
    else:
        yield from line(given, path)


def _subject(payload: Mapping[str, Any]) -> FieldErrors:
    if "subject" in payload:
        yield from _subject_text(payload["subject"], "subject")
        return
    each = payload.get("personalizations")
    each = each if type(each) is list else []
    if "template_id" not in payload and not all(type(one) is dict and "subject" in one for one in each):
        yield FieldError(
            "subject",
            "The subject is required. You can get around this requirement if you use a template with a "
            "subject defined or if every personalization has a subject defined.",
        )


def _content(payload: Mapping[str, Any]) -> FieldErrors:
    given = payload.get("content")
    if given is None and "template_id" in payload and "content" not in payload:
        return
    if type(given) is not list or not given:
        yield FieldError("content", "Unless a valid template_id is provided, the content parameter is required.")
        return
    for number, part in enumerate(given):
        yield from _part(part, f"content.{number}")
    kinds = [part.get("type") for part in given if type(part) is dict]
    ranks = [_PARTS.get(kind, 2) for kind in kinds if type(kind) is str]
    if any(first > then for first, then in pairwise(ranks)):
        yield FieldError("content", "If present, text/plain must be first, followed by text/html, then others.")
    if any(kinds.count(kind) > 1 for kind in _PARTS):
        yield FieldError("content", "If present, text/plain and text/html may only be provided once.")


def _part(part: object, path: str) -> FieldErrors:
    if type(part) is not dict:
        yield FieldError(path, "A content must be an object with type and value.")
        return
    yield from unknown(part, ("type", "value"), f"{path}.")
    kind, value = part.get("type"), part.get("value")
    if type(kind) is not str or not kind:
        yield FieldError(f"{path}.type", "The content type must be a string at least one character in length.")
    elif ";" in kind or LINE_BREAK.search(kind):
        yield FieldError(f"{path}.type", "The content type must not contain ; or line breaks.")
    if type(value) is not str or not value:
        yield FieldError(f"{path}.value", "The content value must be a string at least one character in length.")
