from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers import mail

from nurture.mail.providers.http_client import InvalidPayload
from nurture.mail.providers.sendgrid.payload import (
    Account,
    build_payload,
    encode_payload,
    format_message_arg,
)
from nurture.mail.rendering.render import Address, ComposedEmail
from tests.doubles.sendgrid_rules import find_errors
from tests.mail.build import PLAIN, composed

EMAIL = replace(
    composed("Hi {{ lead.first_name }}, zwölf Boxkämpfer 🚀", subject="Für {{ lead.last_name }} 🚀", layout=PLAIN),
    labels=("webinar", "intro"),
    installation_id="i7",
    reply_to=Address("Mara Ohm", "mara@example.com"),
)
DEFAULT_ACCOUNT = Account()


def to(name: str = "", email: str = "aoife@example.org") -> ComposedEmail:
    return replace(EMAIL, to=Address(name, email))


def person(email: ComposedEmail) -> Any:
    return build_payload(email, DEFAULT_ACCOUNT)["personalizations"][0]["to"][0]


def test_the_payload_contains_every_field() -> None:
    assert orjson.loads(encode_payload(EMAIL, Account(asm_group=7, ip_pool="touches"))) == {
        "personalizations": [
            {"to": [{"email": "aoife@example.org", "name": "Aoife O'Neil"}], "headers": dict(EMAIL.headers)}
        ],
        "from": {"email": "mara@example.com", "name": "Northwind"},
        "reply_to": {"email": "mara@example.com", "name": "Mara Ohm"},
        "subject": "Für O'Neil 🚀",
        "content": [{"type": "text/plain", "value": EMAIL.text}, {"type": "text/html", "value": EMAIL.html}],
        "custom_args": {"nurture_message": "i7:touch:17:intro:1"},
        "categories": ["webinar", "intro"],
        "asm": {"group_id": 7},
        "ip_pool_name": "touches",
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
            "ganalytics": {"enable": False},
        },
        "mail_settings": {"sandbox_mode": {"enable": False}},
    }
    assert dict(EMAIL.headers).keys() == {"List-Unsubscribe", "List-Unsubscribe-Post"}


def test_sendgrids_own_library_builds_the_same_payload() -> None:
    account = Account(sandbox=True, asm_group=7, ip_pool="touches")
    their_payload = mail.Mail(
        from_email=mail.From(EMAIL.sender.email, EMAIL.sender.name),
        to_emails=mail.To(EMAIL.to.email, EMAIL.to.name),
        subject=EMAIL.subject,
        plain_text_content=EMAIL.text,
        html_content=EMAIL.html,
    )
    their_payload.reply_to = mail.ReplyTo("mara@example.com", "Mara Ohm")
    for header in EMAIL.headers:
        their_payload.personalizations[0].add_header(mail.Header(*header))
    their_payload.add_custom_arg(mail.CustomArg("nurture_message", format_message_arg(EMAIL)))
    for label in reversed(EMAIL.labels):  # their library reverses the list
        their_payload.add_category(mail.Category(label))
    their_payload.asm = mail.Asm(mail.GroupId(7))
    their_payload.ip_pool_name = mail.IpPoolName("touches")
    their_payload.tracking_settings = mail.TrackingSettings(
        mail.ClickTracking(enable=False, enable_text=False),
        mail.OpenTracking(enable=False),
        mail.SubscriptionTracking(enable=False),
        mail.Ganalytics(enable=False),
    )
    their_payload.mail_settings = mail.MailSettings(sandbox_mode=mail.SandBoxMode(enable=True))
    our_payload = orjson.loads(encode_payload(EMAIL, account))
    assert our_payload == orjson.loads(orjson.dumps(their_payload.get()))


def test_custom_args_and_categories_contain_no_personal_data() -> None:
    written: Any = build_payload(EMAIL, DEFAULT_ACCOUNT)
    kept_by_sendgrid = orjson.dumps([written["custom_args"], written["categories"]]).decode()
    assert not {"Aoife", "O'Neil", "aoife@example.org", "Murphy"} & set(kept_by_sendgrid.split('"'))
    assert list(written["custom_args"]) == ["nurture_message"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Doe, John", "Doe John"),
        ("Murphy & Sons, Ltd.; Cork", "Murphy & Sons Ltd. Cork"),
        ("Zoë 田中", "Zoë 田中"),
        ('The "Boss"', 'The "Boss"'),
    ],
)
def test_list_separators_are_removed_from_a_recipients_name(name: str, expected: str) -> None:
    assert person(to(name)) == {"email": "aoife@example.org", "name": expected}


@pytest.mark.parametrize("name", ["", "  ", ",;,"])
def test_an_empty_name_is_omitted(name: str) -> None:
    assert person(to(name)) == {"email": "aoife@example.org"}


@pytest.mark.parametrize(
    ("name", "expected"), [("Zoë Łuka\u2013Ørsted", "Zoe Luka-Orsted"), ("Weiß, Köln", "Weiss, Koln"), ("田中", None)]
)
def test_a_senders_name_is_written_in_ascii(name: str, expected: str | None) -> None:
    sender: Any = build_payload(replace(EMAIL, sender=Address(name, "mara@example.com")), DEFAULT_ACCOUNT)["from"]
    assert sender.get("name") == expected


def test_a_non_ascii_domain_is_written_in_punycode_and_the_local_part_kept() -> None:
    assert person(to(email="Aoife@Bücher.example"))["email"] == "Aoife@xn--bcher-kva.example"
    assert person(to(email="a@straße.example"))["email"] == "a@xn--strae-oqa.example"
    assert person(to(email="Aoife@EXAMPLE.org"))["email"] == "Aoife@EXAMPLE.org"


def test_categories_are_distinct_ascii_and_at_most_ten() -> None:
    labels = ("Über-uns", "Uber-uns", "x" * 300, "田中", "田村", "", *(f"step {n}" for n in range(20)))
    categories: Any = build_payload(replace(EMAIL, labels=labels), DEFAULT_ACCOUNT)["categories"]
    assert categories[:2] == ["Uber-uns", "x" * 255]
    assert len(set(categories)) == len(categories) == 10
    assert all(category.isascii() and 0 < len(category) <= 255 for category in categories)


def test_a_part_with_nothing_in_it_is_left_out() -> None:
    assert build_payload(replace(EMAIL, text=" \n"), DEFAULT_ACCOUNT)["content"] == [
        {"type": "text/html", "value": EMAIL.html}
    ]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"subject": " "}, "subject is empty"),
        ({"subject": "Hello\r\nBcc: all@example.org"}, "line break"),
        ({"text": "", "written_html": " "}, "empty body"),
        ({"text": "a lone surrogate: \ud83d"}, "invalid characters"),
        ({"to": Address("half \ud83d", "a@example.org")}, "invalid characters"),
        ({"written_html": "x" * 30_000_000}, "30 MB"),
        ({"to": Address("", f"{'a' * 64}@{'b' * 250}.example")}, "recipient's address has 323 characters"),
        ({"to": Address("", f"a@{'ü' * 310}.example")}, "recipient's address has"),
        ({"to": Address("", "zoë@example.org")}, "recipient's address has non-ASCII letters"),
        ({"sender": Address("", "zoë@example.org")}, "sender's address has non-ASCII letters"),
        ({"reply_to": Address("", "zoë@example.org")}, "reply-to's address has non-ASCII letters"),
        ({"headers": (("X-Track", "a\r\nBcc: all@example.org"),)}, "'X-Track' contains a line break"),
        ({"headers": (("X Track", "a"),)}, "another invalid character"),
        ({"headers": (("bcc", "all@example.org"),)}, "reserved: SendGrid writes it"),
        ({"headers": (("X-A", "1"), ("x-a", "2"))}, "twice"),
        ({"ref": "r" * 10_000}, "10,000 bytes"),
    ],
)
def test_an_invalid_email_is_refused_without_naming_the_lead(changes: dict[str, Any], error: str) -> None:
    email = replace(EMAIL, **changes)
    with pytest.raises(InvalidPayload, match=error) as refused:
        encode_payload(email, DEFAULT_ACCOUNT)
    assert email.to.email not in str(refused.value)


def test_two_megabytes_are_encoded() -> None:
    assert len(encode_payload(replace(EMAIL, written_html="x" * 2_000_000), DEFAULT_ACCOUNT)) > 2_000_000


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=40)
LABELS = st.lists(st.text(max_size=300), max_size=15).map(tuple)
DOMAINS = st.text("abcüßé", min_size=1, max_size=20).map(lambda text: f"{text}.example")


@given(name=TEXTS, sender=TEXTS, subject=st.text(max_size=40), text=TEXTS, labels=LABELS, domain=DOMAINS)
def test_any_payload_is_valid(
    name: str, sender: str, subject: str, text: str, labels: tuple[str, ...], domain: str
) -> None:
    email = replace(
        EMAIL,
        to=Address(name, f"aoife@{domain}"),
        sender=Address(sender, f"mara@{domain}"),
        subject=subject,
        text=text,
        labels=labels,
    )
    try:
        written = encode_payload(email, Account(asm_group=7, ip_pool="touches"))
    except InvalidPayload:
        return
    assert find_errors(orjson.loads(written), now=0, ip_pools=["touches"]) == []
