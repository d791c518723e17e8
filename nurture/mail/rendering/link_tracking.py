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

from nurture.mail.rendering.jinja_sandbox import TemplateSandbox
from nurture.mail.rendering.link_rules import LINK_ADVICE, UnsafeLink, is_safe_url
from nurture.mail.rendering.placeholders import Placeholders

HONEYPOT_LINK_NUMBER: Final = 0
"""The number of the link that no reader sees."""

FIRST_PERSONAL_LINK_NUMBER: Final = 1_000
"""From this number on a link is the mail's own: its address was written for one lead."""

_ANCHOR: Final = re.compile(r"<(?:a|area|v:[a-z]+)\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>", re.IGNORECASE)
_HREF: Final = re.compile(r"(\shref\s*=\s*)(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_NO_TRACK_ATTRIBUTE: Final = re.compile(r"\sdata-no-track(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'))?(?=[\s/>])", re.IGNORECASE)
_OWN_LINK_VARIABLE: Final = re.compile(r"\b(?:unsubscribe_url|preferences_url)\b")
_WEB_SCHEMES: Final = ("http://", "https://")
_HONEYPOT_HTML: Final = (
    '<div style="display:none;max-height:0;overflow:hidden;mso-hide:all" aria-hidden="true">'
    '<a href="{{{{ _link_prefix }}}}{0}" tabindex="-1" rel="nofollow" style="display:none">'
    "This link is not for readers</a></div>"
)
_PIXEL_HTML: Final = (
    '{% if _open_pixel_url %}<img src="{{ _open_pixel_url }}" width="1" height="1" alt="" '
    'style="display:block;width:1px;height:1px;border:0">{% endif %}'
)


@dataclass(frozen=True, slots=True)
class LinkTracking:
    """How to rewrite links. Those to *base_url*, the address of our pages, stay as they are.

    *honeypot* adds a link that no reader sees: whoever follows it is a machine. *known_destinations* have
    numbers in mail that is out already, from number 1 on.
    """

    base_url: str
    honeypot: bool = True
    known_destinations: tuple[str, ...] = ()

    def is_tracked(self, url: str) -> bool:
        """Tell whether clicks on *url* are counted."""
        lowered = url.lower()
        if not lowered.startswith(_WEB_SCHEMES):
            return False
        base_url = self.base_url.lower().rstrip("/")
        return not lowered.startswith(base_url) or lowered[len(base_url) : len(base_url) + 1] not in ("", "/", "?", "#")


@dataclass(frozen=True, slots=True)
class RewrittenHtml:
    """HTML with its tags still hidden, whose links are ours. *original_urls*: what stood in place of each."""

    html: str
    destinations: tuple[str, ...]
    patterns: tuple[str, ...]
    original_urls: dict[str, str]
    trusted_words: frozenset[str]


def rewrite_links(html: str, placeholders: Placeholders, tracking: LinkTracking) -> RewrittenHtml:
    """Rewrite each link of *html*, its tags hidden by *placeholders*, that *tracking* follows."""
    numbers = {url: number for number, url in enumerate(tracking.known_destinations, 1)}
    prefix, closing = placeholders.add("{{ _link_prefix }}"), placeholders.add("{% endfilter %}")
    patterns: list[str] = []
    original_urls: dict[str, str] = {}
    trusted_words = {prefix}

    def tracked_url(url: str) -> str | None:
        """Return what takes the place of *url*, None if it stays."""
        tags = placeholders.pattern.findall(url)
        if not tags:
            if not tracking.is_tracked(url) or (url not in numbers and len(numbers) + 1 >= FIRST_PERSONAL_LINK_NUMBER):
                return None
            return f"{prefix}{numbers.setdefault(url, len(numbers) + 1)}"
        fixed_start = url.partition(tags[0])[0]
        if any(_OWN_LINK_VARIABLE.search(placeholders.tags[tag].text) for tag in tags) or not _may_be_tracked(
            fixed_start, tracking
        ):
            return None
        pattern = placeholders.restore(url)
        if pattern not in patterns:
            patterns.append(pattern)
        opening = placeholders.add(f"{{% filter tracked({patterns.index(pattern)}) %}}")
        trusted_words.add(opening)
        return f"{opening}{url}{closing}"

    def rewrite_anchor(anchor: re.Match[str]) -> str:
        element = anchor[0]
        if _NO_TRACK_ATTRIBUTE.search(element):
            return _NO_TRACK_ATTRIBUTE.sub("", element)
        href = _HREF.search(element)
        if href is None:
            return element
        url = unescape(href[2][1:-1]).strip()
        replacement = tracked_url(url)
        if replacement is None:
            return element
        original_urls[replacement] = url
        return f'{element[: href.start()]}{href[1]}"{escape(replacement)}"{element[href.end() :]}'

    html = _ANCHOR.sub(rewrite_anchor, html)
    return RewrittenHtml(html, tuple(numbers), tuple(patterns), original_urls, frozenset(trusted_words))


def strip_no_track_attributes(html: str) -> str:
    """Take out the marks of links that are to be left alone, where all are."""
    return _ANCHOR.sub(lambda anchor: _NO_TRACK_ATTRIBUTE.sub("", anchor[0]), html)


def _may_be_tracked(fixed_start: str, tracking: LinkTracking) -> bool:
    """Tell whether an address that begins like this, with a tag behind it, may be one to follow."""
    return (
        not fixed_start
        or any(scheme.startswith(fixed_start.lower()) for scheme in _WEB_SCHEMES)
        or tracking.is_tracked(fixed_start)
    )


def append_tracking(html: str, *, honeypot: bool) -> str:
    """Add to Jinja source what stands at the end of every followed email: the unseen link, the pixel."""
    added = (_HONEYPOT_HTML.format(HONEYPOT_LINK_NUMBER) if honeypot else "") + _PIXEL_HTML
    position = html.lower().rfind("</body>")
    return html + added if position < 0 else html[:position] + added + html[position:]


@dataclass(slots=True)
class TrackedLinks:
    """The links of one mail: what stands before each number, and the addresses written for this lead alone.

    *pixel_url* is the address of the picture that tells of an open, "" for a lead who never agreed to that.
    """

    prefix: str
    tracking: LinkTracking
    pixel_url: str = ""
    personal_links: dict[str, int] = field(default_factory=dict)
    """Addresses in the order of their numbers, each with the place of its pattern."""

    def tracked_url(self, url: str, pattern: int) -> str | None:
        """Return our link to *url*, None if it stays as it is."""
        if not self.tracking.is_tracked(url):
            return None
        self.personal_links.setdefault(url, pattern)
        return f"{self.prefix}{FIRST_PERSONAL_LINK_NUMBER + list(self.personal_links).index(url)}"


@pass_context
def _tracked_filter(context: Context, url: object, pattern: int) -> object:
    """Return our link to *url*; it must be one that an email may carry."""
    address = (unescape(str(url)) if isinstance(url, Markup) else str(url)).strip()
    if not is_safe_url(address):
        raise UnsafeLink(f"the link {address[:80]!r} is not one an email may carry. {LINK_ADVICE}.")
    tracked_links: TrackedLinks = context["_tracked_links"]
    return tracked_links.tracked_url(address, pattern) or url


def _environment(*, autoescape: bool) -> TemplateSandbox:
    environment = TemplateSandbox(autoescape=autoescape)
    environment.filters = {**environment.filters, "tracked": _tracked_filter}
    return environment


TEXT: Final = _environment(autoescape=False)
HTML: Final = _environment(autoescape=True)
