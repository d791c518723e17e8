"""templates/sales/crm.yaml: what the CRM's statuses mean."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from nurture.definitions.folder import CRM, Sources
from nurture.definitions.yaml_reader import Node, Reading, nearest, read_yaml
from nurture.domain.policy.crm_status import CrmWords, Meaning, Meant, plain

_KNOWN: Final = [meant.value for meant in Meant]
_WRITE: Final = f"Write {', '.join(_KNOWN[:-1])}, or {{recycled: <a reject reason>}}."


def read_crm_words(sources: Sources, reasons: Collection[str] | None, reading: Reading) -> CrmWords:
    """Read crm.yaml; what is faulty is noted and left out. *reasons* are the policy's, None if not known."""
    text = sources.get(CRM)
    node = read_yaml(CRM, text, reading) if text is not None else None
    if node is None:
        return CrmWords()
    for name, part in node.parts.items():
        if name != "statuses":
            reading.fault(part, f"`{name}` is no key of this file", nearest(str(name), ["statuses"]))
    listed = node.part("statuses")
    if listed is None or not isinstance(listed.value, dict):
        what, instead = "`statuses` is not a list of `status: meaning` lines", "Write a status on each line."
        reading.fault(listed or node, what, instead)
        return CrmWords()
    found: dict[str, Meaning] = {}
    for status, part in listed.parts.items():
        meaning = _meaning(part, reasons, reading)
        if plain(str(status)) in found:
            reading.fault(part, f"the status `{status}` stands here twice", "Keep one of the two.")
        elif meaning is not None:
            found[plain(str(status))] = meaning
    return CrmWords(found)


def _meaning(node: Node, reasons: Collection[str] | None, reading: Reading) -> Meaning | None:
    value = node.value
    if isinstance(value, dict) and list(value) == [Meant.RECYCLED.value]:
        reason = str(value[Meant.RECYCLED.value])
        if reasons is not None and reason not in reasons:
            reading.fault(node, f"the policy has no reject reason `{reason}`", nearest(reason, reasons))
            return None
        return Meaning(Meant.RECYCLED, reason)
    if value == Meant.RECYCLED.value:
        reading.fault(node, "`recycled` does not say where the lead goes", _WRITE)
        return None
    if value not in _KNOWN:
        reading.fault(node, f"`{value}` is no meaning of a status", _WRITE)
        return None
    return Meaning(Meant(str(value)))
