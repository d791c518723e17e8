"""Check an email before it is published, by composing it for sample leads."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2.exceptions import SecurityError

from nurture.definitions.field_checks import find_mismatches
from nurture.domain.fields import Fields, FieldType, MissingText
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.program import Program
from nurture.domain.problems import Problem
from nurture.errors import NurtureError
from nurture.journey.tracks import touch_email
from nurture.journey.tracks.emails_to_self import LONG_VALUES
from nurture.mail.rendering.compile import CompiledEmail, EmailSource
from nurture.mail.rendering.email_file import ParsedEmail, Piece, parse_email
from nurture.mail.rendering.jinja_sandbox import TEXT, find_compared_values
from nurture.mail.rendering.link_rules import LINK_ADVICE, UnsafeLink
from nurture.mail.rendering.render import (
    MAX_CHARACTERS,
    Address,
    ComposedEmail,
    CompositionFailed,
    EmailTooLarge,
    Envelope,
    compose,
)
from nurture.mail.rendering.required_content import RenderedPage, always_prints
from nurture.mail.rendering.template_bounds import LimitExceeded

MAX_SUBJECT_LENGTH: Final = 128
"""Characters. Some mail stores truncate longer subjects; a phone shows about 40."""

MAX_HTML_BYTES: Final = 102_000
"""Bytes. Gmail clips longer emails and hides the rest, with the unsubscribe link."""

SAMPLE_UNSUBSCRIBE_URL: Final = "https://go.example.com/u/0123456789abcdefghijkl"
SAMPLE_PREFERENCES_URL: Final = "https://go.example.com/p/0123456789abcdefghijkl"
_FIRST_MARK, _LAST_MARK = 0xE000, 0xE0FF  # a private-use character per field, which occurs in no text
_MARKS: Final = re.compile(r"[\ue000-\ue0ff]|\\ue0[0-9a-f]{2}")
_GAP: Final = re.compile(
    r"(?:^|(?<=[\s(\[*_\"'“«>]))[\ue000-\ue0ff](?=[ \t,.;:!?)\]*_\"'”»\u2019]|[\ue000-\ue0ff])", re.MULTILINE
)
_NAME_FIELDS: Final = frozenset({"first_name", "last_name", "full_name"})
_SAMPLE_DETAILS: Final = re.compile(r" for a lead (?:with only|with a long|whose).*|:? ?\d[\d,]*")
_LINK_TAG: Final = re.compile(r"\]\([^)]*\{[{%]|(?:href|src)=.\{[{%]")
_COMPARED: Final = re.compile(r"'(\S+)' not supported between")
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_LONG_TEXT: Final = "A text of a form that somebody wrote at length"
_HOSTILE_TEXT: Final = "<script>alert('{}')</script>\"> {{{{ lead.email }}}} {{% raw %}}\r\nBcc: a@example.com"
_VALUES_BY_TYPE: Final[Mapping[FieldType | None, Any]] = {
    FieldType.NUMBER: 1, FieldType.DATE: "2026-09-30", FieldType.YES_NO: True,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class EmailUnderTest:
    """An email of a track to check: source, layout and compiled email."""

    source: EmailSource
    layout: Piece
    compiled: CompiledEmail
    program: Program
    fields: Fields

    @property
    def names(self) -> list[str]:
        """Return the lead's fields that it uses."""
        used = {name.split(".")[1] for name in self.compiled.variables if name.startswith("lead.")}
        return sorted(used)[: _LAST_MARK - _FIRST_MARK]


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample lead. For a *hostile* one, an unsafe link may fail the composition."""

    description: str
    lead: Mapping[str, Any]
    hostile: bool = False

    def values(self, program: Program) -> dict[str, object]:
        return touch_email.touch_values({}, program, SAMPLE_UNSUBSCRIBE_URL, "", SAMPLE_PREFERENCES_URL) | {
            "lead": defaultdict(str, self.lead)
        }


_EMPTY: Final = "a lead with only an address"


def _samples(email_under_test: EmailUnderTest) -> tuple[_Sample, ...]:
    """Return leads without fields, which are marked where they are printed, with long and with hostile ones."""
    names, fallbacks = email_under_test.names, email_under_test.program.fallbacks
    missing = {name: MissingText(fallbacks.get(name, chr(_FIRST_MARK + index))) for index, name in enumerate(names)}
    types = {name: field.type for name, field in email_under_test.fields.items()}
    long = {name: _VALUES_BY_TYPE.get(types.get(name), _LONG_TEXT) for name in names} | dict(LONG_VALUES)
    hostile = {name: _VALUES_BY_TYPE.get(types.get(name), _HOSTILE_TEXT.format(name)) for name in names}
    hostile |= {"website": "JaVaScRiPt:alert(1)"}
    return (
        _Sample(_EMPTY, missing),
        _Sample("a lead with a long name and company", touch_email.lead_values(long)),
        _Sample("a lead whose fields are hostile", touch_email.lead_values(hostile), hostile=True),
    )


def check_email_rendering(email_under_test: EmailUnderTest) -> list[Problem]:
    """Return the problems of an email of a track, each once."""
    email, _ = parse_email(email_under_test.source)
    attempts = [(sample, _compose_sample(email_under_test, sample)) for sample in _samples(email_under_test)]
    copies = [(sample, copy) for sample, copy in attempts if isinstance(copy, ComposedEmail)]
    problems = [copy for _, copy in attempts if isinstance(copy, Problem)][:1]
    stopped = {(problem.file, problem.line) for problem in problems}
    problems += [gap for gap in _find_gaps(email_under_test, email) if (gap.file, gap.line) not in stopped]
    for sample, copy in copies:
        problems += [
            *_find_unsafe_content(email_under_test, copy),
            *_check_sizes(email_under_test, email, copy, sample),
        ]
        problems += [] if sample.hostile else _check_legal_content(email_under_test, copy)
    unique: dict[str, Problem] = {}
    for problem in problems:
        unique.setdefault(_SAMPLE_DETAILS.sub("", problem.message), problem)
    return email_under_test.source.locate(unique.values())


def find_impossible_values(source: EmailSource, fields: Fields) -> list[Problem]:
    """Return a warning for each value with which a valid email compares a field that never has it."""
    email, _ = parse_email(source)
    found = []
    for piece in (email.subject, email.preheader, email.body):
        for name, value, line in find_compared_values(piece):
            field = fields.get(name.removeprefix("lead."))
            if field is not None and name.startswith("lead.") and value is not None:
                for message, remedy in find_mismatches(field, Comparison.IS, (value,)):
                    flag = f"Write `{{% if {name} %}}` or `{{% if not {name} %}}`"
                    advice = flag if field.type is FieldType.YES_NO else remedy.removesuffix(".")
                    found.append(Problem(piece.file, line, message, advice, is_warning=True))
    return source.locate(dict.fromkeys(found))


def _compose_sample(email_under_test: EmailUnderTest, sample: _Sample) -> ComposedEmail | Problem | None:
    """Compose the email; return None if a hostile field failed it, as it should."""
    address = Address("", "someone@example.com")
    try:
        return compose(
            email_under_test.compiled, sample.values(email_under_test.program), Envelope("check", address, address)
        )
    except EmailTooLarge:
        message = f"the email has more than {MAX_CHARACTERS:,} characters, which mail servers may refuse"
        return Problem(*_locate(email_under_test, ""), message, "Shorten it, and link to long content")
    except CompositionFailed as error:
        cause = error.__cause__
    if isinstance(cause, UnsafeLink) and sample.hostile:
        return None
    if isinstance(cause, SecurityError):
        reason, remedy = (cause.reason, cause.remedy) if isinstance(cause, LimitExceeded) else (cause, "simplify it")
        return Problem(*_locate(email_under_test, ""), f"the email cannot be composed: {reason}", remedy.capitalize())
    field = _find_marked_field(email_under_test.names, str(cause))
    message = _MARKS.sub("", cause.reason if isinstance(cause, NurtureError) else str(cause)).rstrip(".")
    if isinstance(cause, UnsafeLink):
        at = _locate(email_under_test, f"lead.{field}") if field else _locate_pattern(email_under_test, _LINK_TAG)
        condition = f"{{% if lead.{field or 'website'} %}} ... {{% endif %}}"
        suggestion = f"{LINK_ADVICE}; if a lead may have none, test it first: {condition}"
        return Problem(*at, f"{message} for {sample.description}", suggestion)
    compared = _COMPARED.match(message)
    sign = re.escape(compared[1]) if compared else "(?!)"
    reason = f"`{compared[1]}` cannot compare a missing value" if compared else message
    suggestion = "Test first whether the value exists: {% if lead.employees and lead.employees > 100 %}"
    at = _locate_pattern(email_under_test, re.compile(rf"\{{[{{%][^}}]*{sign}"))
    return Problem(*at, f"the email cannot be composed for {sample.description}: {reason}", suggestion)


def _find_gaps(email_under_test: EmailUnderTest, email: ParsedEmail) -> Iterator[Problem]:
    """Yield a problem for each part that is empty, or has a gap in a sentence, if the lead's fields are missing."""
    names = email_under_test.names
    values = _samples(email_under_test)[0].values(email_under_test.program)
    for piece, label in ((email.subject, "subject"), (email.preheader, "preheader"), (email.body, "text")):
        try:
            rendered = TEXT.from_string(_COMMENT.sub("", piece.text)).render(values)
        except Exception:  # noqa: BLE001, S112 - composing it reported why
            continue
        if label != "preheader" and not any(sign.isalnum() for sign in _MARKS.sub("", rendered)):
            message = f"the {label} is empty for {_EMPTY}"
            yield Problem(piece.file, piece.line, message, "Write words around the values, or after `or`")
            continue
        for field in dict.fromkeys(_field_of_mark(names, gap[0]) for gap in _GAP.finditer(rendered)):
            suggestion = f'{{{{ lead.{field} or "there" }}}}'
            if field not in _NAME_FIELDS:
                suggestion = f"{{% if lead.{field} %}} ... {{% endif %}} around the words that need it"
            message = (
                f"the {label} has a gap for a lead without `{field}`: {_excerpt_around(rendered, names.index(field))}"
            )
            yield Problem(*_locate(email_under_test, f"lead.{field}", piece), message, f"Write {suggestion}")


def _find_unsafe_content(email_under_test: EmailUnderTest, copy: ComposedEmail) -> Iterator[Problem]:
    for part in dict.fromkeys(RenderedPage(copy.html).unsafe):
        excerpt = _MARKS.sub("", part)[:80]
        if part.startswith("<"):
            suggestion = "Remove it: mail programs do not run it, and spam filters look for it"
            yield Problem(
                *_locate(email_under_test, part.strip(">").split()[0]),
                f"{excerpt} is not allowed in emails",
                suggestion,
            )
        else:
            message = f"the link `{excerpt}` is not allowed in an email"
            yield Problem(*_locate(email_under_test, part), message, LINK_ADVICE)


def _check_sizes(
    email_under_test: EmailUnderTest, email: ParsedEmail, copy: ComposedEmail, sample: _Sample
) -> Iterator[Problem]:
    subject = len(_MARKS.sub("", copy.subject))
    if subject > MAX_SUBJECT_LENGTH and not sample.hostile:
        whom = "" if sample.description == _EMPTY else f" for {sample.description}"
        message = f"the subject is longer than {MAX_SUBJECT_LENGTH} characters{whom}: {subject}"
        suggestion = "Shorten it, or its values: {{ lead.company | truncate(40) }}"
        yield Problem(email.subject.file, email.subject.line, message, suggestion)
    html = len(copy.html.encode())
    if html > MAX_HTML_BYTES:
        message = (
            f"the email has {html:,} bytes of HTML: Gmail clips it at {MAX_HTML_BYTES:,}, "
            "and hides the unsubscribe link"
        )
        yield Problem(*_locate(email_under_test, ""), message, "Shorten it, or remove styles from the layout")


def _check_legal_content(email_under_test: EmailUnderTest, copy: ComposedEmail) -> Iterator[Problem]:
    """Yield a problem for legally required content that is not in HTML and text of every copy."""
    _, html, text = email_under_test.compiled.sources
    postal = " ".join(email_under_test.program.sender.postal_address.split())
    required = (
        ("unsubscribe_url", "the unsubscribe link", [SAMPLE_UNSUBSCRIBE_URL]),
        ("sender.postal_address", "the postal address", postal.replace(",", " ").split()),
    )
    for name, label, parts in required:
        if name not in email_under_test.compiled.variables:
            continue  # `compile_and_check` reports that it is missing
        at = _locate(email_under_test, name)
        if always_prints(html, name) and any(part not in copy.text for part in parts):
            message = f"{label} is in the HTML of this email, but not in its text"
            yield Problem(*at, message, f"Show {{{{ {name} }}}} in a part of the layout without `no-text`")
        elif not (always_prints(html, name) and always_prints(text, name)):
            message = f"{label} is not in every copy of this email: it is inside an {{% if %}} or {{% for %}}"
            yield Problem(*at, message, f"Show {{{{ {name} }}}} outside of them")
        elif name == "unsubscribe_url" and SAMPLE_UNSUBSCRIBE_URL not in RenderedPage(copy.html).links:
            message = f"{label} is in this email, but cannot be clicked"
            yield Problem(*at, message, 'Write <a href="{{ unsubscribe_url }}">Unsubscribe</a>')


def _field_of_mark(names: Sequence[str], mark: str) -> str:
    return names[ord(mark) - _FIRST_MARK]


def _find_marked_field(names: Sequence[str], text: str) -> str:
    """Return the one of *names* whose mark is in *text*, or ""."""
    found = re.search(r"[\ue000-\ue0ff]", text) or re.search(r"\\u(e0[0-9a-f]{2})", text)
    if found is None:
        return ""
    return _field_of_mark(names, chr(int(found[1], 16)) if found.lastindex else found[0])


def _excerpt_around(text: str, index: int) -> str:
    """Return the words around the gap that the field with this index leaves."""
    mark = chr(_FIRST_MARK + index)
    line = next(line for line in text.split("\n") if mark in line)
    at = line.index(mark)
    return f"`{_MARKS.sub('', line[max(0, at - 30) : at + 30]).strip()}`"


def _locate(email_under_test: EmailUnderTest, text: str, piece: Piece | None = None) -> tuple[str, int]:
    """Return file and line of *text* in the email or else its layout; by default the email's first line."""
    return _locate_pattern(email_under_test, re.compile(re.escape(text) if text else "(?!)"), piece)


def _locate_pattern(
    email_under_test: EmailUnderTest, pattern: re.Pattern[str], piece: Piece | None = None
) -> tuple[str, int]:
    source = Piece(email_under_test.source.name, email_under_test.source.first_line, email_under_test.source.text)
    for piece_to_search in (piece or source, source, email_under_test.layout):
        for number, line in enumerate(piece_to_search.text.split("\n")):
            if pattern.search(line):
                return piece_to_search.file, piece_to_search.line + number
    return source.file, source.line
