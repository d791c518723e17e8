"""Read `tiers:` of templates/sales/policy.yaml: which hand-offs are faster or slower than `sla:` says."""

from collections.abc import Collection
from typing import Any

from pydantic import Field

from nurture.definitions.folder import Sources
from nurture.definitions.policy.sla import read_ladders
from nurture.definitions.policy.team import check_unique_names, list_items
from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Name, Names, Span
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.policy.business_hours import SlaPolicy
from nurture.domain.policy.team import Team
from nurture.domain.policy.tiers import Tier
from nurture.errors import suggest


class TierShape(Shape):
    """One tier of speed."""

    name: Name = Field(examples=["demo"])
    rules: Names = Field((), examples=["[asked-for-demo]"])
    fit: list[str] = Field(default_factory=list, examples=["[A, B]"])
    hot: bool = Field(False, examples=["yes"])
    wait: Span | None = Field(None, examples=["30 minutes"])
    accept: Any = Field(None, examples=["{remind: 15 business minutes, take_back: 1 business hour}"])
    follow_up: Any = Field(None, examples=["{remind: 1 business hour, take_back: 1 business day}"])


def read_tiers(
    policy: Node,
    default: SlaPolicy,
    names: tuple[Collection[str], Collection[str]],
    team: Team,
    sources: Sources,
    context: ParseContext,
) -> tuple[Tier, ...]:
    """Read `tiers:` of *policy*; *names* are the hand-off rules and the fit letters, *default* is the SLA."""
    node = policy.part("tiers")
    if node is None:
        return ()
    items = list_items(node)
    if not items:
        what = "`tiers` is not a list of tiers"
        context.add_problem(node, what, "Write for example `- {name: demo, rules: [asked-for-demo], accept: {...}}`.")
    check_unique_names(items, context)
    found = []
    for item in items:
        shape = read_shape(TierShape, item, context, "a tier")
        if shape is None:
            continue
        for key, known in zip(("rules", "fit"), names, strict=True):
            for name in getattr(shape, key):
                if name not in known:
                    what = f"no {'hand-off rule is named' if key == 'rules' else 'rule of `fit` gives'} `{name}`"
                    context.add_problem(item.parts[key], what, suggest(name, known))
        if not (shape.rules or shape.fit or shape.hot):
            what = f"the tier `{shape.name}` takes every hand-off"
            context.add_problem(item, what, "Write `rules:`, `fit:` or `hot: yes`; `sla:` is for all others.")
        sla = read_ladders(item, default, team, sources, context)
        found.append(Tier(shape.name, sla, frozenset(shape.rules), frozenset(shape.fit), shape.hot, shape.wait))
    return tuple(found)
