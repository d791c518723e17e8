"""Define all fields of leads: the built-in ones, and those that templates/fields.yaml declares."""

import dataclasses
from typing import Final, Literal

from pydantic import Field

from nurture.definitions.folder import FIELDS, Sources
from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Line
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.fields import COMPUTED, FieldDefinition, Fields, FieldType
from nurture.domain.planning.dates import FIRST_CONTACT
from nurture.domain.scoring.bant import AUTHORITY, BUDGET, NEED, Confidence
from nurture.formats import lead_row
from nurture.formats.columns import custom_field_name
from nurture.formats.status_mapping import LeadStatus

_TYPES: Final = {"int": FieldType.NUMBER, "bool": FieldType.YES_NO, "LeadStatus": FieldType.CHOICE}
_STATUSES: Final = tuple(status.value for status in LeadStatus)
_CONFIDENCES: Final = tuple(one.name.lower() for one in Confidence)


def _built_in() -> dict[str, FieldDefinition]:
    types = {one.name: _TYPES.get(str(one.type).split()[0]) for one in dataclasses.fields(lead_row.LeadRow)}
    types = {name: type_ for name, type_ in types.items() if name in lead_row.STORED_FIELDS or name in COMPUTED}
    types["purchase_timeframe_days"] = FieldType.NUMBER
    for name in (BUDGET, AUTHORITY, NEED):
        types |= {f"{name}_source": None, f"{name}_stated_on": FieldType.DATE, f"{name}_confidence": FieldType.CHOICE}
    return {
        name: FieldDefinition(
            name,
            type_ or FieldType.TEXT,
            name.replace("_", " ").capitalize(),
            choices=_STATUSES if name == "status" else _CONFIDENCES if type_ is FieldType.CHOICE else (),
            personal=name in lead_row.PERSONAL_FIELDS,
            is_built_in=True,
        )
        for name, type_ in sorted(types.items())
    }


BUILT_IN: Final[Fields] = _built_in()
"""The fields that every installation has."""


class FieldShape(Shape):
    """The keys of a field in fields.yaml."""

    type: Literal["text", "number", "date", "yes/no", "choice"] = Field("text", examples=["number"])
    label: Line = Field("", examples=["Rating at the booth"])
    columns: list[Line] = Field([], examples=["[Booth Rating]"])
    choices: list[Line] = Field([], examples=["[hot, warm, cold]"])
    fallback: Line = Field("", examples=["there"])
    personal: bool = Field(default=False, examples=["yes"])


def read_fields(sources: Sources, context: ParseContext) -> Fields:
    """Return the built-in fields and those of fields.yaml; an invalid one is reported and left out."""
    node = read_yaml(FIELDS, sources[FIELDS], context) if FIELDS in sources else None
    found = dict(BUILT_IN)
    for name, part in ((str(key), part) for key, part in node.parts.items()) if node is not None else ():
        shape = read_shape(FieldShape, part, context, f"the field `{name}`")
        if shape is not None:
            _check(name, part, shape, context)
            given = shape.model_dump(exclude_unset=True)
            given |= {key: tuple(given[key]) for key in ("columns", "choices") if key in given}
            given |= {"type": FieldType(given["type"])} if "type" in given else {}
            base = BUILT_IN.get(name) or FieldDefinition(name, label=name.replace("_", " ").capitalize())
            found[name] = dataclasses.replace(base, **given)
    return found


def _check(name: str, node: Node, shape: FieldShape, context: ParseContext) -> None:
    own_name = custom_field_name(name)
    if name in BUILT_IN:
        remedy = "Remove it, or declare a field of another name. `--mapping` maps columns to built-in fields."
        for part in (node.parts[key] for key in ("type", "columns", "choices") if key in node.parts):
            context.add_problem(part, f"`{name}` is built in: it has a type and columns", remedy)
    elif name in lead_row.FIELDS or name in ("id", FIRST_CONTACT):
        context.add_problem(node, f"`{name}` has a meaning of its own", "Choose another name.")
    elif name != own_name or not name.isidentifier():
        context.add_problem(node, f"`{name}` is not a name of a field", f"Write `{own_name or 'booth_rating'}:`.")
    if bool(shape.choices) != (shape.type == "choice"):
        what = f"`{name}`: `choices` and `type: choice` belong together"
        context.add_problem(node, what, "Write both, or none of them.")


def load_declared(sources: Sources) -> Fields:
    """Return the fields of a published fields.yaml that are not built in."""
    fields = read_fields(sources, ParseContext(complete=False))
    return {name: one for name, one in fields.items() if not one.is_built_in}
