"""Warn about conditions on fields that no lead can meet, and about audiences that tie."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from nurture.definitions.conditions import KnownEmails, read_condition
from nurture.definitions.fields import BUILT_IN
from nurture.definitions.folder import FIELDS as FILE
from nurture.definitions.values import DAYS_OF_WEEK
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.fields import COMPUTED, FieldDefinition, Fields, FieldType
from nurture.domain.lead import OWNER, FieldValue
from nurture.domain.planning.comparisons import Comparison, to_number
from nurture.domain.planning.conditions import AllOf, AnyOf, Condition
from nurture.domain.planning.dates import FIRST_CONTACT, parse_date
from nurture.domain.planning.program import Program, SetField
from nurture.domain.policy.policy import Policy
from nurture.domain.problems import Problem, faults
from nurture.errors import InvalidDefinitions, suggest
from nurture.formats.lead_row import FIELDS
from nurture.formats.places import country_code

_QUOTES: Final = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a"
_COMPARES_NUMBERS: Final = frozenset({Comparison.AT_LEAST, Comparison.AT_MOST})
DECLARE: Final = "If an import keeps a column of this name, declare it in fields.yaml"


def add_set_fields(fields: Fields, programs: Iterable[Program]) -> Fields:
    """Return *fields* with those that only `set:` steps write, with the type of their value."""
    types: dict[type, FieldType] = {bool: FieldType.YES_NO, int: FieldType.NUMBER, float: FieldType.NUMBER}
    written = {
        step.name: FieldDefinition(step.name, types.get(type(step.value)) or _type_of_text(str(step.value)))
        for program in programs
        for step in program.instructions
        if isinstance(step, SetField)
    }
    return {**written, **fields}


def _type_of_text(text: str) -> FieldType:
    return FieldType.TEXT if parse_date(text) is None else FieldType.DATE


def parse_condition(text: str, declared: Fields) -> tuple[Condition, list[Problem]]:
    """Return the condition of a command line, written as in track.yaml, and warnings about fields that no lead has.

    Raises InvalidDefinitions.
    """
    context = ParseContext(fields={**BUILT_IN, **declared})
    written = read_yaml("--where", f"where: {text}", context)
    node = written.part("where") if written is not None else None
    known = KnownEmails(None, "name the track by `in_track`, and the activity without an email")
    condition = read_condition(node, known, context) if node is not None else None
    check_field_conditions(context.fields, context)
    if condition is None or faults(context.problems):
        raise InvalidDefinitions(faults(context.problems))
    return condition, context.problems


def check_field_conditions(fields: Fields, context: ParseContext) -> None:
    """Warn about each condition on a field that does not exist or has no such values."""
    for node, condition in context.field_conditions:
        values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        quoted = [value for value in values if isinstance(value, str) and value.strip(_QUOTES) != value]
        for value in quoted:
            message = f"the typographic quotes of {value} are part of the word, so nothing contains it"
            context.warn(node, message, f'Write "{value.strip(_QUOTES)}", in straight quotes.')
        if condition.comparison is Comparison.CONTAINS and not isinstance(condition.value, tuple):
            _check_word(str(condition.value), node, context)
        if condition.name not in fields or condition.name in COMPUTED:
            near = suggest(condition.name, fields.keys() - COMPUTED, " ").strip()
            if condition.name in FIELDS:  # an import uses it for itself
                context.warn(node, f"`{condition.name}` is not for conditions", near or "Use another field.")
            else:
                context.warn(node, f"no field is called `{condition.name}`", f"{near} {DECLARE}".strip())
        elif condition.comparison is not Comparison.EXISTS and not quoted:
            field = fields[condition.name]
            for message, suggestion in dict.fromkeys(find_mismatches(field, condition.comparison, values)):
                context.warn(node, message, suggestion)


def _check_word(word: str, node: Node, context: ParseContext) -> None:
    """Warn about a word that no text contains as it is meant: a list in one text, a wildcard."""
    if ", " in word:
        listed = ", ".join(part.strip() for part in word.split(","))
        context.warn(node, f"`{word}` is one text with a comma, not a list", f"Write `contains: [{listed}]`.")
    elif "*" in word:
        context.warn(node, f"the `*` of `{word}` stands for itself", f"Write `contains: {word.replace('*', '')}`.")


def check_owner_names(policy: Policy, context: ParseContext) -> None:
    """Warn about each condition that names a rep by id or address: `owner` is the name of the rep."""
    for node, condition in context.field_conditions:
        if condition.name == OWNER and condition.comparison is not Comparison.CONTAINS:
            for value in condition.value if isinstance(condition.value, tuple) else (condition.value,):
                rep = policy.reps_by_label.get(str(value).casefold())
                if rep is not None and rep.name.casefold() != str(value).casefold():
                    context.warn(node, f"`owner` is the name of a rep, and never `{value}`", f"Write `{rep.name}`.")


def find_mismatches(
    field: FieldDefinition, comparison: Comparison, values: Iterable[FieldValue]
) -> Iterable[tuple[str, str]]:
    """Yield message and remedy for each of *values* that *field* never has."""
    name = field.name
    if comparison in _COMPARES_NUMBERS and field.type not in (FieldType.NUMBER, FieldType.TEXT):
        yield f"`{name}` is of type {field.type}, so `{comparison}` never holds", "Write `is:`."
        return
    for value in values:
        is_flag = isinstance(value, bool)
        if field.type is FieldType.YES_NO and not is_flag:
            yield f"`{name}` is yes or no, not the word `{value}`", "Write `yes` or `no` without quotes."
        elif is_flag and field.type is not FieldType.YES_NO:
            word = "yes" if value else "no"
            yield f"`{name}` is of type {field.type}, and never {word}", f'Write "{word}" in quotes, if it is a word.'
        elif field.type is FieldType.NUMBER and to_number(value) is None:
            yield f"`{name}` is a number, not `{value}`", "Write for example `at_least: 50`."
        elif field.type is FieldType.CHOICE and str(value).casefold() not in map(str.casefold, field.choices):
            if comparison is not Comparison.CONTAINS:
                yield f"`{name}` is never `{value}`", suggest(str(value), field.choices)
        elif name == "country" and (code := country_code(str(value))) != str(value).upper():
            remedy = f"Write `{code}`." if code else "Write its two letters, such as `DE`."
            yield f"`country` is a code of two letters, not `{value}`", remedy


def check_dates(fields: Fields, context: ParseContext) -> None:
    """Report each date that is no field, or a field that is no date."""
    dates = [name for name, field in fields.items() if field.type is FieldType.DATE]
    for node, name in context.date_references:
        if name == FIRST_CONTACT or name in dates:
            continue
        if name in fields:
            remedy = (
                "Use another field." if fields[name].is_built_in else f"Declare it in {FILE}: `{name}: {{type: date}}`."
            )
            context.add_problem(node, f"`{name}` is of type {fields[name].type}, and no date", remedy)
        else:
            remedy = suggest(
                name, [*dates, FIRST_CONTACT, *DAYS_OF_WEEK], f"Declare it in {FILE}: `{name}: {{type: date}}`."
            )
            context.add_problem(node, f"no date is called `{name}`", remedy)


def check_ties(programs: Mapping[str, Program], nodes: Mapping[str, Node], context: ParseContext) -> None:
    """Warn about tracks with the same audience and priority."""
    first: dict[tuple[Condition | None, int, bool], str] = {}
    for name, program in sorted(programs.items()):
        if program.audience in (None, AnyOf(())):
            continue
        winner = first.setdefault((program.audience, program.priority, program.for_customers), name)
        if winner != name:
            message = f"`{winner}` has the same audience and priority: `{winner}`, first by name, gets all its leads"
            context.warn(nodes[name], message, "Give one of them a higher `priority`, or another audience.")


def check_reach(programs: Mapping[str, Program], nodes: Mapping[str, Node], context: ParseContext) -> None:
    """Warn about a track for everybody that no track of lower priority gets a new lead beside."""
    for name, program in sorted(programs.items()):
        if program.audience != AllOf(()) or program.starts_on or program.ends_on:
            continue
        hidden = [
            other
            for other, one in sorted(programs.items())
            if one.priority < program.priority
            and one.audience not in (None, AnyOf(()), AllOf(()))
            and one.for_customers == program.for_customers
        ]
        if hidden:
            shown = ", ".join(f"`{other}`" for other in hidden)
            message = f"everybody enters `{name}` first: its priority {program.priority} is above that of {shown}"
            context.warn(nodes[name], message, "Give it the lowest `priority`, or an `audience` of its own.")


def check_topics(programs: Mapping[str, Program], nodes: Mapping[str, Node], context: ParseContext) -> None:
    """Warn about topics that differ by a letter or two: a lead would choose them one by one."""
    topics: dict[str, str] = {}
    for name, program in sorted(programs.items()):
        key = program.topic_key
        near = get_close_matches(key, topics, n=1, cutoff=0.88) if key and key not in topics else []
        if near:
            message = f"the topic `{program.topic}` is not `{topics[near[0]]}`: leads choose and refuse each by itself"
            context.warn(nodes[name], message, f"Write `topic: {topics[near[0]]}` if both are the same.")
        if key:
            topics.setdefault(key, program.topic)
