"""Rewrite the links of an email to numbered tracking links, once per template version.

Rendering then inserts only one short token per lead. The destinations are stored by nurture and do not appear
in the email. Links whose URL has Jinja tags are numbered per email, when it is rendered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Final

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from nurture.mail.rendering.jinja_sandbox import TemplateSandbox
from nurture.mail.rendering.link_rules import LINK_ADVICE, UnsafeLink, is_safe_url
from nurture.mail.rendering.placeholders import Placeholders
from nurture.mail.rendering.utm import Utm, add_utm

HONEYPOT_LINK_NUMBER: Final = 0
"""The number of the hidden link."""

FIRST_PERSONAL_LINK_NUMBER: Final = 1_000
"""Links from this number on are personal: their URL was rendered for one lead."""

_ANCHOR: Final = re.compile(r"<(?:a|area|v:[a-z]+)\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>", re.IGNORECASE)
_HREF: Final = re.compile(r"(\shref\s*=\s*)(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_QUERY_VALUE: Final = re.compile(r"=[^&#]*")
_PLAIN_FIELD: Final = re.compile(r"[\w.]+")
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
    """How to rewrite links. Links to *base_url*, nurture's own pages, stay unchanged.

    *honeypot* adds a hidden link, which only machines follow. *known_destinations* already have numbers in sent
    email, starting with 1.
    """

    base_url: str
    honeypot: bool = True
    known_destinations: tuple[str, ...] = ()

    def is_tracked(self, url: str) -> bool:
        """Return whether clicks on *url* are tracked."""
        lowered = url.lower()
        if not lowered.startswith(_WEB_SCHEMES):
            return False
        base_url = self.base_url.lower().rstrip("/")
        return not lowered.startswith(base_url) or lowered[len(base_url) : len(base_url) + 1] not in ("", "/", "?", "#")


@dataclass(frozen=True, slots=True)
class RewrittenHtml:
    """HTML with placeholders and rewritten links. *original_urls* maps each new URL to the original.

    *names* has the URLs of *destinations* as they are written, without utm parameters.
    """

    html: str
    destinations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    original_urls: Mapping[str, str] = field(default_factory=dict)
    trusted_words: frozenset[str] = frozenset()


def rewrite_links(html: str, placeholders: Placeholders, tracking: LinkTracking, utm: Utm = ()) -> RewrittenHtml:
    """Rewrite the tracked links of *html*, which contains *placeholders*; *utm* is added to where they lead."""
    numbers = {url: number for number, url in enumerate(tracking.known_destinations, 1)}
    names: dict[str, str] = {}
    prefix, closing = placeholders.add("{{ _link_prefix }}"), placeholders.add("{% endfilter %}")
    patterns: list[str] = []
    original_urls: dict[str, str] = {}
    trusted_words = {prefix}

    def tracked_url(url: str) -> str | None:
        """Return the replacement of *url*, or None if it is not tracked."""
        tags = placeholders.pattern.findall(url)
        if not tags:
            to = add_utm(url, utm)
            if not tracking.is_tracked(url) or (to not in numbers and len(numbers) + 1 >= FIRST_PERSONAL_LINK_NUMBER):
                return None
            names[to] = url
            return f"{prefix}{numbers.setdefault(to, len(numbers) + 1)}"
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
    named = tuple(names.get(url, url) for url in numbers)
    return RewrittenHtml(html, tuple(numbers), named, tuple(patterns), original_urls, frozenset(trusted_words))


def encode_query_values(html: str, placeholders: Placeholders) -> str:
    """Encode each field that is a value in the query of a link; a field that is encoded already stays as it is."""

    def encode(link: re.Match[str]) -> str:
        path, mark, query = link[2].partition("?")
        return f"{link[1]}{path}{mark}{_QUERY_VALUE.sub(encode_value, query)}"

    def encode_value(value: re.Match[str]) -> str:
        return placeholders.pattern.sub(encode_tag, value[0])

    def encode_tag(word: re.Match[str]) -> str:
        tag = placeholders.tags[word[0]]
        if tag.is_statement or "urlencode" in tag.text:
            return word[0]
        inner = tag.text[2:-2].strip("-+ ")
        return placeholders.add(f"{{{{ {inner if _PLAIN_FIELD.fullmatch(inner) else f'({inner})'}|urlencode }}}}")

    return _HREF.sub(encode, html)


def leave_links(html: str, utm: Utm = ()) -> str:
    """Add *utm* to the links of *html* that are not tracked, except those marked as no-track; remove the marks."""

    def change(anchor: re.Match[str]) -> str:
        if _NO_TRACK_ATTRIBUTE.search(anchor[0]):
            return _NO_TRACK_ATTRIBUTE.sub("", anchor[0])
        return _HREF.sub(
            lambda href: f'{href[1]}"{escape(add_utm(unescape(href[2][1:-1]).strip(), utm))}"' if utm else href[0],
            anchor[0],
        )

    return _ANCHOR.sub(change, html)


def _may_be_tracked(fixed_start: str, tracking: LinkTracking) -> bool:
    """Return whether a URL with this start before its first tag may be tracked."""
    return (
        not fixed_start
        or any(scheme.startswith(fixed_start.lower()) for scheme in _WEB_SCHEMES)
        or tracking.is_tracked(fixed_start)
    )


def append_tracking(html: str, *, honeypot: bool) -> str:
    """Append the honeypot link and the open pixel to the Jinja source of a tracked email."""
    added = (_HONEYPOT_HTML.format(HONEYPOT_LINK_NUMBER) if honeypot else "") + _PIXEL_HTML
    position = html.lower().rfind("</body>")
    return html + added if position < 0 else html[:position] + added + html[position:]


@dataclass(slots=True)
class TrackedLinks:
    """The tracked links of one email: the URL *prefix* before each number, and the links of this lead.

    *pixel_url* is the URL of the open pixel, or "" for a lead without consent to open tracking.
    """

    prefix: str
    tracking: LinkTracking
    pixel_url: str = ""
    personal_links: dict[str, int] = field(default_factory=dict)
    """URLs in the order of their numbers, each with the index of its pattern."""

    def tracked_url(self, url: str, pattern: int) -> str | None:
        """Return the tracking link for *url*, or None if it is not tracked."""
        if not self.tracking.is_tracked(url):
            return None
        self.personal_links.setdefault(url, pattern)
        return f"{self.prefix}{FIRST_PERSONAL_LINK_NUMBER + list(self.personal_links).index(url)}"


@pass_context
def _tracked_filter(context: Context, url: object, pattern: int) -> object:
    """Return the tracking link for *url*. Raises UnsafeLink."""
    address = (unescape(str(url)) if isinstance(url, Markup) else str(url)).strip()
    if not is_safe_url(address):
        raise UnsafeLink(f"the link {address[:80]!r} is not allowed in an email.", f"{LINK_ADVICE}.")
    tracked_links: TrackedLinks = context["_tracked_links"]
    return tracked_links.tracked_url(address, pattern) or url


def _environment(*, autoescape: bool) -> TemplateSandbox:
    environment = TemplateSandbox(autoescape=autoescape)
    environment.filters = {**environment.filters, "tracked": _tracked_filter}
    return environment


TEXT: Final = _environment(autoescape=False)
HTML: Final = _environment(autoescape=True)
