"""Compile an email from Markdown, layout and CSS to Jinja templates, once per template version.

Jinja tags are replaced by placeholders before the text is parsed and restored at the end, so that a `<` in a
tag breaks no markup and rendered values are never parsed again.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from html import escape

from jinja2 import Template

from nurture.domain.problems import Problem, faults
from nurture.errors import InvalidDefinitions
from nurture.formats.lead_row import FIELDS
from nurture.mail.rendering import link_tracking, mjml_layout
from nurture.mail.rendering.email_file import EmailSource, ParsedEmail, Piece, parse_email
from nurture.mail.rendering.foreign_tokens import find_foreign_tokens
from nurture.mail.rendering.jinja_sandbox import HTML, TEXT, find_names, find_template_problems
from nurture.mail.rendering.link_tracking import LinkTracking, RewrittenHtml
from nurture.mail.rendering.markdown import render_body
from nurture.mail.rendering.pictures import find_picture_problems
from nurture.mail.rendering.placeholders import Placeholders
from nurture.mail.rendering.plain_text import derive_plain_text
from nurture.mail.rendering.text_checks import find_text_problems
from nurture.mail.rendering.utm import Utm

__all__ = ["CompiledEmail", "EmailSource", "check_email", "compile_and_check", "compile_email"]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledEmail:
    """A compiled email. *variables* are the dotted names that it and its layout need.

    With *tracking*, its links are numbered links to nurture: number 1 leads to the first of *destinations*.
    *names* are the URLs of the destinations as written, without *utm*. *patterns* are the templates of the links whose
    URL depends on the lead.
    """

    name: str
    subject: Template
    html: Template
    text: Template
    variables: frozenset[str]
    sources: tuple[str, str, str]  # Jinja source of subject, html and text
    tracking: LinkTracking | None = None
    destinations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    utm: Utm = ()


def compile_email(
    source: EmailSource, layout: str, tracking: LinkTracking | None = None, utm: Utm = ()
) -> CompiledEmail:
    """Compile *source* in the MJML text *layout*. Raises InvalidDefinitions with every problem.

    With *tracking*, its links are rewritten to the TrackedLinks that each email is composed with. *utm* is added to
    links.
    """
    compiled, problems = _compile(source, layout, tracking, utm)
    if compiled is None:
        raise InvalidDefinitions(sorted(problems))
    return compiled


def check_email(
    source: EmailSource, layout: str, known: Collection[str], required: Collection[str] = ()
) -> list[Problem]:
    """Return every problem of *source* in *layout*, as `compile_and_check` does."""
    return compile_and_check(source, layout, known, required)[1]


def compile_and_check(
    source: EmailSource, layout: str, known: Collection[str], required: Collection[str] = ()
) -> tuple[CompiledEmail | None, list[Problem]]:
    """Return *source* compiled in *layout*, or None if it cannot be compiled or composed, and every problem.

    Names outside *known* are problems, as it cannot be composed, and so are *required* names that the email does
    not use. A field of the lead that resembles no known one is only a warning: an import may keep such a column. A
    known name includes the names below it: `lead.fields` allows `lead.fields.region`.
    """
    compiled, problems = _compile(source, layout)
    email, _ = parse_email(source)
    problems += source.locate(find_text_problems(email))
    names = [(piece, name, line) for piece in _pieces(email, layout) for name, line in _names_in_piece(piece)]
    unknown = [
        _unknown_name_problem(piece, name, line, known) for piece, name, line in names if not _is_known(name, known)
    ]
    for name in sorted(set(required) - {name for _, name, _ in names}) if compiled else ():
        message = f"the email does not show `{name}`, which is required"
        advice = f"Use `layout: plain`, or add {{{{ {name} }}}} to layouts/{email.layout}.mjml"
        problems.append(Problem(source.name, source.first_line, message, advice))
    return None if faults(unknown) else compiled, sorted({*problems, *source.locate(unknown)})


def _compile(
    source: EmailSource, layout: str, tracking: LinkTracking | None = None, utm: Utm = ()
) -> tuple[CompiledEmail | None, list[Problem]]:
    compiled, problems = _compile_once(source, layout, tracking, tuple(utm))
    located = source.locate(problems)
    snippets = {file for file, _ in source.origins} - {source.name}
    if compiled is None and any(one.file in snippets for one in located):
        own = source.without_snippets
        if left_open := find_template_problems(parse_email(own)[0].body):  # noticed only in the snippet behind it
            located = [one for one in located if one.file not in snippets] + own.locate(left_open)
    return compiled, located


@lru_cache(maxsize=128)
def _compile_once(
    source: EmailSource, layout: str, tracking: LinkTracking | None, utm: Utm
) -> tuple[CompiledEmail | None, tuple[Problem, ...]]:
    """Compile and cache: the same text is checked, simulated and published before it is sent."""
    email, problems = parse_email(source)
    pieces = _pieces(email, layout)
    invalid = {piece: found for piece in pieces if (found := _inspect_piece(piece)[0])}
    problems += [problem for found in invalid.values() for problem in found]
    placeholders = Placeholders(*(piece.text for piece in pieces))
    compiled_layout = None if pieces[-1] in invalid else mjml_layout.compile_layout(pieces[-1], placeholders)
    slots = compiled_layout.slots if compiled_layout else {}
    body = None if email.body in invalid else render_body(email.body, placeholders, in_columns="columns" in slots)
    problems += (body.problems if body else []) + (compiled_layout.problems if compiled_layout else [])
    problems += find_picture_problems(email, "image" in slots) if compiled_layout else []
    if faults(problems) or body is None or compiled_layout is None:
        return None, tuple(problems)
    subject, preheader = (mjml_layout.escape_text(piece, placeholders) for piece in (email.subject, email.preheader))
    contents = {"subject": subject, "preheader": preheader, "body": body.html, "columns": body.html}
    contents |= {"image": escape(email.image.text), "image_alt": escape(email.image_alt.text)}
    html, tags_kept = mjml_layout.fill_layout(compiled_layout, contents, placeholders)
    if not tags_kept:
        advice = "Keep each {% if %} and its {% endif %} inside one cell, or around whole sections"
        return None, (Problem(pieces[-1].file, 1, "tags moved in the HTML", advice),)
    compiled = _build_email(source.name, email.subject.text, html, _required_names(pieces), placeholders, tracking, utm)
    return compiled, tuple(problems)


def _build_email(
    name: str,
    subject: str,
    html: str,
    variables: frozenset[str],
    placeholders: Placeholders,
    tracking: LinkTracking | None,
    utm: Utm,
) -> CompiledEmail:
    """Build the templates from *html* with placeholders, and from the plain text derived from it."""
    html = link_tracking.encode_query_values(html, placeholders)
    if tracking is None:
        rewritten = RewrittenHtml(link_tracking.leave_links(html, utm))
    else:
        rewritten = link_tracking.rewrite_links(html, placeholders, tracking, utm)
    text = placeholders.restore_escaped(derive_plain_text(rewritten.html, placeholders, rewritten.original_urls))
    html = placeholders.restore_escaped(
        mjml_layout.break_lines(mjml_layout.guard_links(rewritten.html, placeholders, rewritten.trusted_words))
    )
    if tracking is not None:
        html = link_tracking.append_tracking(html, honeypot=tracking.honeypot and bool(rewritten.original_urls))
    return CompiledEmail(
        name=name,
        subject=TEXT.from_string(subject),
        html=(HTML if tracking is None else link_tracking.HTML).from_string(html),
        text=(TEXT if tracking is None else link_tracking.TEXT).from_string(text),
        variables=variables,
        sources=(subject, html, text),
        tracking=tracking,
        destinations=rewritten.destinations,
        names=rewritten.names,
        patterns=rewritten.patterns,
        utm=utm,
    )


def _pieces(email: ParsedEmail, layout: str) -> tuple[Piece, Piece, Piece, Piece]:
    return email.subject, email.preheader, email.body, Piece(f"layouts/{email.layout}.mjml", 1, layout)


def _find_raw_tags(piece: Piece) -> list[Problem]:
    position = piece.text.replace("{%-", "{%").replace("{% ", "{%").find("{%raw")
    if position < 0:
        return []
    line = piece.line + piece.text[:position].count("\n")
    return [Problem(piece.file, line, "`raw` is not allowed in emails", 'Write literal braces as {{ "{{" }}')]


def _names_in_piece(piece: Piece) -> tuple[tuple[str, int], ...]:
    return _inspect_piece(piece)[1]


@lru_cache(maxsize=128)
def _inspect_piece(piece: Piece) -> tuple[tuple[Problem, ...], tuple[tuple[str, int], ...]]:
    """Return the problems of *piece* or, without any, the names it needs. Cached, as emails share layouts."""
    problems = find_template_problems(piece)
    slots = mjml_layout.SLOTS if piece.file.startswith("layouts/") else ()
    names = () if problems else tuple((name, line) for name, line in find_names(piece) if name not in slots)
    problems += [] if piece.file.startswith("layouts/") else find_foreign_tokens(piece)
    return (*problems, *_find_raw_tags(piece)), names


def _required_names(pieces: Collection[Piece]) -> frozenset[str]:
    return frozenset(name for piece in pieces for name, _ in _names_in_piece(piece))


def _is_known(name: str, known: Collection[str]) -> bool:
    parts = name.split(".")
    parent_known = any(".".join(parts[:length]) in known for length in range(1, len(parts) + 1))
    return parent_known or any(other.startswith(f"{name}.") for other in known)


def _unknown_name_problem(piece: Piece, name: str, line: int, known: Collection[str]) -> Problem:
    root, _, field = name.partition(".")
    family = sorted(other for other in known if other.partition(".")[0] == root)
    fields = {other.partition(".")[2]: other for other in family}
    suggestions = [fields[other] for other in get_close_matches(field, fields, n=1)]
    suggestions = suggestions or get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    if root == "lead" and not suggestions and field not in FIELDS:
        message = f"no field is called `{field}`: it is text, if an import keeps a column of this name"
        return Problem(piece.file, line, message, "Declare it in fields.yaml", is_warning=True)
    remedy = f"Did you mean `{suggestions[0]}`?" if suggestions else f"Known here: {', '.join(family or sorted(known))}"
    if not family and not suggestions:  # the name of another system, such as contact.firstname
        by_letters = {one[5:].replace("_", ""): one for one in known if one.startswith("lead.")}
        if near := get_close_matches(name.rpartition(".")[2].replace("_", "").lower(), by_letters, n=1):
            fallback = "there" if near[0] == "firstname" else "..."
            remedy = f'Here it is {{{{ {by_letters[near[0]]} or "{fallback}" }}}}'
    if re.search(rf"\bor\s+{re.escape(name)}\s*[}}|]", piece.text):
        remedy = f'Put a fallback in quotes: or "{name}"'
    return Problem(piece.file, line, f"unknown name `{name}`", remedy)
