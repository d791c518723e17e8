"""Compile an email once per template version: Markdown, layout, CSS and text part, down to Jinja templates.

Every Jinja tag is hidden behind a word before anything reads the text, and shown again at the end: a `<` in a
tag harms nobody, and a rendered text is never rendered again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from jinja2 import Template

from nurture.domain.problems import Fault
from nurture.errors import RulesFaulty
from nurture.mail.rendering import link_tracking as trails
from nurture.mail.rendering import mjml_layout as frames
from nurture.mail.rendering.email_file import Email, EmailSource, Piece, read_email
from nurture.mail.rendering.jinja_sandbox import HTML, TEXT, names_in, piece_faults
from nurture.mail.rendering.link_tracking import Tracking
from nurture.mail.rendering.markdown import render_body
from nurture.mail.rendering.placeholders import Masks
from nurture.mail.rendering.plain_text import text_of

__all__ = ["CompiledEmail", "EmailSource", "check_email", "compile_email", "examine_email", "variables_of"]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledEmail:
    """An email ready to be composed for any lead; *variables* are the dotted names it and its layout need.

    With *tracking* its links are our own: number 1 leads to the first of the *destinations*. *patterns* are
    the links whose address is written for each lead, as the template has them.
    """

    name: str
    subject: Template
    html: Template
    text: Template
    variables: frozenset[str]
    sources: tuple[str, str, str]  # Jinja source of subject, html and text
    tracking: Tracking | None = None
    destinations: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


def compile_email(source: EmailSource, layout: str, tracking: Tracking | None = None) -> CompiledEmail:
    """Compile *source* inside the MJML text *layout*. Raises RulesFaulty with every fault found.

    With *tracking* clicks on its links come to us first, by a Trail that each mail is composed with.
    """
    compiled, faults = _compile(source, layout, tracking)
    if compiled is None:
        raise RulesFaulty(sorted(faults))
    return compiled


def check_email(
    source: EmailSource, layout: str, known: Collection[str], required: Collection[str] = ()
) -> list[Fault]:
    """List every fault of *source* in *layout*; see examine_email."""
    return examine_email(source, layout, known, required)[1]


def examine_email(
    source: EmailSource, layout: str, known: Collection[str], required: Collection[str] = ()
) -> tuple[CompiledEmail | None, list[Fault]]:
    """Return *source* compiled in *layout*, None where it cannot be, and every fault.

    Names outside *known* are faults, and so are *required* names that it does not use. A known name also
    allows what lies under it: `lead.fields` allows `lead.fields.region`.
    """
    compiled, faults = _compile(source, layout)
    email, _ = read_email(source)
    used = [(piece, name, line) for piece in _pieces(email, layout) for name, line in _names(piece)]
    faults += [_unknown(piece, name, line, known) for piece, name, line in used if not _is_known(name, known)]
    for name in sorted(set(required) - {name for _, name, _ in used}) if compiled else ():
        what = f"the email does not show `{name}`, which every email must"
        advice = f"Use `layout: plain`, or add {{{{ {name} }}}} to layouts/{email.layout}.mjml"
        faults.append(Fault(source.name, source.first_line, what, advice))
    return compiled, sorted(set(faults))


def variables_of(source: EmailSource) -> set[str]:
    """Name what *source* itself needs from outside, as dotted names. Pieces with faults are left out."""
    email, _ = read_email(source)
    return {name for piece in (email.subject, email.preheader, email.body) for name, _ in _names(piece)}


def _compile(
    source: EmailSource, layout: str, tracking: Tracking | None = None
) -> tuple[CompiledEmail | None, list[Fault]]:
    compiled, faults = _compile_once(source, layout, tracking)
    return compiled, list(faults)


@lru_cache(maxsize=128)
def _compile_once(
    source: EmailSource, layout: str, tracking: Tracking | None
) -> tuple[CompiledEmail | None, tuple[Fault, ...]]:
    """Compile the same text once: it is checked, rehearsed and published before it is sent."""
    email, faults = read_email(source)
    pieces = _pieces(email, layout)
    unreadable = {piece: found for piece in pieces if (found := _looked_at(piece)[0])}
    faults += [fault for found in unreadable.values() for fault in found]
    masks = Masks(*(piece.text for piece in pieces))
    body = None if email.body in unreadable else render_body(email.body, masks)
    frame = None if pieces[-1] in unreadable else frames.compile_layout(pieces[-1], masks)
    faults += (body.faults if body else []) + (frame.faults if frame else [])
    if faults or body is None or frame is None:
        return None, tuple(faults)
    subject, preheader = (frames.as_text(piece, masks) for piece in (email.subject, email.preheader))
    contents = {"subject": subject, "preheader": preheader, "body": body.html}
    html, kept = frames.fill(frame, contents, masks)
    if not kept:
        advice = "Keep each {% if %} and its {% endif %} inside one cell, or around whole sections"
        return None, (Fault(pieces[-1].file, 1, "tags lost their place in the HTML", advice),)
    return _finished(source.name, email.subject.text, html, _needs(pieces), masks, tracking), ()


def _finished(
    name: str, subject: str, html: str, variables: frozenset[str], masks: Masks, tracking: Tracking | None
) -> CompiledEmail:
    """Make the templates of *html*, its tags still hidden, and of the text that says the same."""
    if tracking is None:
        text = masks.show(text_of(html, masks))
        html = masks.show(frames.break_lines(frames.guard_links(trails.unmarked(html), masks)))
        return CompiledEmail(
            name=name,
            subject=TEXT.from_string(subject),
            html=HTML.from_string(html),
            text=TEXT.from_string(text),
            variables=variables,
            sources=(subject, html, text),
        )
    done = trails.rewrite(html, masks, tracking)
    text = masks.show(text_of(done.html, masks, done.shown))
    html = masks.show(frames.break_lines(frames.guard_links(done.html, masks, done.words)))
    followed = bool(done.shown)
    html = trails.finish(html, honeypot=tracking.honeypot and followed)
    return CompiledEmail(
        name=name,
        subject=TEXT.from_string(subject),
        html=trails.HTML.from_string(html),
        text=trails.TEXT.from_string(text),
        variables=variables,
        sources=(subject, html, text),
        tracking=tracking,
        destinations=done.destinations,
        patterns=done.patterns,
    )


def _pieces(email: Email, layout: str) -> tuple[Piece, Piece, Piece, Piece]:
    return email.subject, email.preheader, email.body, Piece(f"layouts/{email.layout}.mjml", 1, layout)


def _raw_faults(piece: Piece) -> list[Fault]:
    place = piece.text.replace("{%-", "{%").replace("{% ", "{%").find("{%raw")
    if place < 0:
        return []
    line = piece.line + piece.text[:place].count("\n")
    return [Fault(piece.file, line, "`raw` is not for emails", 'Write literal braces as {{ "{{" }}')]


def _names(piece: Piece) -> tuple[tuple[str, int], ...]:
    return _looked_at(piece)[1]


@lru_cache(maxsize=128)
def _looked_at(piece: Piece) -> tuple[tuple[Fault, ...], tuple[tuple[str, int], ...]]:
    """Return the faults of *piece* and, if it has none, the names it needs; a layout serves many emails."""
    faults = piece_faults(piece)
    slots = frames.SLOTS if piece.file.startswith("layouts/") else ()
    names = () if faults else tuple((name, line) for name, line in names_in(piece) if name not in slots)
    return (*faults, *_raw_faults(piece)), names


def _needs(pieces: Collection[Piece]) -> frozenset[str]:
    return frozenset(name for piece in pieces for name, _ in _names(piece))


def _is_known(name: str, known: Collection[str]) -> bool:
    parts = name.split(".")
    above = any(".".join(parts[:length]) in known for length in range(1, len(parts) + 1))
    return above or any(other.startswith(f"{name}.") for other in known)


def _unknown(piece: Piece, name: str, line: int, known: Collection[str]) -> Fault:
    root, _, field = name.partition(".")
    family = sorted(other for other in known if other.partition(".")[0] == root)
    fields = {other.partition(".")[2]: other for other in family}
    near = [fields[other] for other in get_close_matches(field, fields, n=1)]
    near = near or get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    instead = f"Did you mean `{near[0]}`?" if near else f"Known here: {', '.join(family or sorted(known))}"
    return Fault(piece.file, line, f"nothing is called `{name}`", instead)
