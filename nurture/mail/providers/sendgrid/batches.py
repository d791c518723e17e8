"""Put emails of one form into one request: the body once, with tags that SendGrid replaces for each recipient.

SendGrid replaces legacy substitution tags in the subject, the reply address and the bodies. A tag holds a random number
of its request, so that no value can contain one, and no value is replaced again.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Final

from nurture.mail.providers.http_client import InvalidPayload, encode_json
from nurture.mail.providers.sendgrid.payload import (
    MAX_BYTES,
    Account,
    build_message,
    build_personalization,
    encode_payload,
)
from nurture.mail.rendering.email_form import BodyForm
from nurture.mail.rendering.render import Address, ComposedEmail

MAX_PERSONALIZATIONS: Final = 1_000
MAX_SUBSTITUTION_BYTES: Final = 10_000
"""Bytes of tags and values per personalization; another page of SendGrid says 50,000."""


def group_emails(batch: Sequence[ComposedEmail]) -> list[Sequence[int]]:
    """Return the indexes of the emails of each request: emails of one form, each address once, or one email."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    seen: Counter[Hashable] = Counter()
    for index, email in enumerate(batch):
        form = email.shared_form
        address = form, email.to.email.casefold()
        groups[index if form is None else (form, seen[address])].append(index)
        seen[address] += 1
    size = MAX_PERSONALIZATIONS
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def encode_batch(batch: Sequence[ComposedEmail], account: Account) -> bytes:
    """Encode *batch*, one email or several of one form, as JSON. Raises InvalidPayload, for one email or for all."""
    first = batch[0]
    if len(batch) == 1 or first.own_values is None or not first.may_share:
        return encode_payload(first, account)
    nonce, form = token_hex(8), first.own_values.form
    html = _make_tags(form.html, len(first.own_values.html), nonce, "h")
    text = _make_tags(form.text, len(first.own_values.text), nonce, "t")
    reply_to, local_parts = _share_reply_to(batch, f"-{nonce}r-")
    written = replace(first, written_html=form.html.fill(html), text=form.text.fill(text), own_values=None)
    shared = replace(written, reply_to=reply_to)
    personalizations = []
    for email, local_part in zip(batch, local_parts, strict=True):
        assert email.own_values is not None
        personalization = build_personalization(email)
        values = dict(zip(html, email.own_values.html, strict=True))
        values.update(zip(text, email.own_values.text, strict=True))
        personalization["substitutions"] = _check_size(values | local_part)
        personalizations.append(personalization)
    return encode_json(build_message(shared, account, personalizations), "SendGrid", MAX_BYTES)


def _make_tags(body: BodyForm, count: int, nonce: str, letter: str) -> list[str]:
    """Return the tags of the values of *body*. Values that bodies show as they are have the same tag in both."""
    plain = [f"-{nonce}{name}-" for name in body.plain]
    return [f"-{nonce}{letter}{number}-" for number in range(count - len(plain))] + plain


def _share_reply_to(batch: Sequence[ComposedEmail], tag: str) -> tuple[Address | None, list[dict[str, str]]]:
    """Return the reply address of all, and the substitution of *tag* if they differ before the @, as reply+TOKEN@."""
    addresses = [one.reply_to for one in batch if one.reply_to is not None]
    if len({one.email for one in addresses}) <= 1:
        return batch[0].reply_to, [{}] * len(batch)
    shared = Address(addresses[0].name, f"{tag}@{addresses[0].email.partition('@')[2]}")
    return shared, [{tag: one.email.partition("@")[0]} for one in addresses]


def _check_size(substitutions: dict[str, str]) -> dict[str, str]:
    size = len("".join([*substitutions, *substitutions.values()]).encode("utf-8", "replace"))
    if size > MAX_SUBSTITUTION_BYTES:
        raise InvalidPayload(f"its values have {size:,} bytes; SendGrid's limit in a shared request is 10,000")
    return substitutions
