"""Read `utm:`, the parameters by which web analytics tell the visits of a track."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.schema_check import InvalidValue, Shape, read_shape
from nurture.definitions.yaml_reader import Node, ParseContext

_MAX_LENGTH: Final = 100


def _read_value(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > _MAX_LENGTH or not given.isprintable():
        raise InvalidValue(f"`{given}` is not a value of a link", "Write a short text, for example `newsletter`.")
    if "{" in given:
        raise InvalidValue(f"`{given}` has a tag", "Write the value itself: it is the same for all leads.")
    return given.strip()


Value = Annotated[str, PlainValidator(_read_value)]


class UtmShape(Shape):
    """The keys under `utm:`; the campaign is by default the track, the content the email."""

    source: Value | None = Field(None, examples=["newsletter"])
    medium: Value | None = Field(None, examples=["email"])
    campaign: Value | None = Field(None, examples=["spring-fair"])
    content: Value | None = Field(None, examples=["second-mail"])
    term: Value | None = Field(None, examples=["planning"])


def read_utm(node: Node | None, defaults: Mapping[str, str], context: ParseContext) -> Mapping[str, str]:
    """Return *defaults* with `utm:` applied, by name without `utm_`; `utm: no` and no source mean none at all."""
    if node is None or node.value is False:
        return defaults if node is None else {}
    shape = read_shape(UtmShape, node, context, "`utm`")
    if shape is None:
        return defaults
    found = {"medium": "email", **defaults, **shape.model_dump(exclude_none=True)}
    if "source" not in found:
        context.add_problem(node, "`utm` has no `source`", "Write for example `source: newsletter`.")
    return found
