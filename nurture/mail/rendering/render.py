"""Compose one email for one lead from a compiled email and plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jinja2 import TemplateError

from nurture.errors import NurtureError
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.link_rules import UnsafeLink
from nurture.mail.rendering.link_tracking import TrackedLinks

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_ADDRESS: Final = re.compile(r"[^\s<>@,;:\"()\[\]\\\x00-\x1f\x7f]+@[^\s<>@,;:\"()\[\]\\\x00-\x1f\x7f]+")
_URI: Final = re.compile(r"(https://|mailto:)[\x21\x23-\x2b\x2d-\x3b\x3d\x3f-\x7e]+")
_LOCAL_URL: Final = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])[:/]")
"""A page on this machine works in the body of a trial mail, but is no way out for anybody else."""
_ONE_CLICK: Final = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")


MAX_CHARACTERS: Final = 1_000_000
"""Characters of html and text together. Gmail shows 102 KB; ten times that is a mistake."""


class CompositionFailed(NurtureError):
    """An email cannot be composed for this lead. Check its values with `nurture preview`."""


class EmailTooLarge(CompositionFailed):
    """An email is larger than mail servers take. Shorten it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox with the name shown beside it. Raises CompositionFailed for what cannot stand in a header."""

    name: str
    email: str

    def __post_init__(self) -> None:
        if _CONTROL.search(self.name):
            raise CompositionFailed(f"the name {self.name!r} holds a line break or control character. Correct it.")
        if not _ADDRESS.fullmatch(self.email):
            raise CompositionFailed(f"{self.email!r} is not an email address. Correct it.")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who writes to whom, under which message ref (its send key).

    *unsubscribe_mailto* is a second way out (a mailto: URI) beside the values' `unsubscribe_url`. *labels*
    are what a provider's statistics group by (track, step). *installation_id* tells apart installations that
    count their messages alike.
    """

    ref: str
    sender: Address
    to: Address
    reply_to: Address | None = None
    unsubscribe_mailto: str | None = None
    labels: tuple[str, ...] = ()
    installation_id: str = ""


@dataclass(frozen=True, slots=True)
class ComposedEmail:
    """One email, ready for a provider. *headers* are those beside subject, addresses, date and message id."""

    ref: str
    sender: Address
    to: Address
    reply_to: Address | None
    subject: str
    html: str
    text: str
    headers: tuple[tuple[str, str], ...]
    labels: tuple[str, ...] = ()
    installation_id: str = ""


def compose(
    compiled: CompiledEmail, values: Mapping[str, object], envelope: Envelope, tracked_links: TrackedLinks | None = None
) -> ComposedEmail:
    """Render *compiled* with plain nested dicts, in which a missing fact is "".

    `unsubscribe_url` in *values* (https: or mailto:) also becomes the List-Unsubscribe header. An email that
    was compiled with tracking needs *tracked_links*, and adds the addresses of this lead alone to them.
    Raises CompositionFailed for an unknown name or a bad link.
    """
    if tracked_links is not None:
        values = {
            **values,
            "_link_prefix": tracked_links.prefix,
            "_open_pixel_url": tracked_links.pixel_url,
            "_tracked_links": tracked_links,
        }
    try:
        subject = compiled.subject.render(values)
        html = compiled.html.render(values)
        text = compiled.text.render(values)
    except (TemplateError, UnsafeLink, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = str(error).rstrip(".")
        raise CompositionFailed(f"{compiled.name} cannot be composed for {envelope.ref}: {reason}.") from error
    if (size := len(html) + len(text)) > MAX_CHARACTERS:
        raise EmailTooLarge(
            f"{compiled.name} comes to {size / 1e6:.1f} MB for {envelope.ref}; an email has at most "
            f"{MAX_CHARACTERS / 1e6:.0f} MB. Shorten what the lead's values or a loop make long."
        )
    return ComposedEmail(
        ref=envelope.ref,
        sender=envelope.sender,
        to=envelope.to,
        reply_to=envelope.reply_to,
        subject=" ".join(_CONTROL.sub(" ", subject).split()),
        html=html,
        text=text.strip(),
        headers=_unsubscribe_headers(values.get("unsubscribe_url"), envelope.unsubscribe_mailto),
        labels=envelope.labels,
        installation_id=envelope.installation_id,
    )


def _unsubscribe_headers(url: object, mailto: str | None) -> tuple[tuple[str, str], ...]:
    """Write List-Unsubscribe, and the one-click header (RFC 8058) where there is an https way."""
    uris = [str(uri) for uri in (url, mailto) if uri and not _LOCAL_URL.match(str(uri))]
    for uri in uris:
        if not _URI.fullmatch(uri):
            raise CompositionFailed(f"the unsubscribe link {uri!r} is not https: or mailto:. Check NURTURE_BASE_URL.")
    if not uris:
        return ()
    header = ("List-Unsubscribe", ", ".join(f"<{uri}>" for uri in uris))
    return (header, _ONE_CLICK) if any(uri.startswith("https://") for uri in uris) else (header,)
