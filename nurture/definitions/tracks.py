"""Read one track's folder: track.yaml and its emails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from nurture.definitions.conditions import KnownEmails, read_condition
from nurture.definitions.defaults import Defaults, override_sender, read_sending
from nurture.definitions.destinations import read_destination
from nurture.definitions.email_front_matter import check_front_matter, email_layout, is_call_to_action
from nurture.definitions.folder import Sources
from nurture.definitions.program_compiler import ProgramCompiler, check_moved_steps, check_program, email_steps
from nurture.definitions.schema_check import InvalidValue, Reporting, Shape, read_shape
from nurture.definitions.steps import Step, StepReader, every_step
from nurture.definitions.values import Line, Name, read_name, read_span
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.lead import Closing
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.program import Destination, Program, ReEntry, ToClosed, ToTrack
from nurture.errors import suggest

FOLDER: Final = "tracks/"
_FALLBACK_DESTINATION: Final = ToClosed(Closing.UNREACHABLE, "")


class TrackShape(Shape):
    """The keys of track.yaml."""

    name: Name = Field(examples=["webinar-attended"])
    goal: Line = Field(examples=["Bring attendees to a first talk with sales"])
    audience: Any = Field(examples=["{field: attended, is: yes}"])
    priority: int = Field(0, examples=["10"])
    re_entry: str = Field("never", examples=["after 90 days"])
    topic: str = Field("", examples=["Webinars"])
    sender: Any = Field(None, examples=["{name: Nora from Larkfield}"])
    send: Any = Field(None, examples=["{between: 09:00-17:00}"])
    steps: Any = Field(examples=["[{email: 01-thanks}]"])
    finally_: Any = Field(alias="finally", examples=["keep-warm"])
    moved_to: dict[str, Any] = Field(default_factory=dict, examples=["{old-step: new-step}"])


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
    file = f"{FOLDER}{name}/track.yaml"
    if file not in sources:
        what, instead = "this file is missing", "Write it, or remove the folder."
        if file.removesuffix(".yaml") + ".yml" in sources:
            instead = "Rename track.yml to track.yaml."
        context.add_problem(Node(file, 1, None), what, instead)
        return None
    node = read_yaml(file, sources[file], context)
    if node is None:
        return None
    shape = read_shape(TrackShape, node, context, "the track")
    _check_name(name, node, context)
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
    instructions = ProgramCompiler(name, known_emails, finally_ or _FALLBACK_DESTINATION, context).program(steps)
    if len(context.problems) == before and shape is not None:
        check_program(instructions, steps, context)
        check_moved_steps(shape.moved_to, node.part("moved_to") or node, tree.ids, context)
    emails = _emails(name, sources)
    _check_emails(name, steps, emails, context, has_unreadable_steps=unread)
    sending = read_sending(node.part("send"), defaults.sending, context)
    program = Program(
        track=name,
        version=0,
        goal=shape.goal if shape else "",
        instructions=instructions,
        audience=_audience(node, context),
        priority=shape.priority if shape else 0,
        re_entry=_re_entry(node, context),
        sender=override_sender(node.part("sender"), defaults.sender, context),
        window=sending.window,
        grace=sending.grace,
        cap=defaults.cap,
        zone_fallback=sending.zone_fallback,
        topic=shape.topic if shape else "",
        moved_steps=dict(shape.moved_to) if shape else {},
        calls_to_action=frozenset(
            email for email, text in emails.items() if is_call_to_action(f"{FOLDER}{name}/{email}.md", text, context)
        ),
    )
    layouts = {
        email: email_layout(f"{FOLDER}{name}/{email}.md", text, defaults.layout, sources, context)
        for email, text in emails.items()
    }
    return ParsedTrack(program, emails, layouts, node)


def _check_name(name: str, node: Node, context: ParseContext) -> None:
    with Reporting(node, context, "the folder's name"):
        read_name(name)
    given = node.value.get("name")
    if isinstance(given, str) and given != name:
        context.add_problem(
            node.parts["name"], f"the track is named `{given}`, but its folder `{name}`", f"Write `name: {name}`."
        )


def _finally(name: str, node: Node, context: ParseContext) -> Destination | None:
    inner = node.part("finally")
    if inner is None:
        return None
    to = read_destination(inner, context, f"{name} has no more steps")
    if to == ToTrack(name):
        context.add_problem(inner, "`finally` leads back to this track", "Use `repeat:`, or name another track.")
    return to


def _audience(node: Node, context: ParseContext) -> Condition | None:
    inner = node.part("audience")
    if inner is None:
        return None
    known_emails = KnownEmails(None, unavailable_reason="an audience is evaluated before any email is sent")
    return read_condition(inner, known_emails, context)


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
        if email not in used and not has_unreadable_steps:
            instead = f"Add a step `- email: {email}`, or remove the file."
            context.add_problem(Node(file, 1, None), "no step of track.yaml sends this email", instead)
        check_front_matter(file, text, context)
