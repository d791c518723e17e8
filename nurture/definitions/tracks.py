"""Read one track's folder: track.yaml and its emails."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.cap_checks import check_send_times
from nurture.definitions.caps import read_track_cap
from nurture.definitions.conditions import KnownEmails, read_condition
from nurture.definitions.defaults import Defaults
from nurture.definitions.destinations import PREVIOUS, read_track_destination
from nurture.definitions.email_files import check_email_files, emails_in, read_layouts, read_program_defaults
from nurture.definitions.folder import Sources, email_folder
from nurture.definitions.program_compiler import ProgramCompiler, check_moved_steps, check_program, email_steps
from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_shape
from nurture.definitions.steps import Step, StepReader, every_step
from nurture.definitions.values import Line, Name, Spread, read_name, read_span
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.lead import Closing
from nurture.domain.planning.conditions import AllOf, Condition
from nurture.domain.planning.program import Exit, ExitKind, Program, ReEntry, ToClosed, ToTrack, TrackDestination
from nurture.errors import suggest

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
    batch: bool = Field(False, examples=["yes"])
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


def names_in(folder: str, sources: Sources) -> list[str]:
    """Return the names of the folders below *folder*, such as tracks/."""
    return sorted({path.split("/")[1] for path in sources if path.startswith(folder) and path.count("/") >= 2})


def read_track(name: str, sources: Sources, defaults: Defaults, context: ParseContext) -> ParsedTrack | None:
    """Read the track in the folder *name*; None if track.yaml cannot be read. Problems are added to *context*."""
    node = read_main_file(f"{email_folder(name)}track.yaml", sources, context)
    if node is None:
        return None
    shape = read_shape(TrackShape, node, context, "the track")
    check_name(name, node, "the track", context)
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
    audience = read_audience(node, context)
    exits = _exits(name, audience, end, known_emails, node, context)
    folder = email_folder(name)
    emails = emails_in(folder, sources)
    sent = _check_emails(folder, steps, emails, context)
    if unread or any(step.verb == "email" and step.shape is None for step in every_step(steps)):
        sent = set(emails)
    unsent = "no step of track.yaml sends this email", "Add a step `- email: {}`, or remove the file."
    check_email_files(folder, emails, sent, unsent, defaults, context)
    topic = shape.topic if shape else ""
    cap, exempt = read_track_cap(name, node.part("cap"), context)
    program = Program(
        track=name,
        version=0,
        instructions=instructions,
        audience=audience,
        re_entry=_re_entry(node, context),
        caps=defaults.caps_for(topic, cap),
        exempt=exempt,
        exits=exits,
        for_customers=shape is not None and shape.for_ == "customers",
        **read_program_defaults(folder, emails, node, defaults, context),
        **_plain_values(shape),
    )
    check_send_times(steps, program.window, context)
    return ParsedTrack(program, emails, read_layouts(folder, emails, defaults, sources, context), node)


def read_main_file(file: str, sources: Sources, context: ParseContext) -> Node | None:
    """Return the YAML file of a track or of a broadcast; None, with the problem reported, if it cannot be read."""
    if file in sources:
        return read_yaml(file, sources[file], context)
    what, instead = "this file is missing", "Write it, or remove the folder."
    if file.removesuffix(".yaml") + ".yml" in sources:
        name = file.rpartition("/")[2]
        instead = f"Rename {name.removesuffix('.yaml')}.yml to {name}."
    context.add_problem(Node(file, 1, None), what, instead)
    return None


def check_name(name: str, node: Node, what: str, context: ParseContext) -> None:
    """Report a folder that no name can be, and a `name:` that is not that of the folder; *what* has it."""
    with Reporting(node, context, "the folder's name"):
        read_name(name)
        if name == PREVIOUS:
            raise InvalidValue(f"`{name}` is the track before, in `finally`", "Choose another name.")
    given = node.value.get("name")
    if isinstance(given, str) and given != name:
        context.add_problem(
            node.parts["name"], f"{what} is named `{given}`, but its folder `{name}`", f"Write `name: {name}`."
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


def read_audience(node: Node, context: ParseContext) -> Condition | None:
    """Read `audience`: which leads a track or a broadcast takes; None without one."""
    inner = node.part("audience")
    if inner is None:
        return None
    known_emails = KnownEmails(None, unavailable_reason="an audience is evaluated before any email is sent")
    return read_condition(inner, known_emails, context)


def _plain_values(shape: TrackShape | None) -> dict[str, Any]:
    """Return the values of a program that are those of track.yaml."""
    if shape is None:
        return {"goal": "", "priority": 0}
    names = ("goal", "priority", "spread", "per_hour", "topic", "takes_over", "starts_on", "ends_on", "batch")
    return {"moved_steps": dict(shape.moved_to), **{name: getattr(shape, name) for name in names}}


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


def _check_emails(folder: str, steps: list[Step], emails: Mapping[str, str], context: ParseContext) -> set[str]:
    """Report steps whose email has no file; return the emails of all steps."""
    used: set[str] = set()
    for step in every_step(steps):
        if step.verb != "email" or step.shape is None:
            continue
        for email in step.shape.email:
            if email not in emails and email not in used:
                what = f"there is no email file `{email}.md` in {folder}"
                context.add_problem(step.node.parts["email"], what, suggest(email, emails, "Write the file."))
            used.add(email)
    return used
