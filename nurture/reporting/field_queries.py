"""The list of all fields, with the leads that have them and examples: two statements."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import String, cast, func, select, true

from nurture.db.tables.leads import lead
from nurture.domain.fields import COMPUTED, FieldDefinition, Fields, FieldType
from nurture.runtime.context import AppContext

_FLAGS: Final = {"1": "yes", "0": "no", "true": "yes", "false": "no"}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field; *coverage* is the share of leads that have it, 0 to 1, None if emails compute it."""

    name: str
    type: str
    label: str
    declared: bool
    leads: int
    coverage: float | None
    examples: tuple[str, ...]


def list_fields(ctx: AppContext, fields: Fields) -> list[FieldRow]:
    """Return *fields* and the others that leads have, by name; examples are the first and the last value."""
    with ctx.database.read() as tx:
        each_pair: Any = func.json_each if tx.is_sqlite else func.jsonb_each_text
        pairs = each_pair(lead.c.fields).table_valued("key", "value")
        value = cast(pairs.c.value, String)
        counts = select(pairs.c.key, func.count(), func.min(value), func.max(value)).group_by(pairs.c.key)
        query = counts.select_from(lead.join(pairs, true())).where(value != "")
        total = tx.execute(select(func.count()).select_from(lead).where(lead.c.erased_at.is_(None))).scalar_one()
        uses = {name: (count, examples) for name, count, *examples in tx.execute(query)}
    found = []
    for name in sorted({*fields, *uses}):
        field = fields.get(name, FieldDefinition(name))
        count, examples = uses.get(name, (0, ()))
        texts = dict.fromkeys(_FLAGS.get(one, one) if field.type is FieldType.YES_NO else one for one in examples)
        share = None if name in COMPUTED else count / max(total, 1)
        shown = () if field.personal else tuple(texts)
        found.append(FieldRow(name, field.type, field.label, name in fields, count, share, shown))
    return found
