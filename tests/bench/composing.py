"""Emails per second, from a compiled template to subject, html, text and headers, links of our own in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2.sandbox import SandboxedEnvironment

from nurture.domain.lead import full_name
from nurture.journey.tracks.touch_email import sender_address, touch_values
from nurture.mail.rendering.link_tracking import LinkTracking, TrackedLinks
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, best_of

TRACK, EMAIL = "webinar-attended", "01-recording"
LEADS = 4_000
REPEATS = 5
UNSUBSCRIBE = "https://mail.example.com/u/0123456789abcdefghijkl"
PREFIX = "https://mail.example.com/c/0123456789abcdefghijkl/"
TRACKING = LinkTracking("https://mail.example.com")


def measure(folder: Path) -> list[Figure | Skipped]:
    """Compose one shipped email for many leads on one core."""
    made = seed_data.make_context(f"sqlite:///{folder / 'compose.db'}")
    with made.database.read() as tx:
        program = made.definitions.current(tx).programs[TRACK]
        compiled = made.definitions.email(tx, TRACK, program.version, EMAIL, TRACKING)
    made.database.close()
    leads: list[dict[str, Any]] = [
        {"first_name": f"First{i}", "last_name": f"Last{i}", "company": f"Company {i}", "title": "Head of Planning"}
        for i in range(LEADS)
    ]
    sender = sender_address(program.sender)

    def one(number: int, fields: dict[str, Any]) -> ComposedEmail:
        to = Address(full_name(fields), f"lead{number}@company.example")
        envelope = Envelope(f"touch:{number}:{EMAIL}:1", sender, to, unsubscribe_mailto="mailto:ada@example.com")
        trail = TrackedLinks(PREFIX, TRACKING)
        return compose(compiled, touch_values(fields, program, UNSUBSCRIBE, "consent"), envelope, trail)

    plain = SandboxedEnvironment(autoescape=True)
    # Ours count what they return, which a plain context does not: these do the same work without counting.
    plain.filters |= {"safe_link": lambda url: url, "one_line": lambda text: ", ".join(text.splitlines())}
    template = plain.from_string(compiled.sources[1])
    more = {"_link_prefix": PREFIX, "_open_pixel_url": ""}
    values = [touch_values(fields, program, UNSUBSCRIBE, "consent") | more for fields in leads]
    engine = best_of(lambda: [one(number, fields) for number, fields in enumerate(leads)], REPEATS)
    loop = best_of(lambda: [template.render(value) for value in values], REPEATS)
    size = len(one(0, leads[0]).html.encode())
    note = (
        f"{size:,} bytes of html; {LEADS / engine.cpu:,.0f} per s of CPU; "
        f"plain sandboxed Jinja renders {LEADS / loop.wall:,.0f}"
    )
    ratio = loop.wall / engine.wall
    return [Figure("compose_per_s", LEADS / engine.wall, "emails/s", ratio, minimum=8_000, note=note)]
