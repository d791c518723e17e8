"""Read `queues:` of templates/sales/policy.yaml: who works the leads in queues, and how soon."""

from typing import Final

from pydantic import Field

from nurture.definitions.folder import POLICY, Sources
from nurture.definitions.policy.sla import BusinessDuration
from nurture.definitions.policy.team import list_items
from nurture.definitions.schema_check import Reporting, Shape, read_shape
from nurture.definitions.values import Name, read_name
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.lead import Queue
from nurture.domain.policy.business_hours import DurationUnit
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.queues import DEFAULT_WITHIN, LISTED_DAILY, OTHERS, QueuePolicy, QueueRule
from nurture.domain.policy.team import Team
from nurture.domain.replies import ReplyAction, queue_name
from nurture.errors import suggest

WAITING: Final = "handoff/waiting.md"
"""The email that lists what waits to the owner of queues."""

_RESERVED: Final = frozenset({*Queue, OTHERS}) - {Queue.MANAGER_DECISION}

QUEUES_EXAMPLE: Final = "`others: {owner: lena, within: 2 business days}` under `queues:`"
"""The least that a policy says about queues."""

_HINT: Final = f"Write for example {QUEUES_EXAMPLE}."


class QueueShape(Shape):
    """One queue."""

    owner: Name = Field(examples=["lena"])
    within: BusinessDuration = Field(examples=["1 business day"])
    deputy: Name | None = Field(None, examples=["mara"])


def read_queues(policy: Node, team: Team, sources: Sources, context: ParseContext) -> QueuePolicy:
    """Read `queues:` of *policy*; the managers work what it does not name. `check_queues` reports that."""
    node, managers = policy.part("queues"), team.manager_ids
    default = QueueRule(managers[0], DEFAULT_WITHIN, co_owners=managers[1:]) if managers else None
    if node is None:
        return QueuePolicy(default=default)
    if not isinstance(node.value, dict) or not node.value:
        context.add_problem(node, "`queues` names no queue", _HINT)
        return QueuePolicy(default=default)
    items = [*list_items(policy.part("managers")), *list_items(policy.part("reps"))]
    people = [str(item.value["id"]) for item in items if isinstance(item.value, dict) and "id" in item.value]
    found: dict[str, QueueRule] = {}
    for name, part in node.parts.items():
        with Reporting(part, context):
            read_name(name)
        shape = read_shape(QueueShape, part, context, f"the queue `{name}`")
        if shape is not None:
            _check_people(part, str(name), shape, people, context)
            found[str(name)] = QueueRule(shape.owner, shape.within, shape.deputy)
    if WAITING not in sources:
        what = f"`queues` sends templates/{WAITING}, which is missing"
        context.add_problem(node, what, "Write it, or run `nurture init` to get a template.")
    return QueuePolicy(found, default)


def _check_people(node: Node, queue: str, shape: QueueShape, known: list[str], context: ParseContext) -> None:
    for role, named in (("owner", shape.owner), ("deputy", shape.deputy)):
        if named is not None and known and named not in known:
            what = f"the {role} `{named}` of the queue `{queue}` is not in this policy"
            context.add_problem(node.parts[role], what, suggest(named, known))
    if queue in LISTED_DAILY and shape.within.unit is not DurationUnit.BUSINESS_DAYS:
        what = f"the owner of the queue `{queue}` is notified in the morning only, so `within` counts business days"
        context.add_problem(node.parts["within"], what, "Write for example `1 business day`.")
    if shape.deputy == shape.owner:
        what = f"`{shape.owner}` is their own deputy for the queue `{queue}`"
        context.add_problem(node.parts["deputy"], what, "Name somebody else.")


def check_queues(policy: Policy, context: ParseContext) -> None:
    """Report built-in queues, and queues that the definitions name, that nobody works."""
    top = Node(POLICY, 1, None)
    lines = dict.fromkeys(_reply_queues(policy), top) | {name: node for node, name in context.queue_references}
    for name in sorted(lines.keys() & _RESERVED):
        what = f"`{name}` is a queue of the program itself: nothing else can lead there"
        context.add_problem(lines[name], what, f"Choose another name, or `{Queue.MANAGER_DECISION}`.")
    without = {name.value: top for name in Queue if policy.queues.stated_rule(name) is None}
    without |= {name: node for name, node in lines.items() if policy.queues.stated_rule(name) is None}
    if len(without) > 1 and not policy.queues.rules:
        what = "`queues` is missing: nobody looks at the leads that wait in queues"
        context.add_problem(top, what, _HINT)
        return
    for name, node in without.items():
        context.add_problem(node, f"nobody works the queue `{name}`", f"Add it under `queues:`, or `{OTHERS}`.")
    known = {*Queue, OTHERS, *lines}
    for name in policy.queues.rules:
        if name not in known:
            context.warn(top, f"`queues` names `{name}`, and nothing leads there", suggest(name, known, "Remove it."))


def _reply_queues(policy: Policy) -> list[str]:
    return [queue_name(kind) for kind, action in policy.replies.items() if action is ReplyAction.QUEUE]
