"""Count the leads that fit each audience of a folder today."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from nurture.definitions.folder import Sources
from nurture.definitions.read_all import load
from nurture.domain.lead import has_value
from nurture.domain.planning.conditions import AllOf, AnyOf, FieldCondition, evaluate
from nurture.domain.planning.dates import find_date
from nurture.domain.planning.program import dates_used
from nurture.domain.policy.policy_wording import describe_condition
from nurture.publishing.lead_survey import open_leads
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions


@dataclass(slots=True)
class AudienceCount:
    """How many of *leads* fit the audience of a track; *but_for* counts those that miss only one part of it.

    Of a track for customers, *leads* are the customers. *no_dates* counts those whose value is no date, by the date
    that the track uses.
    """

    track: str
    leads: int = 0
    fit: int = 0
    but_for: Counter[str] = field(default_factory=Counter)
    no_dates: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        missed = "".join(f"; {count:,} but for `{part}`" for part, count in self.but_for.most_common(3))
        wrong = "".join(f"; {count:,} have a `{name}` that is no date" for name, count in self.no_dates.most_common())
        return f"{self.fit:,} of {self.leads:,} leads fit this audience{missed}{wrong}"


def count_audiences(ctx: AppContext, sources: Sources, now: datetime) -> list[AudienceCount]:
    """Return a count of the open leads for each track with an audience, by name. Raises InvalidDefinitions.

    A batch of leads costs a constant number of statements.
    """
    definitions = load(sources)
    policy = definitions.policy(0)
    both = {**definitions.tracks, **definitions.broadcasts}
    programs = [(name, track.program(0)) for name, track in sorted(both.items())]
    audiences = [(AudienceCount(name), program.audience, dates_used(program)) for name, program in programs]
    for view, _ in open_leads(ctx, Definitions(dict(programs), policy), now, lambda _: None):
        context = policy.evaluation_context(view, since=view.lead.signals_since)
        for count, audience, dates in audiences:
            if both[count.track].unversioned.for_customers != view.lead.is_customer:
                continue
            count.no_dates.update(
                name for name in dates if has_value(view.lead.fields.get(name)) and find_date(view.lead, name) is None
            )
            parts = audience.parts if isinstance(audience, AllOf) else (audience,) if audience is not None else ()
            missed = [part for part in parts if not evaluate(part, context, now).met]
            count.leads += 1
            count.fit += not missed
            if len(missed) == 1 < len(parts):
                part = missed[0]
                count.but_for[part.name if isinstance(part, FieldCondition) else describe_condition(part)] += 1
    return [count for count, audience, _ in audiences if audience != AnyOf(())]
