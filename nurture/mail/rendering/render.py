"""Compose an email for a lead from a compiled email and values."""

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from nurture.domain.frozen import frozen
from nurture.errors import NurtureError
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.email_form import RENDERING_ERRORS, EmailForm
from nurture.mail.rendering.link_tracking import TrackedLinks

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_ADDRESS: Final = re.compile(r"[^\s<>@,;:\"()\[\]\\\x00-\x1f\x7f]+@[^\s<>@,;:\"()\[\]\\\x00-\x1f\x7f]+")
_URI: Final = re.compile(r"(https://|mailto:)[\x21\x23-\x2b\x2d-\x3b\x3d\x3f-\x7e]+")
_LOCAL_URL: Final = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])[:/]")
"""A local URL works in the body of a test email, but not as unsubscribe link for other people."""

_ONE_CLICK: Final = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")

MAX_CHARACTERS: Final = 1_000_000
"""Characters of HTML and text together. Gmail shows 102 KB; ten times that is a mistake."""


class CompositionFailed(NurtureError):
    """An email cannot be composed for this lead. Check its values with `nurture preview`."""


class EmailTooLarge(CompositionFailed):
    """An email exceeds the size limit. Shorten it."""


@frozen
class Address:
    """An email address with a display name. Raises CompositionFailed for a value that is invalid in a header."""

    name: str
    email: str

    def __post_init__(self) -> None:
        if _CONTROL.search(self.name):
            raise CompositionFailed(f"the name {self.name!r} contains a line break or control character. Correct it.")
        if not _ADDRESS.fullmatch(self.email):
            raise CompositionFailed(f"{self.email!r} is not an email address. Correct it.")


@frozen
class Envelope:
    """Sender, recipient and message ref (the send key) of an email.

    *unsubscribe_mailto* is a mailto: URI for List-Unsubscribe, in addition to `unsubscribe_url` in the values.
    *labels* group a provider's statistics (track, step). *installation_id* distinguishes installations that
    use the same refs.
    """

    ref: str
    sender: Address
    to: Address
    reply_to: Address | None = None
    unsubscribe_mailto: str | None = None
    labels: tuple[str, ...] = ()
    installation_id: str = ""


class OwnValues(NamedTuple):
    """What the bodies of an email add to their *form*, each value escaped for its body."""

    form: EmailForm
    html: Sequence[str]
    text: Sequence[str]


@frozen
class ComposedEmail:
    """An email for a provider. *headers* excludes subject, addresses, date and message id.

    *return_path* is the address to which failed deliveries are reported, "" for the sender's. A provider that reports
    them by itself ignores it. With *own_values* its HTML is not written yet; if it *may_share*, it may share a request
    with others of its `shared_form`.
    """

    ref: str
    sender: Address
    to: Address
    reply_to: Address | None
    subject: str
    written_html: str
    text: str
    headers: tuple[tuple[str, str], ...]
    labels: tuple[str, ...] = ()
    installation_id: str = ""
    return_path: str = ""
    own_values: OwnValues | None = None
    may_share: bool = False

    @property
    def html(self) -> str:
        """Return the HTML body. It is written for each call, so that a batch of emails does not hold a thousand."""
        own = self.own_values
        return self.written_html if own is None else own.form.html.fill(own.html)

    @property
    def shared_form(self) -> Hashable:
        """Return what the emails of one request have in common; None for an email that shares none."""
        if self.own_values is None or not self.may_share:
            return None
        reply_to = (self.reply_to.name, self.reply_to.email.partition("@")[2]) if self.reply_to else None
        return self.own_values.form, self.sender, reply_to, self.labels, self.installation_id


def compose(
    compiled: CompiledEmail,
    values: Mapping[str, object],
    envelope: Envelope,
    tracked_links: TrackedLinks | None = None,
    form: EmailForm | None = None,
    *,
    may_share: bool = True,
) -> ComposedEmail:
    """Render *compiled* with *values*: plain nested dicts in which a missing field is "".

    `unsubscribe_url` in *values* (https: or mailto:) also becomes the List-Unsubscribe header. An email compiled
    with tracking needs *tracked_links*, and adds the links of this lead to them. The *form* of its template and shared
    values saves rendering these again, and lets it share a request if it *may_share* one. Raises CompositionFailed for
    an unknown name or an unsafe link.
    """
    known = dict(values)
    if tracked_links is not None:
        known["_link_prefix"], known["_open_pixel_url"] = tracked_links.prefix, tracked_links.pixel_url
        known["_tracked_links"] = tracked_links
    own, html = None, ""
    try:
        if form is None:
            subject, html, text = (one.render(known) for one in (compiled.subject, compiled.html, compiled.text))
        else:
            subject = form.subject.fill(form.subject.find_values(known))
            own = OwnValues(form, form.html.find_values(known), form.text.find_values(known))
            text = form.text.fill(own.text)
    except RENDERING_ERRORS as error:
        reason = str(error).rstrip(".")
        raise CompositionFailed(f"{compiled.name} cannot be composed for {envelope.ref}: {reason}.") from error
    size = len(text) + (len(html) if own is None else own.form.html.length(own.html))
    if size > MAX_CHARACTERS:
        raise EmailTooLarge(
            f"{compiled.name} has {size / 1e6:.1f} MB for {envelope.ref}; the limit is "
            f"{MAX_CHARACTERS / 1e6:.0f} MB. Shorten the lead's values or a loop."
        )
    stripped = text.strip()
    return ComposedEmail(
        ref=envelope.ref,
        sender=envelope.sender,
        to=envelope.to,
        reply_to=envelope.reply_to,
        subject=_clean_subject(subject),
        written_html=html,
        text=stripped,
        headers=_unsubscribe_headers(values.get("unsubscribe_url"), envelope.unsubscribe_mailto),
        labels=envelope.labels,
        installation_id=envelope.installation_id,
        own_values=own,
        may_share=own is not None and may_share and text == stripped != "",
    )


@lru_cache(maxsize=1_024)
def _clean_subject(subject: str) -> str:
    """Return *subject* on one line; many emails have the same."""
    return " ".join(_CONTROL.sub(" ", subject).split())


def _unsubscribe_headers(url: object, mailto: str | None) -> tuple[tuple[str, str], ...]:
    """Return List-Unsubscribe, and the one-click header (RFC 8058) if there is an https: URL."""
    uris, is_one_click = [], False
    for uri in (url, mailto):
        found = _URI.fullmatch(str(uri)) if uri else None
        if found is not None:
            uris.append(f"<{uri}>")
            is_one_click = is_one_click or found[1] == "https://"
        elif uri and not _LOCAL_URL.match(str(uri)):
            raise CompositionFailed(f"the unsubscribe link {uri!r} is not https: or mailto:. Check NURTURE_BASE_URL.")
    if not uris:
        return ()
    header = ("List-Unsubscribe", ", ".join(uris))
    return (header, _ONE_CLICK) if is_one_click else (header,)
