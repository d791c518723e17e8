"""What the rules need to know of an email file: that it has a subject, and its layout."""

from __future__ import annotations

import re
from typing import Final

from nurture.definitions.folder import Sources
from nurture.definitions.yaml_reader import Node, Reading, nearest

LAYOUTS: Final = "layouts/"
_MJML: Final = ".mjml"
_FENCE: Final = re.compile(r"^---[ \t]*$")
_YES_OR_NO: Final = {"yes": True, "true": True, "no": False, "false": False}
_FRONT: Final = "Begin the file with a line `---`, then `subject:` and `preheader:`, then a line `---`"


def layouts_in(sources: Sources) -> dict[str, str]:
    """Return the MJML of each layout by its name."""
    return {
        path.removeprefix(LAYOUTS).removesuffix(_MJML): text
        for path, text in sources.items()
        if path.startswith(LAYOUTS) and path.endswith(_MJML)
    }


def check_front(file: str, text: str, reading: Reading) -> None:
    """Note an email without front matter or subject, in the words that the mail floor uses."""
    front = _front(text)
    if front is None:
        reading.fault(Node(file, 1, None), "the email has no front matter", _FRONT)
    elif "subject" not in front:
        instead = "Add `subject: ...` to the front matter"
        reading.fault(Node(file, 2, None), "the email has no subject", instead)
    elif not front["subject"][1]:
        line, _ = front["subject"]
        reading.fault(Node(file, line, None), "the subject is empty", "Write it after `subject:`")


def chosen_layout(file: str, text: str, default: str, sources: Sources, reading: Reading) -> str:
    """Return the layout that an email asks for, or *default*; one that does not exist is noted."""
    known = layouts_in(sources)
    line, layout = (_front(text) or {}).get("layout", (1, default))
    if layout not in known:
        what = f"there is no layout `{layout}` in {LAYOUTS}"
        reading.fault(Node(file, line, None), what, nearest(layout, known))
    return layout


def calls_to_action(file: str, text: str, reading: Reading) -> bool:
    """Tell whether an email asks the lead to talk to sales; what is neither yes nor no is noted."""
    line, said = (_front(text) or {}).get("call_to_action", (1, "no"))
    if said.lower() not in _YES_OR_NO:
        what = f"`call_to_action: {said}` is neither yes nor no"
        reading.fault(Node(file, line, None), what, "Write `call_to_action: yes`, or leave it out.")
    return _YES_OR_NO.get(said.lower(), False)


def _front(text: str) -> dict[str, tuple[int, str]] | None:
    """Return the keys of the front matter with line and value, as far as one line shows them."""
    lines = text.split("\n")
    ends = [number for number, line in enumerate(lines) if _FENCE.match(line)][:2]
    if len(ends) < 2 or ends[0] != 0:
        return None
    pairs = ((number, line.partition(":")) for number, line in enumerate(lines[1 : ends[1]], 2))
    return {
        key.strip(): (number, value.strip().strip("\"'")) for number, (key, colon, value) in pairs if colon
    }
