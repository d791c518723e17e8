"""Build emails, values and envelopes for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nurture.definitions.brand import Brand
from nurture.mail.rendering.compile import CompiledEmail, EmailSource, compile_email
from nurture.mail.rendering.layout_words import layout_words
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose

LAYOUTS = Path(__file__).parents[2] / "templates" / "layouts"
PLAIN = Brand().apply((LAYOUTS / "plain.mjml").read_text())
BRIEF = Brand().apply((LAYOUTS / "brief.mjml").read_text())
_SECTION = "<mj-section><mj-column><mj-text>{{ body }}</mj-text></mj-column></mj-section>"
BARE = f"<mjml><mj-body>{_SECTION}</mj-body></mjml>"
UNSUBSCRIBE = "https://go.example.com/u/0123456789abcdefghijkl"


def source(body: str, subject: str = "Hello", preheader: str = "Two minutes of reading") -> EmailSource:
    return EmailSource("tracks/webinar/01-thanks.md", f"---\nsubject: {subject}\npreheader: {preheader}\n---\n{body}\n")


def compiled(body: str, subject: str = "Hello", preheader: str = "Two minutes", layout: str = BARE) -> CompiledEmail:
    return compile_email(source(body, subject, preheader), layout)


def values(**lead: object) -> dict[str, Any]:
    return {
        "lead": {"first_name": "Aoife", "last_name": "O'Neil", "company": "Murphy & Sons", **lead},
        "sender": {"name": "Northwind", "email": "mara@example.com", "postal_address": "Dock 1,\n20457 Hamburg"},
        "track": {"name": "webinar", "consent_reason": "", "url": "https://example.com/a?x=1&y=2"},
        "unsubscribe_url": UNSUBSCRIBE,
        "preferences_url": "",
        "language": "en",
        "words": layout_words("en"),
    }


def envelope(ref: str = "touch:17:intro:1", to: str = "Aoife O'Neil", **more: Any) -> Envelope:
    return Envelope(ref, Address("Northwind", "mara@example.com"), Address(to, "aoife@example.org"), **more)


def composed(body: str, subject: str = "Hello", layout: str = BARE, **lead: object) -> ComposedEmail:
    return compose(compiled(body, subject, layout=layout), values(**lead), envelope())
