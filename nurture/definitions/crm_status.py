"""Read templates/sales/crm.yaml: the meaning of the CRM's statuses."""

from collections.abc import Collection
from typing import Final

from nurture.definitions.folder import CRM, Sources
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.policy.crm_status import CrmStatusMap, MappedStatus, SalesStatus, normalize_status
from nurture.errors import suggest

_STATUS_NAMES: Final = [status.value for status in SalesStatus]
_HINT: Final = f"Write {', '.join(_STATUS_NAMES[:-1])}, or {{recycled: <a reject reason>}}."


def read_crm_statuses(sources: Sources, reasons: Collection[str] | None, context: ParseContext) -> CrmStatusMap:
    """Read crm.yaml; invalid entries are reported and omitted. *reasons* are the policy's, None if not known."""
    text = sources.get(CRM)
    node = read_yaml(CRM, text, context) if text is not None else None
    if node is None:
        return CrmStatusMap()
    for name, part in node.parts.items():
        if name != "statuses":
            context.add_problem(part, f"`{name}` is not a key of this file", suggest(str(name), ["statuses"]))
    listed = node.part("statuses")
    if listed is None or not isinstance(listed.value, dict):
        what, instead = "`statuses` is not a list of `status: meaning` lines", "Write a status on each line."
        context.add_problem(listed or node, what, instead)
        return CrmStatusMap()
    found: dict[str, MappedStatus] = {}
    for status, part in listed.parts.items():
        meaning = _mapped_status(part, reasons, context)
        if normalize_status(str(status)) in found:
            context.add_problem(part, f"the status `{status}` is listed twice", "Keep one of the two.")
        elif meaning is not None:
            found[normalize_status(str(status))] = meaning
    return CrmStatusMap(found)


def _mapped_status(node: Node, reasons: Collection[str] | None, context: ParseContext) -> MappedStatus | None:
    value = node.value
    if isinstance(value, dict) and list(value) == [SalesStatus.RECYCLED.value]:
        reason = str(value[SalesStatus.RECYCLED.value])
        if reasons is not None and reason not in reasons:
            context.add_problem(node, f"the policy has no reject reason `{reason}`", suggest(reason, reasons))
            return None
        return MappedStatus(SalesStatus.RECYCLED, reason)
    if value == SalesStatus.RECYCLED.value:
        context.add_problem(node, "`recycled` needs a reject reason", _HINT)
        return None
    if value not in _STATUS_NAMES:
        context.add_problem(node, f"`{value}` is not a status meaning", _HINT)
        return None
    return MappedStatus(SalesStatus(str(value)))
