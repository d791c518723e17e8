"""Make up leads that fit the audiences of templates, as a file that the real intake reads."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from nurture.domain.fields import Fields, FieldType
from nurture.domain.lead import FieldValue
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, AnyOf, Condition, FieldCondition, Not, PostcodeCondition
from nurture.domain.planning.date_conditions import DateCondition
from nurture.files import open_private
from nurture.formats.csv_writer import CsvWriter
from nurture.runtime.published import Definitions
from nurture.simulation.sales_behavior import draw

READY_SHARE: Final = 0.1
"""The share of leads that also fit a readiness rule of the policy: some are ready at once, some are discarded."""

_FIRST_NAMES: Final = ("Ana", "Ben", "Chloe", "David", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jonas", "Kim", "Lea")
_LAST_NAMES: Final = ("Almeida", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haas", "Ito", "Jensen")
_TITLES: Final = ("Head of Planning", "CFO", "Supply Chain Manager", "Buyer", "Operations Director", "Analyst")
_COUNTRIES: Final = ("DE", "FR", "GB", "US", "NL", "ES", "AT", "SE")
_INDUSTRIES: Final = ("Food", "Machinery", "Chemicals", "Retail")
_COLUMNS: Final = (
    "email", "first_name", "last_name", "title", "company", "industry", "employees", "country", "postcode",
    "lead_source", "consent_basis", "consent_source", "customer",
)  # fmt: skip
_YES_WORDS: Final = {True: "yes", False: "no"}

LeadFields = dict[str, FieldValue]


def write_leads(path: Path, definitions: Definitions, fields: Fields, count: int, seed: str, today: date) -> None:
    """Write *count* leads into a new CSV file: of each track some that fit its audience, others in every respect."""
    leads = [_make_lead(definitions, fields, number, seed, today) for number in range(1, count + 1)]
    used = {name for one in leads for name in one}
    header = [*(name for name in _COLUMNS if name in used), *sorted(used - set(_COLUMNS))]
    with open_private(path, "w", encoding="utf-8", newline="") as file:
        CsvWriter(file).write_rows([header, *([_as_text(one.get(name)) for name in header] for one in leads)])


def _make_lead(definitions: Definitions, fields: Fields, number: int, seed: str, today: date) -> LeadFields:
    def choose(options: tuple[FieldValue, ...], *occasion: object) -> FieldValue:
        return options[int(len(options) * draw(seed, number, *occasion))]

    first, last = str(choose(_FIRST_NAMES, "first")), str(choose(_LAST_NAMES, "last"))
    lead: LeadFields = {
        "email": f"{first}.{last}@company{number}.example".lower(),
        "first_name": first,
        "last_name": last,
        "title": choose(_TITLES, "title"),
        "company": f"Company {number}",
        "industry": choose(_INDUSTRIES, "industry"),
        "employees": 50 + int(2_000 * draw(seed, number, "employees") ** 2),
        "country": choose(_COUNTRIES, "country"),
        "lead_source": "Website",
        "consent_basis": "consent",
        "consent_source": "practice",
    }
    maker = _FieldMaker(fields, seed, number, today)
    programs = [one for one in definitions.programs.values() if one.audience is not None]
    if programs:
        program = programs[number % len(programs)]
        assert program.audience is not None
        lead |= {"customer": True} if program.for_customers else {}
        lead |= maker.satisfy(program.audience)
    rules = definitions.policy.readiness
    if rules and draw(seed, number, "ready") < READY_SHARE:
        lead |= maker.satisfy(rules[int(len(rules) * draw(seed, number, "rule"))].when)
    return lead


class _FieldMaker:
    """Finds values with which a lead meets conditions on its fields; what it does or scores cannot be made up."""

    def __init__(self, fields: Fields, seed: str, number: int, today: date) -> None:
        self._fields, self._seed, self._number, self._today = fields, seed, number, today

    def satisfy(self, condition: Condition) -> LeadFields:
        """Return the fields that a lead needs, None for one that it must not have."""
        match condition:
            case AllOf(parts=parts):
                return {name: value for part in parts for name, value in self.satisfy(part).items()}
            case AnyOf(parts=parts) if parts:
                return self.satisfy(parts[int(len(parts) * self._draw(repr(parts)))])
            case FieldCondition():
                return {condition.name: self._value(condition)}
            case DateCondition():
                return {condition.name: self._day(condition)}
            case PostcodeCondition(country=country, first=first):
                return {"country": country, "postcode": first.ljust(5, "0")}
            case Not(part=FieldCondition(name=name)):
                return {name: None}
            case _:
                return {}

    def _draw(self, *occasion: object) -> float:
        return draw(self._seed, self._number, *occasion)

    def _value(self, condition: FieldCondition) -> FieldValue:
        options = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        value = options[int(len(options) * self._draw(condition.name, "option"))]
        match condition.comparison:
            case Comparison.IS_NOT | Comparison.NOT_IN:
                return None
            case Comparison.EXISTS:
                return self._any_value(condition.name) if value else None
            case _:
                return value

    def _any_value(self, name: str) -> FieldValue:
        field = self._fields.get(name)
        kind = field.type if field is not None else FieldType.TEXT
        samples: Mapping[FieldType, FieldValue] = {
            FieldType.NUMBER: 100,
            FieldType.DATE: self._today.isoformat(),
            FieldType.YES_NO: True,
            FieldType.CHOICE: field.choices[0] if field is not None and field.choices else "",
        }
        return samples.get(kind, "yes")

    def _day(self, condition: DateCondition) -> str:
        """Return a day in the span of the condition, spread over at most a year from its first day."""
        bounds = list(self._bounds(condition))
        first, last = bounds if len(bounds) == 2 else (bounds[0], bounds[0])
        return (first + int((last - first).days * self._draw(condition.name)) * timedelta(days=1)).isoformat()

    def _bounds(self, condition: DateCondition) -> Iterator[date]:
        for bound in (condition.earliest, condition.latest):
            if bound is not None:
                yield bound if isinstance(bound, date) else self._today + timedelta(days=bound)


def _as_text(value: FieldValue) -> str:
    if value is None:
        return ""
    return _YES_WORDS[value] if isinstance(value, bool) else str(value)
