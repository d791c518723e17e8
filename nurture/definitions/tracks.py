"""Read one track's folder: track.yaml and its emails."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.caps import read_track_cap
from nurture.definitions.conditions import KnownEmails, read_condition
from nurture.definitions.defaults import Defaults, override_sender, read_sending
from nurture.definitions.destinations import PREVIOUS, read_track_destination
from nurture.definitions.email_front_matter import check_front_matter, email_layout, is_call_to_action, read_piece
from nurture.definitions.folder import Sources
from nurture.definitions.languages import check_languages, read_languages, split_language
from nurture.definitions.program_compiler import ProgramCompiler, check_moved_steps, check_program, email_steps
from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_shape
from nurture.definitions.steps import Step, StepReader, every_step
from nurture.definitions.utm import read_utm
from nurture.definitions.values import Line, Name, Spread, read_name, read_span
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.consent.suppression import normalize_ref
from nurture.domain.lead import Closing
from nurture.domain.planning.conditions import AllOf, Condition
from nurture.domain.planning.program import Exit, ExitKind, Program, ReEntry, ToClosed, ToTrack, TrackDestination
from nurture.errors import suggest

FOLDER: Final = "tracks/"
_FALLBACK_DESTINATION: Final = ToClosed(Closing.UNREACHABLE, "")


class TrackShape(Shape):
    """The keys of track.yaml."""

    name: Name = Field(examples=["webinar-attended"])
    goal: Line = Field(examples=["Bring attendees to a first talk with sales"])
    for_: Literal["leads", "customers"] = Field("leads", alias="for", examples=["customers"])
    audience: Any = Field(examples=["{field: attended, is: yes}"])
    priority: int = Field(0, examples=["10"])
    re_entry: str = Field("never", examples=["after 90 days"])
    takes_over: bool = Field(True, examples=["no"])
    loops: bool = Field(False, examples=["yes"])
    topic: str = Field("", examples=["Webinars"])
    sender: Any = Field(None, examples=["{name: Nora from Larkfield}"])
    send: Any = Field(None, examples=["{between: 09:00-17:00}"])
    cap: Any = Field(None, examples=["{touches: 1, per: 3 days}"])
    spread: Spread = Field(timedelta(), examples=["3 days"])
    per_hour: int | None = Field(None, ge=1, examples=["50"])
    content: Literal["once", "any"] = Field("any", examples=["once"])
    utm: Any = Field(None, examples=["{campaign: spring-fair}"])
    steps: Any = Field(examples=["[{email: 01-thanks}]"])
    finally_: Any = Field(alias="finally", examples=["keep-warm"])
    until: Any = Field(None, examples=["{field: plan, is: paid}"])
    starts_on: date | None = Field(None, examples=["2027-03-01"])
    ends_on: date | None = Field(None, examples=["2027-03-31"])
    exit_when: Any = Field(None, examples=["{field: plan, is: cancelled}"])
    moved_to: dict[str, Any] = Field(default_factory=dict, examples=["{old-step: new-step}"])


class _ExitShape(Shape):
    when: Any = Field(examples=["{field: plan, is: paid}"])
    then: Any = Field(None, examples=["keep-warm"])


@dataclass(frozen=True, slots=True)
class ParsedTrack:
    """A parsed track: its program without a version, its emails and their layouts."""

    program: Program
    emails: Mapping[str, str]
    layouts: Mapping[str, str]
    node: Node


def track_names(sources: Sources) -> list[str]:
    """Return the names of the folders below tracks/."""
    return sorted({path.split("/")[1] for path in sources if path.startswith(FOLDER) and path.count("/") >= 2})


def read_track(name: str, sources: Sources, defaults: Defaults, context: ParseContext) -> ParsedTrack | None:
    """Read the track in the folder *name*; None if track.yaml cannot be read. Problems are added to *context*."""
    node = _read_yaml(name, sources, context)
    if node is None:
        return None
    shape = read_shape(TrackShape, node, context, "the track")
    _check_name(name, node, context)
    _check_days(shape, node, context)
    finally_ = _finally(name, node, context)
    before = len(context.problems)
    tree = StepReader(context)
    steps = tree.steps(node.parts["steps"], "") if "steps" in node.parts else []
    if "steps" in node.parts and node.value["steps"] == []:
        context.add_problem(
            node.parts["steps"], "the track has no steps", "Write at least one, for example `- email: 01-hello`."
        )
    unread = tree.has_unreadable_steps or "steps" not in node.parts
    known_emails = KnownEmails(None if unread else email_steps(steps))
    once, end = shape is not None and shape.content == "once", finally_ or _FALLBACK_DESTINATION
    instructions = ProgramCompiler(name, known_emails, end, context, once).program(steps)
    if len(context.problems) == before and shape is not None:
        check_program(instructions, steps, context)
        check_moved_steps(shape.moved_to, node.part("moved_to") or node, tree.ids, context)
    audience = _audience(node, context)
    exits = _exits(name, audience, end, known_emails, node, context)
    emails = _emails(name, sources)
    _check_emails(name, steps, emails, context, has_unreadable_steps=unread)
    check_languages(f"{FOLDER}{name}/", emails, defaults.language, context)
    sending = read_sending(node.part("send"), defaults.sending, context)
    topic = shape.topic if shape else ""
    cap, exempt = read_track_cap(name, node.part("cap"), context)
    program = Program(
        track=name,
        version=0,
        instructions=instructions,
        audience=audience,
        re_entry=_re_entry(node, context),
        sender=override_sender(node.part("sender"), defaults.sender, context),
        window=sending.window,
        grace=sending.grace,
        caps=tuple(filter(None, (defaults.cap, defaults.topic_caps.get(normalize_ref(topic)), cap))),
        exempt=exempt,
        zone_fallback=sending.zone_fallback,
        fallbacks={field.name: field.fallback for field in context.fields.values() if field.fallback},
        calls_to_action=_calls_to_action(name, emails, context),
        exits=exits,
        for_customers=shape is not None and shape.for_ == "customers",
        utm=read_utm(node.part("utm"), defaults.utm, context),
        language=defaults.language,
        languages=read_languages(emails),
        pieces=_pieces(name, emails, context),
        **_plain_values(shape),
    )
    return ParsedTrack(program, emails, _layouts(name, emails, defaults, sources, context), node)


def _layouts(
    name: str, emails: Mapping[str, str], defaults: Defaults, sources: Sources, context: ParseContext
) -> dict[str, str]:
    return {
        email: email_layout(f"{FOLDER}{name}/{email}.md", text, defaults.layout, sources, context)
        for email, text in emails.items()
    }


def _read_yaml(name: str, sources: Sources, context: ParseContext) -> Node | None:
    file = f"{FOLDER}{name}/track.yaml"
    if file in sources:
        return read_yaml(file, sources[file], context)
    what, instead = "this file is missing", "Write it, or remove the folder."
    if file.removesuffix(".yaml") + ".yml" in sources:
        instead = "Rename track.yml to track.yaml."
    context.add_problem(Node(file, 1, None), what, instead)
    return None


def _check_name(name: str, node: Node, context: ParseContext) -> None:
    with Reporting(node, context, "the folder's name"):
        read_name(name)
        if name == PREVIOUS:
            raise InvalidValue(f"`{name}` is the track before, in `finally`", "Choose another name.")
    given = node.value.get("name")
    if isinstance(given, str) and given != name:
        context.add_problem(
            node.parts["name"], f"the track is named `{given}`, but its folder `{name}`", f"Write `name: {name}`."
        )


def _check_days(shape: Any, node: Node, context: ParseContext) -> None:
    if shape is not None and shape.starts_on and shape.ends_on and shape.ends_on < shape.starts_on:
        context.add_problem(node.parts["ends_on"], "the track ends before it starts", "Write a later day.")


def _finally(name: str, node: Node, context: ParseContext) -> TrackDestination | None:
    inner = node.part("finally")
    if inner is None:
        return None
    to = read_track_destination(inner, context, f"{name} has no more steps")
    if to == ToTrack(name):
        context.add_problem(inner, "`finally` leads back to this track", "Use `repeat:`, or name another track.")
    return to


def _audience(node: Node, context: ParseContext) -> Condition | None:
    inner = node.part("audience")
    if inner is None:
        return None
    known_emails = KnownEmails(None, unavailable_reason="an audience is evaluated before any email is sent")
    return read_condition(inner, known_emails, context)


def _calls_to_action(name: str, emails: Mapping[str, str], context: ParseContext) -> frozenset[str]:
    files = {email: f"{FOLDER}{name}/{email}.md" for email in emails}
    return frozenset(email for email, text in emails.items() if is_call_to_action(files[email], text, context))


def _plain_values(shape: TrackShape | None) -> dict[str, Any]:
    """Return the values of a program that are those of track.yaml."""
    if shape is None:
        return {"goal": "", "priority": 0}
    names = ("goal", "priority", "spread", "per_hour", "topic", "takes_over", "starts_on", "ends_on")
    return {"moved_steps": dict(shape.moved_to), **{name: getattr(shape, name) for name in names}}


def _pieces(name: str, emails: Mapping[str, str], context: ParseContext) -> dict[str, str]:
    pieces = {email: read_piece(f"{FOLDER}{name}/{email}.md", text, context) for email, text in emails.items()}
    return {email: piece for email, piece in pieces.items() if piece}


def _exits(
    name: str,
    audience: Condition | None,
    finally_: TrackDestination,
    known_emails: KnownEmails,
    node: Node,
    context: ParseContext,
) -> tuple[Exit, ...]:
    """Read `until` and `exit_when`: a condition, or `when` with where the lead goes `then`."""
    exits = []
    for key, kind in (("until", ExitKind.GOAL), ("exit_when", ExitKind.EXIT)):
        inner = node.part(key)
        if inner is None:
            continue
        when: Node | None = inner
        to: TrackDestination | None = finally_
        if isinstance(inner.value, dict) and not {"when", "then"}.isdisjoint(inner.value):
            read_shape(_ExitShape, inner, context, f"`{key}`")
            when, then = inner.part("when"), inner.part("then")
            to = read_track_destination(then, context, f"{key} of {name}") if then is not None else finally_
            if to == ToTrack(name):
                context.add_problem(then or inner, f"`{key}` leads back to this track", "Name another destination.")
        condition = read_condition(when, known_emails, context) if when is not None else None
        if condition is None or to is None:
            continue
        if condition in (AllOf(()), audience):
            what = "always met" if condition == AllOf(()) else "the same as `audience`"
            instead = "Write what a lead does or becomes on this track, such as `{field: plan, is: paid}`."
            context.add_problem(inner, f"`{key}` is {what}: each lead would leave as soon as it enters", instead)
        exits.append(Exit(kind, condition, to))
    return tuple(exits)


def _re_entry(node: Node, context: ParseContext) -> ReEntry:
    given = node.value.get("re_entry", "never")
    if given == "never" or not isinstance(given, str):
        return ReEntry()
    with Reporting(node.parts["re_entry"], context, "`re_entry`"):
        return ReEntry(_days_after(given))
    return ReEntry()


def _days_after(given: str) -> int:
    if not given.startswith("after "):
        raise InvalidValue(f"`{given}` is not a re-entry rule", "Write `never` or for example `after 90 days`.")
    return read_span(given.removeprefix("after ")).days


def _emails(name: str, sources: Sources) -> dict[str, str]:
    folder = f"{FOLDER}{name}/"
    return {
        path.removeprefix(folder).removesuffix(".md"): text
        for path, text in sorted(sources.items())
        if path.startswith(folder) and path.endswith(".md") and path != f"{folder}README.md"
    }


def _check_emails(
    name: str, steps: list[Step], emails: Mapping[str, str], context: ParseContext, *, has_unreadable_steps: bool
) -> None:
    has_unreadable_steps = has_unreadable_steps or any(
        step.verb == "email" and step.shape is None for step in every_step(steps)
    )
    used: set[str] = set()
    for step in every_step(steps):
        if step.verb != "email" or step.shape is None:
            continue
        for email in step.shape.email:
            if email not in emails and email not in used:
                what = f"there is no email file `{email}.md` in {FOLDER}{name}/"
                context.add_problem(step.node.parts["email"], what, suggest(email, emails, "Write the file."))
            used.add(email)
    for email, text in emails.items():
        file = f"{FOLDER}{name}/{email}.md"
        if split_language(email)[0] not in used and not has_unreadable_steps:
            instead = f"Add a step `- email: {email}`, or remove the file."
            context.add_problem(Node(file, 1, None), "no step of track.yaml sends this email", instead)
        check_front_matter(file, text, context)
