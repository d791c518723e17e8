"""Rehearse an email before it is published: written for made-up leads, it must be fit for any real one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2.exceptions import SecurityError

from nurture.domain.planning.program import Program
from nurture.domain.problems import Fault
from nurture.journey.tracks import touch_email
from nurture.mail.rendering.compile import CompiledEmail, EmailSource
from nurture.mail.rendering.email_file import Email, Piece, read_email
from nurture.mail.rendering.jinja_sandbox import TEXT
from nurture.mail.rendering.link_rules import ADVICE, BadLink
from nurture.mail.rendering.render import (
    LARGEST,
    Address,
    CannotCompose,
    ComposedEmail,
    Envelope,
    TooLarge,
    compose,
)
from nurture.mail.rendering.required_content import Page, always_shows

LONGEST_SUBJECT: Final = 128
"""Characters. Some mail stores keep no more of a subject; a phone shows about 40."""

LARGEST_HTML: Final = 102_000
"""Bytes. Gmail shows no more of an email, and hides the rest with the unsubscribe link in it."""

UNSUBSCRIBE: Final = "https://go.example.com/u/0123456789abcdefghijkl"
PREFERENCES: Final = "https://go.example.com/p/0123456789abcdefghijkl"
_FIRST_MARK: Final = 0xE000  # a private sign for each field: no text of anybody has it
_MARKS: Final = re.compile(r"[\ue000-\ue0ff]|\\ue0[0-9a-f]{2}")
_HOLE: Final = re.compile(
    r"(?:^|(?<=[\s(\[*_\"'“«>]))[\ue000-\ue0ff](?=[ \t,.;:!?)\]*_\"'”»\u2019]|[\ue000-\ue0ff])", re.MULTILINE
)
_NAMES: Final = frozenset({"first_name", "last_name", "full_name"})
_SAMPLE: Final = re.compile(r" for a lead (?:of whom|with a long|whose).*|:? ?\d[\d,]*")
_LINK_TAG: Final = re.compile(r"\]\([^)]*\{[{%]|(?:href|src)=.\{[{%]")
_COMPARED: Final = re.compile(r"'(\S+)' not supported between")
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)


class _Unknown(str):
    """A fact that is not known: empty to every question, but seen where it is shown."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return other == ""

    __hash__ = str.__hash__


_UNKNOWN: Final = {name: _Unknown(chr(_FIRST_MARK + place)) for place, name in enumerate(touch_email.FIELDS)}
_LONG: Final[Mapping[str, Any]] = {
    "first_name": "Maximiliane-Charlotte",
    "last_name": "von Hohenstein-Wittgenstein",
    "title": "Senior Vice President, Supply Chain Planning and Operations",
    "company": "Vereinigte Lebensmittel- und Getränkewerke Süd GmbH & Co. KG",
    "industry": "Food and Beverage Manufacturing, Wholesale",
    "city": "Llanfairpwllgwyngyll",
    "region": "North Rhine-Westphalia",
    "country": "GB",
    "website": "https://www.vereinigte-lebensmittelwerke.example/en/about-us/company",
    "employees": 120_000,
}
_HOSTILE: Final[Mapping[str, Any]] = {
    **{
        name: f"<script>alert('{name}')</script>\"> {{{{ lead.email }}}} {{% raw %}}\r\nBcc: a@example.com"
        for name in touch_email.FIELDS
    },
    "website": "JaVaScRiPt:alert(1)",
    "employees": 1,
}


@dataclass(frozen=True, slots=True)
class Script:
    """An email of a track, ready to be rehearsed: its source, its layout, and both compiled."""

    source: EmailSource
    layout: Piece
    compiled: CompiledEmail
    program: Program


@dataclass(frozen=True, slots=True)
class _Sample:
    """A made-up lead. Of a *hostile* one, a link that cannot be followed may stop its own email."""

    who: str
    lead: Mapping[str, Any]
    hostile: bool = False

    def values(self, program: Program) -> dict[str, object]:
        return touch_email.touch_values({}, program, UNSUBSCRIBE, "", PREFERENCES) | {"lead": dict(self.lead)}


_EMPTY: Final = _Sample("a lead of whom only the address is known", _UNKNOWN)
_SAMPLES: Final = (
    _EMPTY,
    _Sample("a lead with a long name and company", touch_email.lead_values(_LONG)),
    _Sample("a lead whose facts are meant to do harm", touch_email.lead_values(_HOSTILE), hostile=True),
)


def rehearse(script: Script) -> list[Fault]:
    """Return what would go wrong with an email of a track, each fault once."""
    email, _ = read_email(script.source)
    written = [(sample, _write(script, sample)) for sample in _SAMPLES]
    copies = [(sample, copy) for sample, copy in written if isinstance(copy, ComposedEmail)]
    faults = [copy for _, copy in written if isinstance(copy, Fault)][:1]
    stopped = {(fault.file, fault.line) for fault in faults}
    faults += [hole for hole in _emptiness(script, email) if (hole.file, hole.line) not in stopped]
    for sample, copy in copies:
        faults += [*_dangers(script, copy), *_sizes(script, email, copy, sample)]
        faults += [] if sample.hostile else _legal(script, copy)
    found: dict[str, Fault] = {}
    for fault in faults:
        found.setdefault(_SAMPLE.sub("", fault.what), fault)
    return list(found.values())


def _write(script: Script, sample: _Sample) -> ComposedEmail | Fault | None:
    """Compose the email; None where a hostile fact has stopped it as it should."""
    someone = Address("", "someone@example.com")
    try:
        return compose(script.compiled, sample.values(script.program), Envelope("check", someone, someone))
    except TooLarge:
        what = f"the email has more than {LARGEST:,} characters, and asks to be refused"
        return Fault(*_place(script, ""), what, "Shorten it, and link to what is long")
    except CannotCompose as error:
        cause = error.__cause__
    if isinstance(cause, BadLink) and sample.hostile:
        return None
    if isinstance(cause, SecurityError):
        what, _, advice = str(cause).partition("; ")
        instead = advice.capitalize() or "Write it more simply"
        return Fault(*_place(script, ""), f"the email cannot be written: {what}", instead)
    field, said = _marked(str(cause)), _MARKS.sub("", str(cause)).rstrip(".")
    if isinstance(cause, BadLink):
        at = _place(script, f"lead.{field}") if field else _first(script, _LINK_TAG)
        asked = f"{{% if lead.{field or 'website'} %}} ... {{% endif %}}"
        instead = f"{ADVICE}; where a lead may have none, ask first: {asked}"
        return Fault(*at, f"{said.partition('. ')[0]} for {sample.who}", instead)
    compared = _COMPARED.match(said)
    sign = re.escape(compared[1]) if compared else "(?!)"
    why = f"`{compared[1]}` cannot compare what is not known" if compared else said
    instead = "Ask first whether the value is there: {% if lead.employees and lead.employees > 100 %}"
    at = _first(script, re.compile(rf"\{{[{{%][^}}]*{sign}"))
    return Fault(*at, f"the email cannot be written for {sample.who}: {why}", instead)


def _emptiness(script: Script, email: Email) -> Iterator[Fault]:
    """Name what is left of an email without the facts it shows: nothing, or holes in its sentences."""
    values = _EMPTY.values(script.program)
    for piece, called in ((email.subject, "subject"), (email.preheader, "preheader"), (email.body, "text")):
        try:
            shown = TEXT.from_string(_COMMENT.sub("", piece.text)).render(values)
        except Exception:  # noqa: BLE001, S112  (composing it has named why)
            continue
        if called != "preheader" and not any(sign.isalnum() for sign in _MARKS.sub("", shown)):
            what = f"the {called} is empty for {_EMPTY.who}"
            yield Fault(piece.file, piece.line, what, "Write words around the values, or behind `or`")
            continue
        for field in dict.fromkeys(_field(hole[0]) for hole in _HOLE.finditer(shown)):
            instead = f'{{{{ lead.{field} or "there" }}}}'
            if field not in _NAMES:
                instead = f"{{% if lead.{field} %}} ... {{% endif %}} around the words that need it"
            what = f"the {called} has a hole for a lead without `{field}`: {_around(shown, field)}"
            yield Fault(*_place(script, f"lead.{field}", piece), what, f"Write {instead}")


def _dangers(script: Script, copy: ComposedEmail) -> Iterator[Fault]:
    for part in dict.fromkeys(Page(copy.html).unsafe):
        shown = _MARKS.sub("", part)[:80]
        if part.startswith("<"):
            instead = "Take it out: mail programs do not run it, and spam filters look for it"
            yield Fault(*_place(script, part.strip(">").split()[0]), f"{shown} is not for emails", instead)
        else:
            what = f"the link `{shown}` is not one an email may carry"
            yield Fault(*_place(script, part), what, ADVICE)


def _sizes(script: Script, email: Email, copy: ComposedEmail, sample: _Sample) -> Iterator[Fault]:
    subject = len(_MARKS.sub("", copy.subject))
    if subject > LONGEST_SUBJECT and not sample.hostile:
        who = "" if sample is _EMPTY else f" for {sample.who}"
        what = f"the subject is longer than {LONGEST_SUBJECT} characters{who}: {subject}"
        instead = "Shorten it, or its values: {{ lead.company | truncate(40) }}"
        yield Fault(email.subject.file, email.subject.line, what, instead)
    html = len(copy.html.encode())
    if html > LARGEST_HTML:
        what = (
            f"the email has {html:,} bytes of HTML: Gmail cuts it off at {LARGEST_HTML:,}, "
            "and hides the unsubscribe link"
        )
        yield Fault(*_place(script, ""), what, "Shorten it, or take styles out of the layout")


def _legal(script: Script, copy: ComposedEmail) -> Iterator[Fault]:
    """Name what the law wants in every copy, in the HTML and in the text, and is not there."""
    _, html, text = script.compiled.sources
    postal = " ".join(script.program.sender.postal_address.split())
    wanted = (
        ("unsubscribe_url", "the unsubscribe link", [UNSUBSCRIBE]),
        ("sender.postal_address", "the postal address", postal.replace(",", " ").split()),
    )
    for name, called, parts in wanted:
        if name not in script.compiled.variables:
            continue  # the mail floor has said that it is missing
        at = _place(script, name)
        if always_shows(html, name) and any(part not in copy.text for part in parts):
            what = f"{called} is in the HTML of this email, but not in its text"
            yield Fault(*at, what, f"Show {{{{ {name} }}}} in a part of the layout without `no-text`")
        elif not (always_shows(html, name) and always_shows(text, name)):
            what = (
                f"{called} is not in every copy of this email: it stands inside an {{% if %}} or {{% for %}}"
            )
            yield Fault(*at, what, f"Show {{{{ {name} }}}} outside of them")
        elif name == "unsubscribe_url" and UNSUBSCRIBE not in Page(copy.html).links:
            what = f"{called} is in this email, but cannot be clicked"
            yield Fault(*at, what, 'Write <a href="{{ unsubscribe_url }}">Unsubscribe</a>')


def _field(mark: str) -> str:
    return touch_email.FIELDS[ord(mark) - _FIRST_MARK]


def _marked(text: str) -> str:
    """Return the field whose sign is in *text*, "" if there is none."""
    found = re.search(r"[\ue000-\ue0ff]", text) or re.search(r"\\u(e0[0-9a-f]{2})", text)
    if found is None:
        return ""
    return _field(chr(int(found[1], 16)) if found.lastindex else found[0])


def _around(shown: str, field: str) -> str:
    """Show the words around the hole that *field* leaves."""
    mark = str.__str__(_UNKNOWN[field])
    line = next(line for line in shown.split("\n") if mark in line)
    at = line.index(mark)
    return f"`{_MARKS.sub('', line[max(0, at - 30) : at + 30]).strip()}`"


def _place(script: Script, named: str, piece: Piece | None = None) -> tuple[str, int]:
    """Return file and line of *named*: in the email, else in its layout, else the email's first line."""
    return _first(script, re.compile(re.escape(named) if named else "(?!)"), piece)


def _first(script: Script, wanted: re.Pattern[str], piece: Piece | None = None) -> tuple[str, int]:
    source = Piece(script.source.name, script.source.first_line, script.source.text)
    for where in (piece or source, source, script.layout):
        for number, line in enumerate(where.text.split("\n")):
            if wanted.search(line):
                return where.file, where.line + number
    return source.file, source.line
