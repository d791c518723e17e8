"""What SendGrid delivers to one recipient: tags replaced in subject, reply address and bodies, and nowhere else."""

from __future__ import annotations

from typing import Any, NamedTuple


class Delivered(NamedTuple):
    """One email as its recipient gets it; *headers* and *args* are those of its personalization."""

    to: str
    subject: str
    reply_to: str
    text: str
    html: str
    headers: dict[str, str]
    args: dict[str, str]


def substitute(body: dict[str, Any]) -> Delivered:
    """Return what the only personalization of *body* gets.

    Tags are replaced one after the other, twice, also in values: SendGrid says of nested tags both that they must not
    be used and that four levels are replaced.
    """
    (one,) = body["personalizations"]

    def replaced(text: str) -> str:
        for tag, value in [*one.get("substitutions", {}).items()] * 2:
            text = text.replace(tag, value)
        return text

    contents = {part["type"]: replaced(part["value"]) for part in body["content"]}
    return Delivered(
        one["to"][0]["email"],
        replaced(one.get("subject") or body["subject"]),
        replaced(body.get("reply_to", {}).get("email", "")),
        contents.get("text/plain", ""),
        contents.get("text/html", ""),
        one.get("headers", {}),
        body.get("custom_args", {}) | one.get("custom_args", {}),
    )
