"""Emails of one form share a request, and each recipient gets what a request of its own would have sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from nurture.domain.delivery.receipts import Accepted, NotSent, Rejected, Unknown
from nurture.mail.providers.sendgrid.batches import encode_batch, group_emails
from nurture.mail.providers.sendgrid.payload import Account as PayloadAccount
from nurture.mail.rendering.compile import CompiledEmail, compile_email
from nurture.mail.rendering.email_form import EmailForm, make_form
from nurture.mail.rendering.link_tracking import LinkTracking, TrackedLinks
from nurture.mail.rendering.render import Address, ComposedEmail, Envelope, compose
from tests.doubles.sendgrid import Fault, SendGridDouble
from tests.doubles.sendgrid_substitution import Delivered, substitute
from tests.mail.build import PLAIN, source, values
from tests.mail.providers.sendgrid import sending
from tests.mail.providers.sendgrid.sending import sent

server, double = sending.server, sending.double

SHARED = frozenset({"_language", "language", "words", "sender"})
TRACKING = LinkTracking("https://go.example.com")
LEADS = 1_000
BODY = """
Hello {{ lead.first_name or "there" }}, & welcome to {{ lead.company | upper }} -{{ lead.last_name }}-

{% if lead.company %}We know {{ lead.company }}.{% else %}*Who are you?*{% endif %}
{% for word in lead.words %}{{ loop.index }}: {{ word }} {% endfor %}

[The guide](https://example.com/guide "button"), [yours](https://example.com/for?who={{ lead.last_name }}),
[again](https://example.com/guide), <https://example.com/{{ lead.order }}>
"""
PIECES = (
    *(
        "O'Neil",
        'Bo "Bee" Ray',
        "<script>alert(1)</script>",
        "&amp;",
        "&",
        "<",
        ">",
        "'",
        "Zoë 🚀",
        "\u05e9\u05dc\u05d5\u05dd",
    ),
    *(
        "\u202eabc\u202c",
        "-abc-",
        "-0-",
        "-h0-",
        "-t1-",
        "--",
        "-",
        "%name%",
        "{{ lead.last_name }}",
        "jt1x",
        "\\1",
        "$1",
    ),
    *("田中", "a\u0301", "\u200d👩\u200d🔧", "%3C", "\\n", "#", "?x=1&y=2", " ", "  "),
)


def _compiled(body: str = BODY) -> CompiledEmail:
    return compile_email(source(body, "For {{ lead.first_name }} & -{{ lead.last_name }}-"), PLAIN, TRACKING)


def _form(email: CompiledEmail) -> EmailForm:
    form = make_form(email, values(), SHARED)
    assert form is not None
    return form


def _fields(random: Random, number: int) -> dict[str, Any]:
    def words() -> str:
        return "".join(random.choices(PIECES, k=random.randint(0, 4)))

    fields = {"first_name": words(), "last_name": words(), "company": words(), "order": number}
    return fields | {"words": [words() for _ in range(random.randint(0, 3))]}


def _compose(email: CompiledEmail, number: int, form: EmailForm | None, **lead: Any) -> ComposedEmail:
    token = f"{number:022}"
    written = {**values(**lead), "unsubscribe_url": f"https://go.example.com/u/{token}"}
    links = TrackedLinks(
        f"https://go.example.com/c/{token}/", TRACKING, f"https://go.example.com/o/{token}.gif" * (number % 2)
    )
    name = "".join(letter for letter in lead.get("first_name", "") if letter.isprintable())
    to, reply_to = Address(name, f"n{number}@example.org"), Address("Mara", f"reply+{token}@in.example.com")
    sender = Address("Northwind", "mara@example.com")
    envelope = Envelope(f"touch:{number}:intro:1", sender, to, reply_to, "mailto:mara@example.com", ("webinar",), "i7")
    return compose(email, written, envelope, links, form)


def _batch(count: int) -> list[ComposedEmail]:
    email = _compiled("Hi {{ lead.first_name }}")
    form = _form(email)
    return [_compose(email, number, form, first_name=f"Bo {number}") for number in range(count)]


def _written(email: ComposedEmail) -> ComposedEmail:
    """Return *email* as if it had no form."""
    return replace(email, written_html=email.html, own_values=None, may_share=False)


def _delivered(content: bytes) -> list[Delivered]:
    request = orjson.loads(content)
    return [substitute({**request, "personalizations": [one]}) for one in request["personalizations"]]


def test_a_thousand_leads_get_what_their_own_request_would_have_sent() -> None:
    random = Random("batches")
    email = _compiled()
    form = _form(email)
    leads = [_fields(random, number) for number in range(LEADS)]
    shared = [_compose(email, number, form, **lead) for number, lead in enumerate(leads)]
    own = [_compose(email, number, None, **lead) for number, lead in enumerate(leads)]
    assert [_written(one) for one in shared] == own
    (indexes,) = group_emails(shared)
    assert list(indexes) == list(range(LEADS))
    in_batch = _delivered(encode_batch(shared, PayloadAccount()))
    assert in_batch == [_delivered(encode_batch([one], PayloadAccount()))[0] for one in own]


SAMPLES = {
    "unsubscribe_url": "https://go.example.com/u/Sample",
    "_link_prefix": "https://go.example.com/c/Sample/",
    "_open_pixel_url": "https://go.example.com/o/Sample.gif",
}


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        "{% if unsubscribe_url %}[Leave]({{ unsubscribe_url }}), {{ unsubscribe_url }}{% endif %} [A](https://a.example)",
        "{{ unsubscribe_url | upper }} {{ unsubscribe_url | truncate(30) }} {{ unsubscribe_url | length }}",
        "{{ unsubscribe_url[:24] }} {{ 'x' ~ unsubscribe_url }}",
        "{% if unsubscribe_url == 'https://go.example.com/u/0000000000000000000001' %}one{% endif %}",
        "{% if lead.company %}{{ unsubscribe_url }}{% else %}{{ lead.company or unsubscribe_url }}{% endif %}",
    ],
)
def test_urls_of_a_lead_are_shown_as_if_the_whole_template_were_rendered(body: str) -> None:
    random = Random(body)
    email = _compiled(body)
    form = make_form(email, values(), SHARED, SAMPLES)
    assert form is not None
    leads = [{**_fields(random, number), "order": number} for number in range(100)]
    filled = [_compose(email, number + 1, form, **lead) for number, lead in enumerate(leads)]
    # The pixel of every second lead is shown: a form is for those who have one.
    own = [_compose(email, number + 1, None, **lead) for number, lead in enumerate(leads)]
    assert [_written(one) for one in filled[::2]] == own[::2]
    assert "Sample" not in str([_written(one) for one in filled])


def test_a_thousand_emails_of_one_form_are_one_request(tmp_path: Path) -> None:
    with SendGridDouble(tmp_path / "log", bodies=True) as double:
        batch = _batch(1_001)
        receipts = sent(double, batch)
        accepted = {one.ref: one for one in double.accepted()}
        assert double.traffic().requests == 2
        assert receipts == [Accepted(accepted[f"i7:{one.ref}"].message_id) for one in batch]
        body = accepted["i7:touch:7:intro:1"].body
        assert body is not None
        assert substitute(body).headers == dict(batch[7].headers)
        assert substitute(body).html == batch[7].html


def test_an_email_that_is_refused_harms_no_other_of_its_request(double: SendGridDouble) -> None:
    batch = _batch(50)
    batch[9] = replace(batch[9], to=Address("", "a..b@example.org"))
    batch[20] = replace(batch[20], subject="")
    receipts = sent(double, batch)
    assert [n for n, receipt in enumerate(receipts) if not isinstance(receipt, Accepted)] == [9, 20]
    assert isinstance(receipts[9], Rejected)
    assert receipts[20] == Rejected("the subject is empty")
    accepted = [one.ref for one in double.accepted()[-48:]]
    assert sorted(accepted) == sorted(f"i7:{one.ref}" for n, one in enumerate(batch) if n not in (9, 20))


def test_an_email_whose_values_are_too_long_for_a_shared_request_has_its_own(double: SendGridDouble) -> None:
    email = _compiled("Hi {{ lead.first_name }}")
    form, before = _form(email), double.traffic().requests
    names = ["Bo"] * 3 + ["Bo" * 4_000]
    receipts = sent(
        double, [_compose(email, n, form, first_name=name, last_name="Ray") for n, name in enumerate(names)]
    )
    assert all(isinstance(receipt, Accepted) for receipt in receipts)
    assert double.traffic().requests - before == 3


def test_an_address_that_occurs_twice_is_in_two_requests(double: SendGridDouble) -> None:
    batch = _batch(3)
    batch[2] = replace(batch[2], to=Address("", batch[0].to.email.upper()))
    before = double.traffic().requests
    assert all(isinstance(receipt, Accepted) for receipt in sent(double, batch))
    assert double.traffic().requests - before == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(what="reset", after=True), Unknown),
        (Fault(what="status", status=500), Unknown),
        (Fault(what="too_many"), NotSent),
    ],
)
def test_the_outcome_of_a_request_is_that_of_each_email(double: SendGridDouble, fault: Fault, kind: type) -> None:
    double.add_faults(fault)
    receipts = sent(double, _batch(4))
    assert [type(receipt) for receipt in receipts] == [kind] * 4


def test_emails_of_other_senders_or_labels_share_no_request() -> None:
    batch = _batch(4)
    batch[1] = replace(batch[1], sender=Address("Bo", "bo@example.com"))
    batch[2] = replace(batch[2], labels=("other",))
    assert [list(one) for one in group_emails(batch)] == [[0, 3], [1], [2]]


def test_an_email_that_sets_variables_has_no_form() -> None:
    assert make_form(_compiled("{% set x = lead.first_name %}Hi {{ x }}"), values(), SHARED) is None
