"""Put numbered links of our own in the place of an email's links, once per template version.

What is written for each lead is then one short token; where a number leads is kept on our side and never
stands in the mail. Links whose address has tags are numbered as they are written, for each mail anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Final

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from nurture.mail.rendering.jinja_sandbox import PlainValues
from nurture.mail.rendering.link_rules import ADVICE, BadLink, is_safe
from nurture.mail.rendering.placeholders import Masks

HONEYPOT: Final = 0
"""The number of the link that no reader sees."""

FROM_HERE_OWN: Final = 1_000
"""From this number on a link is the mail's own: its address was written for one lead."""

_ANCHOR: Final = re.compile(r"<(?:a|area|v:[a-z]+)\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>", re.IGNORECASE)
_HREF: Final = re.compile(r"(\shref\s*=\s*)(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_LEFT_ALONE: Final = re.compile(r"\sdata-no-track(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'))?(?=[\s/>])", re.IGNORECASE)
_OURS: Final = re.compile(r"\b(?:unsubscribe_url|preferences_url)\b")
_WEB: Final = ("http://", "https://")
_UNSEEN: Final = (
    '<div style="display:none;max-height:0;overflow:hidden;mso-hide:all" aria-hidden="true">'
    '<a href="{{{{ _t }}}}{0}" tabindex="-1" rel="nofollow" style="display:none">'
    "This link is not for readers</a></div>"
)
_PIXEL: Final = (
    '{% if _open %}<img src="{{ _open }}" width="1" height="1" alt="" '
    'style="display:block;width:1px;height:1px;border:0">{% endif %}'
)


@dataclass(frozen=True, slots=True)
class Tracking:
    """How to rewrite links. Those to *own*, the address of our pages, stay as they are.

    *honeypot* adds a link that no reader sees: whoever follows it is a machine. *known* are the destinations
    that have numbers in mail that is out already, from number 1 on.
    """

    own: str
    honeypot: bool = True
    known: tuple[str, ...] = ()

    def follows(self, url: str) -> bool:
        """Tell whether clicks on *url* are to be heard of."""
        told = url.lower()
        if not told.startswith(_WEB):
            return False
        own = self.own.lower().rstrip("/")
        return not told.startswith(own) or told[len(own) : len(own) + 1] not in ("", "/", "?", "#")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """HTML with its tags still hidden, whose links are ours. *shown* tells what stood in place of each."""

    html: str
    destinations: tuple[str, ...]
    patterns: tuple[str, ...]
    shown: dict[str, str]
    words: frozenset[str]


def rewrite(html: str, masks: Masks, tracking: Tracking) -> Rewritten:
    """Rewrite each link of *html*, its tags hidden by *masks*, that *tracking* follows."""
    numbers = {url: number for number, url in enumerate(tracking.known, 1)}
    prefix, closing = masks.add("{{ _t }}"), masks.add("{% endfilter %}")
    patterns: list[str] = []
    shown: dict[str, str] = {}
    words = {prefix}

    def ours(url: str) -> str | None:
        """Return what takes the place of *url*, None if it stays."""
        tags = masks.word.findall(url)
        if not tags:
            if not tracking.follows(url) or (url not in numbers and len(numbers) + 1 >= FROM_HERE_OWN):
                return None
            return f"{prefix}{numbers.setdefault(url, len(numbers) + 1)}"
        begin = url.partition(tags[0])[0]
        if any(_OURS.search(masks.tags[tag].text) for tag in tags) or not _may_follow(begin, tracking):
            return None
        pattern = masks.restore(url)
        if pattern not in patterns:
            patterns.append(pattern)
        opening = masks.add(f"{{% filter tracked({patterns.index(pattern)}) %}}")
        words.add(opening)
        return f"{opening}{url}{closing}"

    def rewritten(anchor: re.Match[str]) -> str:
        element = anchor[0]
        if _LEFT_ALONE.search(element):
            return _LEFT_ALONE.sub("", element)
        href = _HREF.search(element)
        if href is None:
            return element
        url = unescape(href[2][1:-1]).strip()
        instead = ours(url)
        if instead is None:
            return element
        shown[instead] = url
        return f'{element[: href.start()]}{href[1]}"{escape(instead)}"{element[href.end() :]}'

    html = _ANCHOR.sub(rewritten, html)
    return Rewritten(html, tuple(numbers), tuple(patterns), shown, frozenset(words))


def unmarked(html: str) -> str:
    """Take out the marks of links that are to be left alone, where all are."""
    return _ANCHOR.sub(lambda anchor: _LEFT_ALONE.sub("", anchor[0]), html)


def _may_follow(begin: str, tracking: Tracking) -> bool:
    """Tell whether an address that begins like this, with a tag behind it, may be one to follow."""
    return not begin or any(web.startswith(begin.lower()) for web in _WEB) or tracking.follows(begin)


def finish(html: str, *, honeypot: bool) -> str:
    """Add to Jinja source what stands at the end of every followed email: the unseen link, the pixel."""
    added = (_UNSEEN.format(HONEYPOT) if honeypot else "") + _PIXEL
    place = html.lower().rfind("</body>")
    return html + added if place < 0 else html[:place] + added + html[place:]


@dataclass(slots=True)
class Trail:
    """The links of one mail: what stands before each number, and the addresses written for this lead alone.

    *pixel* is the address of the picture that tells of an open, "" for a lead who never agreed to that.
    """

    prefix: str
    tracking: Tracking
    pixel: str = ""
    own: dict[str, int] = field(default_factory=dict)
    """Addresses in the order of their numbers, each with the place of its pattern."""

    def link(self, url: str, pattern: int) -> str | None:
        """Return our link to *url*, None if it stays as it is."""
        if not self.tracking.follows(url):
            return None
        self.own.setdefault(url, pattern)
        return f"{self.prefix}{FROM_HERE_OWN + list(self.own).index(url)}"


@pass_context
def _tracked(context: Context, url: object, pattern: int) -> object:
    """Return our link to *url*; it must be one that an email may carry."""
    address = (unescape(str(url)) if isinstance(url, Markup) else str(url)).strip()
    if not is_safe(address):
        raise BadLink(f"the link {address[:80]!r} is not one an email may carry. {ADVICE}.")
    trail: Trail = context["_trail"]
    return trail.link(address, pattern) or url


def _environment(*, autoescape: bool) -> PlainValues:
    environment = PlainValues(autoescape=autoescape)
    environment.filters = {**environment.filters, "tracked": _tracked}
    return environment


TEXT: Final = _environment(autoescape=False)
HTML: Final = _environment(autoescape=True)
