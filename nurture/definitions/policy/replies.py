"""Read `replies:`, what each class of replies causes."""

from collections.abc import Mapping

from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.replies import ALLOWED_ACTIONS, DEFAULT_ACTIONS, ReplyAction, ReplyClass


def read_replies(node: Node | None, context: ParseContext) -> Mapping[ReplyClass, ReplyAction]:
    """Return the action of every class; a class that the table leaves out has its default."""
    if node is None:
        return DEFAULT_ACTIONS
    if not isinstance(node.value, dict):
        context.add_problem(node, "`replies` is not a table", "Write for example `{not_interested: end_track}`.")
        return DEFAULT_ACTIONS
    found: dict[ReplyClass, ReplyAction] = {}
    for name, inner in node.parts.items():
        if name not in set(ReplyClass):
            known = ", ".join(one.value for one in ReplyClass)
            context.add_problem(inner, f"`{name}` is no class of replies", f"Known: {known}.")
            continue
        allowed = ALLOWED_ACTIONS[ReplyClass(name)]
        if inner.value in allowed:
            found[ReplyClass(name)] = ReplyAction(inner.value)
        else:
            what = f"a reply of the class `{name}` cannot have the action `{inner.value}`"
            choices = " or ".join(f"`{one.value}`" for one in allowed)
            context.add_problem(inner, what, f"Write {choices}.")
    return {**DEFAULT_ACTIONS, **found}
