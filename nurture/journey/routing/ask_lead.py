"""Ask a lead for the one fact that routing needs: by one email, with a page that takes the answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Table

from nurture.db.tables import core
from nurture.domain.planning.conditions import Any as AnyOf
from nurture.domain.planning.conditions import Comparison, Condition, Every, Field, Not
from nurture.formats.places import countries, country_code
from nurture.journey.leads.changeset import Intended
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.routing.queries import WantedRow
from nurture.journey.tracks.touch_email import Letter, full_name, sender_address, touch_values
from nurture.mail.rendering.render import Address, Envelope, compose
from nurture.outbox.messages import Waiting
from nurture.runtime import public_links
from nurture.runtime.context import House
from nurture.runtime.public_links import Wanted
from nurture.runtime.published import Rulebook

ASK: Final = "ask"
"""The kind of these emails. Their `step` is the fact that is asked for."""

TEMPLATE: Final = "handoff/ask.md"
LONGEST: Final = 200

_message: Table = core.Message.__table__  # type: ignore[attr-defined]
_QUESTIONS: Final = {
    "country": "In which country do you work?",
    "region": "In which region do you work?",
    "postcode": "What is your postcode?",
    "city": "In which town do you work?",
    "industry": "In which industry do you work?",
    "employees": "How many people work at your company?",
    "company": "For which company do you work?",
    "title": "What is your role?",
}
_COUNTS: Final = frozenset({"employees"})


@dataclass(frozen=True, slots=True)
class Question:
    """What a lead is asked, and the answers to choose from; none: it writes one."""

    field: str
    text: str
    options: tuple[tuple[str, str], ...] = ()
    first: tuple[str, ...] = ()
    number: bool = False


def question_of(field: str, conditions: list[Condition]) -> Question:
    """Return how *field* is asked for: the answers that the rules tell apart can be chosen."""
    text = _QUESTIONS.get(field, f"What is your {field.replace('_', ' ')}?")
    told = tuple(dict.fromkeys(value for one in conditions for value in _values(field, one)))
    if field == "country":
        return Question(field, text, countries(), tuple(code for code in told if country_code(code) == code))
    if field in _COUNTS:
        return Question(field, text, number=True)
    return Question(field, text, tuple((value, value) for value in told))


def _values(field: str, condition: Condition) -> list[str]:
    match condition:
        case Field(name=name, test=Comparison.IS | Comparison.IN, value=value) if name == field:
            listed = value if isinstance(value, tuple) else (value,)
            return [str(one) for one in listed if isinstance(one, str)]
        case Every(parts=parts) | AnyOf(parts=parts):
            return [value for part in parts for value in _values(field, part)]
        case Not(part=part):
            return _values(field, part)
        case _:
            return []


def intended(house: House, lead: Claimed, book: Rulebook, want: WantedRow, now: datetime) -> list[Intended]:
    """Return the email that asks for a fact, in the name of the lead's track or else of the first one.

    None where nothing would take the answer, or no track says who writes.
    """
    stay = lead.view.enrollment
    program = book.programs.get(stay.track) if stay is not None else None
    if program is None:
        program = max(book.programs.values(), key=lambda one: (one.priority, one.track), default=None)
    if program is None or not house.base_url or want.wanted_at != now:
        return []
    lead_id = lead.view.lead.id
    return [
        Intended(
            send_key=f"ask:{lead_id}:{want.field}",
            kind=ASK,
            lead_id=lead_id,
            enrollment_id=None,
            offer_id=None,
            track=program.track,
            track_version=program.version,
            step=want.field,
            visit=1,
            email=ASK,
            rep=None,
            planned_at=now,
            send_at=now,
            expires_at=want.overdue_at,
            state="planned",
            state_at=now,
        )
    ]


def letter(house: House, connection: Connection, one: Waiting) -> Letter:
    """Compose the email that asks for a fact, with a link to the page that takes the answer."""
    assert one.address is not None
    program = house.rulebooks.program(connection, one.track or "", one.track_version or 0)
    policy = house.rulebooks.current(connection).policy
    compiled = house.rulebooks.to_leads(connection, policy.version, TEMPLATE)
    made = [
        public_links.make(Wanted(purpose, one.lead_id, one.id))
        for purpose in (public_links.UNSUBSCRIBE, public_links.PREFERENCES, public_links.ASK)
    ]
    url, choices, answer = (link.url(house.base_url) for link in made)
    sender = program.sender
    question = question_of(one.step, [rule.when for rule in policy.routing])
    values = touch_values(one.facts, program, url, one.basis or "", choices)
    values["ask"] = {"url": answer, "question": question.text, "field": one.step.replace("_", " ")}
    envelope = Envelope(
        ref=one.send_key,
        sender=sender_address(sender),
        to=Address(full_name(one.facts), one.address),
        reply_to=Address(sender.name, sender.reply_to) if sender.reply_to else None,
        unsubscribe_mailto=f"mailto:{sender.reply_to or sender.email}?subject=unsubscribe",
        labels=(one.track or "", ASK),
        origin=house.origin,
    )
    return Letter(compose(compiled, values, envelope), made)
