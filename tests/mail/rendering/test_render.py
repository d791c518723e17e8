from __future__ import annotations

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.rendering.render import Address, CompositionFailed, compose
from tests.mail.build import PLAIN, UNSUBSCRIBE, compiled, composed, envelope, values

pytestmark = pytest.mark.quick

AWKWARD = st.sampled_from(
    ["O'Neil", 'Bo "Bee" Ray', "Ray, Bo", "<script>alert(1)</script>", "Zoë 🚀", "{{ 7*7 }}", "a\r\nBcc: x@example.com"]
)
NAMES = AWKWARD | st.text(st.characters(codec="utf-8"), max_size=30)
GREETING = compiled("Hi {{ lead.first_name }}!", subject="Hi {{ lead.first_name }}")


def test_an_apostrophe_stays_an_apostrophe_in_subject_and_text() -> None:
    email = composed("Dear {{ lead.last_name }}", subject="For {{ lead.last_name }}")
    assert email.subject == "For O'Neil"
    assert email.text == "Dear O'Neil"
    assert "Dear O&#39;Neil" in email.html


@given(NAMES)
def test_a_name_is_text_and_never_markup_or_template(name: str) -> None:
    email = compose(GREETING, values(first_name=name), envelope())
    assert email.text == f"Hi {name}!".strip()
    assert f"Hi {name}!" in unescape(email.html) or unescape(name) != name
    assert "<script" not in email.html


@given(NAMES)
def test_a_subject_is_one_line_without_control_characters(name: str) -> None:
    subject = compose(GREETING, values(first_name=name), envelope()).subject
    assert len(subject.splitlines()) == 1
    assert subject == subject.strip()
    assert all(ord(letter) >= 32 for letter in subject)


@given(st.text(max_size=10), st.sampled_from("\r\n\0\x0b\x85\u2028"), st.text(max_size=10))
def test_a_line_break_in_an_address_is_refused(before: str, hostile: str, after: str) -> None:
    with pytest.raises(CompositionFailed, match="line break"):
        Address(f"{before}{hostile}{after}", "bo@example.com")
    with pytest.raises(CompositionFailed, match="not an email address"):
        Address("Bo", f"bo{hostile}@example.com")


@pytest.mark.parametrize("email", ["", "bo", "bo@", "@example.com", "a b@example.com", "a@b@c", "a,b@example.com"])
def test_an_invalid_address_is_refused(email: str) -> None:
    with pytest.raises(CompositionFailed, match="not an email address"):
        Address("", email)


def test_an_empty_field_uses_the_fallback() -> None:
    body = "Hi {{ lead.first_name or 'there' }}, {{ lead.company | default('you') }}, {{ lead.fax }}."
    assert composed(body, first_name="", company=None, fax=None).text == "Hi there, you, ."


@pytest.mark.parametrize("tag", ["{{ lead.nick }}", "{{ nick }}", "{{ lead.nick | default('x') }}"])
def test_an_unknown_name_is_an_error_that_names_email_message_and_name(tag: str) -> None:
    with pytest.raises(CompositionFailed, match=r"01-thanks\.md cannot be composed for touch:17:intro:1: .*nick"):
        composed(tag)


def test_a_field_may_be_called_like_a_method() -> None:
    assert composed("{{ lead.items }} {{ lead.get }}", items="3 robots", get="now").text == "3 robots now"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", " https://example.com", "JaVaScRiPt:x", "", "//example.com", "data:x"]
)
def test_a_bad_link_from_a_field_is_refused(url: str) -> None:
    for body in ("[x]({{ lead.site }})", "[x]({{ lead.site }}/more)", '[x]({{ lead.site }} "button")'):
        with pytest.raises(CompositionFailed, match="not allowed in an email"):
            composed(body, site=url)


@pytest.mark.parametrize(
    "url", ["HTTPS://example.com", "mailto:bo@example.com", "tel:+49401", 'https://example.com/?q="><b']
)
def test_a_good_link_from_a_field_is_kept_and_cannot_leave_its_attribute(url: str) -> None:
    email = composed("[x]({{ lead.site }})", site=url)
    assert f'href="{url.replace(chr(34), "&#34;").replace(">", "&gt;").replace("<", "&lt;")}"' in email.html


@pytest.mark.parametrize("tag", ["{{ 'x' * 999999999 }}", "{{ '%999999999d' % 1 }}", "{{ ''.__class__ }}"])
def test_the_sandbox_holds(tag: str) -> None:
    with pytest.raises(CompositionFailed):
        composed(tag)


def test_numbers_may_be_multiplied_and_dates_written() -> None:
    from datetime import date

    assert (
        composed("{{ 3 * lead.seats }} {{ lead.due | date }}", seats=4, due=date(2026, 3, 4)).text == "12 4 March 2026"
    )


def test_the_unsubscribe_link_is_in_html_text_and_headers() -> None:
    email = composed("Hi", layout=PLAIN)
    assert f'href="{UNSUBSCRIBE}"' in email.html
    assert f"Unsubscribe ({UNSUBSCRIBE})" in email.text
    assert "\nDock 1, 20457 Hamburg\n" in email.text
    assert email.headers == (
        ("List-Unsubscribe", f"<{UNSUBSCRIBE}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    )


def test_only_an_https_link_has_one_click_unsubscribe() -> None:
    mailto = "mailto:stop@example.com?subject=stop%201"
    by_mail = compose(GREETING, values() | {"unsubscribe_url": mailto}, envelope())
    assert by_mail.headers == (("List-Unsubscribe", f"<{mailto}>"),)
    both = compose(GREETING, values(), envelope(unsubscribe_mailto=mailto))
    assert both.headers[0] == ("List-Unsubscribe", f"<{UNSUBSCRIBE}>, <{mailto}>")
    assert len(both.headers) == 2


def test_a_brief_has_no_unsubscribe_headers() -> None:
    plain = {key: value for key, value in values().items() if key != "unsubscribe_url"}
    assert compose(GREETING, plain, envelope()).headers == ()


@pytest.mark.parametrize(
    "url", ["http://example.com/u", "https://example.com/a b", "https://example.com/\r\nBcc: x", "https://e.com/,<x>"]
)
def test_an_unsubscribe_link_that_would_break_the_header_is_refused(url: str) -> None:
    with pytest.raises(CompositionFailed, match="unsubscribe link"):
        compose(GREETING, values() | {"unsubscribe_url": url}, envelope())


def test_a_local_url_is_in_the_body_but_in_no_header() -> None:
    here = {"unsubscribe_url": "http://127.0.0.1:8025/u/abc"}
    email = compose(compiled("Hi [out]({{ unsubscribe_url }})"), values() | here, envelope())
    assert "http://127.0.0.1:8025/u/abc" in email.html
    assert email.headers == ()
