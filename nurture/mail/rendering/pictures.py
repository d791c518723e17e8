"""Check the pictures of an email: where they are, and that each has a text for those who do not see it."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it.token import Token

from nurture.domain.problems import Problem
from nurture.mail.rendering.email_file import ParsedEmail
from nurture.mail.rendering.placeholders import Placeholders

MAX_WIDTH: Final = 520
"""Pixels between the margins of the layouts."""

_WIDTH: Final = re.compile(r"width (\d{1,4})")
_HTTPS_ADVICE: Final = "Begin it with https://: mail programs show no other pictures"
_ALT_ADVICE: Final = "Write what it shows: ![The new planning page](https://...)"


def find_picture_problems(email: ParsedEmail, layout_has_picture: bool) -> list[Problem]:  # noqa: FBT001
    """Return what is wrong with the picture of the front matter."""

    def problem(at: int, message: str, suggestion: str) -> list[Problem]:
        return [Problem(email.image.file, at, message, suggestion)]

    url, alt = email.image.text, email.image_alt.text
    if not layout_has_picture:
        if not url and not alt:
            return []
        what = f"the layout `{email.layout}` shows no picture"
        return problem(email.image.line, what, "Write `layout: header`, or remove `image:`")
    if not url:
        advice = "Add `image: https://...` and `image_alt: ...` to the front matter, or choose another layout"
        return problem(email.image.line, f"the layout `{email.layout}` needs a picture", advice)
    if not re.fullmatch(r"https://[^\s{}<>\"]+", url):
        return problem(email.image.line, f"the picture `{url[:80]}` is not at a web address", _HTTPS_ADVICE)
    if not alt:
        return problem(email.image.line, "the picture has no text", "Write what it shows: `image_alt: ...`")
    return []


def find_image_problems(image: Token, placeholders: Placeholders) -> Iterator[tuple[str, str, str]]:
    """Yield source text, message and remedy for each problem of an image in Markdown."""
    url = str(image.attrGet("src") or "")
    shown = placeholders.restore_escaped(url)[:80]
    if url.lower().startswith("http://"):
        yield url, f"the picture `{shown}` is not at a safe address", _HTTPS_ADVICE
    if not image.content.strip():
        yield url, f"the picture `{shown}` has no text for those who do not see it", _ALT_ADVICE
    width = _WIDTH.fullmatch(str(image.attrGet("title") or ""))
    if width and not 1 <= int(width[1]) <= MAX_WIDTH:
        yield url, f"a width of {width[1]} does not fit into an email", f"Write at most {MAX_WIDTH}"


def set_image_widths(tokens: Sequence[Token]) -> None:
    """Turn the title "width 300" of an image into its width: Outlook knows no maximum."""
    for image in (part for token in tokens for part in token.children or [] if part.type == "image"):
        if width := _WIDTH.fullmatch(str(image.attrGet("title") or "")):
            image.attrs.pop("title")
            image.attrSet("width", width[1])
