"""Read one broadcast's folder: broadcast.yaml and its email."""

from datetime import UTC, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.conditions import KnownEmails, read_condition
from nurture.definitions.defaults import Defaults
from nurture.definitions.email_files import check_email_files, emails_in, read_layouts, read_program_defaults
from nurture.definitions.folder import Sources, email_folder
from nurture.definitions.languages import split_language
from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.tracks import ParsedTrack, check_name, read_audience, read_main_file
from nurture.definitions.values import Line, LocalTime, Name, Spread, ZoneOrLead
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.lead import Closing
from nurture.domain.planning import calendar
from nurture.domain.planning.calendar import Delay, Schedule
from nurture.domain.planning.conditions import AllOf
from nurture.domain.planning.program import (
    FINALLY,
    Email,
    End,
    Exit,
    ExitKind,
    Program,
    ReEntry,
    ToClosed,
)
from nurture.errors import suggest

_NOWHERE: Final = ToClosed(Closing.UNREACHABLE, "")
"""The destination of a program that moves nobody."""


class BroadcastShape(Shape):
    """The keys of broadcast.yaml."""

    name: Name = Field(examples=["spring-webinar"])
    goal: Line = Field("", examples=["Fill the spring webinar"])
    for_: Literal["leads", "customers"] = Field("leads", alias="for", examples=["customers"])
    audience: Any = Field(examples=["{field: country, in: [DE, AT, CH]}"])
    priority: int = Field(0, examples=["10"])
    topic: str = Field("", examples=["Webinars"])
    email: Name | None = Field(None, examples=["invitation"])
    when: LocalTime = Field(examples=["2027-03-02 10:00"])
    zone: ZoneOrLead = Field("", examples=["Europe/Berlin"])
    not_after: LocalTime | None = Field(None, examples=["2027-03-04 17:00"])
    spread: Spread = Field(timedelta(), examples=["2 hours"])
    per_hour: int | None = Field(None, ge=1, examples=["500"])
    batch: bool = Field(False, examples=["yes"])
    sender: Any = Field(None, examples=["{name: Nora from Larkfield}"])
    send: Any = Field(None, examples=["{between: 09:00-17:00}"])
    utm: Any = Field(None, examples=["{campaign: spring-fair}"])
    until: Any = Field(None, examples=["{did: registered}"])


def read_broadcast(name: str, sources: Sources, defaults: Defaults, context: ParseContext) -> ParsedTrack | None:
    """Read the broadcast *name* (`broadcasts/NAME`) as a program of one email; None if its YAML cannot be read."""
    folder = email_folder(name)
    node = read_main_file(f"{folder}broadcast.yaml", sources, context)
    if node is None:
        return None
    shape = read_shape(BroadcastShape, node, context, "the broadcast")
    check_name(name.rpartition("/")[2], node, "the broadcast", context)
    emails = emails_in(folder, sources)
    email = _find_email(folder, shape, emails, node, context)
    unsent = "broadcast.yaml names another email", "Write one broadcast for each email, or remove the file."
    check_email_files(folder, emails, {email} if email else set(emails), unsent, defaults, context)
    topic, plain = (shape.topic, shape) if shape is not None else ("", None)
    names = ("goal", "priority", "topic", "spread", "per_hour", "batch")
    program = Program(
        track=name,
        version=0,
        instructions=(Email(email, (email,), Delay()), End(FINALLY, _NOWHERE)),
        audience=read_audience(node, context),
        re_entry=ReEntry(),
        caps=defaults.caps_for(topic),
        exits=_goal(node, context),
        for_customers=shape is not None and shape.for_ == "customers",
        schedule=_schedule(shape, defaults) if shape is not None else None,
        **read_program_defaults(folder, emails, node, defaults, context),
        **({one: getattr(plain, one) for one in names} if plain is not None else {"goal": "", "priority": 0}),
    )
    if shape is not None:
        _check_schedule(program, node, context)
    return ParsedTrack(program, emails, read_layouts(folder, emails, defaults, sources, context), node)


def _find_email(
    folder: str, shape: BroadcastShape | None, emails: dict[str, str], node: Node, context: ParseContext
) -> str:
    """Return the email that is sent: the one that is named, or the only one; "" if there is none."""
    names = sorted({split_language(one)[0] for one in emails})
    named = shape.email if shape is not None else None
    if named is None and len(names) == 1:
        return names[0]
    if named in names:
        return named or ""
    if named is not None:
        what, remedy = f"there is no email file `{named}.md` in {folder}", suggest(named, names, "Write the file.")
    elif names:
        what, remedy = f"there are {len(names)} emails in {folder}", f"Write which one is sent: `email: {names[0]}`."
    else:
        what, remedy = f"there is no email in {folder}", "Write it, for example as invitation.md."
    context.add_problem(node.part("email") or node, what, remedy)
    return ""


def _schedule(shape: BroadcastShape, defaults: Defaults) -> Schedule:
    return Schedule(shape.when, shape.not_after or shape.when + defaults.sending.grace, shape.zone)


def _goal(node: Node, context: ParseContext) -> tuple[Exit, ...]:
    inner = node.part("until")
    if inner is None:
        return ()
    known = KnownEmails(None, "the goal of a broadcast names the activity without an email")
    condition = read_condition(inner, known, context)
    if condition == AllOf(()):
        context.add_problem(inner, "`until` is always met: nobody would get it", "Write `{did: registered}` or so.")
    return (Exit(ExitKind.GOAL, condition, _NOWHERE),) if condition is not None else ()


def _check_schedule(program: Program, node: Node, context: ParseContext) -> None:
    """Report a broadcast that nobody can get, and one whose time the send window moves."""
    schedule = program.schedule
    assert schedule is not None
    if schedule.not_after <= schedule.when:
        context.add_problem(node.part("not_after") or node, "`not_after` is before `when`", "Write a later time.")
        return
    if program.spread and schedule.when + program.spread > schedule.not_after:
        what = "the spread ends after `not_after`: those who come last would not get it"
        context.add_problem(node.parts["spread"], what, "Write a shorter `spread`, or a later `not_after`.")
    when = schedule.when.replace(tzinfo=UTC)  # as if all lived in one zone: windows and schedules are local times
    opens_at = calendar.next_open(program.window, "UTC", (), when)
    if opens_at > when:
        moved = f"emails go only later: on {opens_at:%A} at {opens_at:%H:%M}"
        what, remedy = f"`when` is outside the send window, so {moved}", "Write another time, or `send:` for it."
        if opens_at > schedule.not_after.replace(tzinfo=UTC):
            context.add_problem(node.parts["when"], f"{what}, which is after `not_after`", remedy)
        else:
            context.warn(node.parts["when"], what, remedy)
