"""Classification of inbound mail from many mail programs."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.mail.inbound.classify import ClassifiedMail, InboundKind, classify_mail
from nurture.mail.inbound.html_to_text import html_to_text
from nurture.mail.inbound.message import parse_fields, parse_mail
from nurture.mail.inbound.mime_parts import MAX_BYTES
from nurture.mail.inbound.opt_out_phrases import is_opt_out
from nurture.mail.inbound.out_of_office import parse_return_date
from nurture.mail.inbound.reply_text import MAX_TEXT, extract_own_text
from tests.mail.inbound.replying import TO, TOKEN, bounce, mail

TODAY = date(2026, 2, 10)
OURS = "> Read our guide\n> Unsubscribe: https://go.example.com/u/x\n"
QUOTED = {
    "gmail": f"Call me\n\nOn Mon, Jan 5, 2026 at 9:00 AM Ada <ada@house.example> wrote:\n\n{OURS}",
    "gmail, wrapped": f"Call me\n\nOn Mon, Jan 5, 2026 at 9:00 AM Ada <\nada@house.example> wrote:\n\n{OURS}",
    "apple": f"Call me\n\nSent from my iPhone\n\n> On 5 Jan, at 09:00, Ada <a@house.example> wrote:\n{OURS}",
    "outlook": "Call me\n\n________________________________\nFrom: Ada <a@house.example>\nSent: Mon\nStop",
    "outlook, german": "Call me\n\nVon: Ada <a@house.example>\nGesendet: Montag\nAn: Mia\n\nStop",
    "outlook, old": "Call me\n\n-----Ursprüngliche Nachricht-----\nVon: Ada\nStop",
    "german": f"Call me\n\nAm Mo., 5. Jan. 2026 um 09:00 Uhr schrieb Ada <ada@house.example>:\n\n{OURS}",
    "french": f"Call me\n\nLe lun. 5 janv. 2026 à 09:00, Ada <ada@house.example> a écrit :\n\n{OURS}",
    "spanish": f"Call me\n\nEl lun, 5 ene 2026 a las 9:00, Ada (<ada@house.example>) escribió:\n\n{OURS}",
    "below": f"On Mon, Ada <ada@house.example> wrote:\n{OURS}\nCall me",
    "signed": "Call me\n-- \nMia Berg\nStock Ltd",
}


def read(raw: bytes, today: date = TODAY) -> ClassifiedMail:
    return classify_mail(parse_mail(raw), today)


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED.keys())
def test_a_reply_keeps_only_the_persons_own_text(text: str) -> None:
    reply = read(mail(text.replace("\n", "\r\n")))
    assert (reply.kind, reply.text, reply.tokens) == (InboundKind.REPLY, "Call me", (TOKEN,))


@pytest.mark.parametrize(
    "text",
    [
        "I will be back on 3 March.",
        "I return to the office on Tuesday, March 3rd, 2026.",
        "Out until 2026-03-02, no access to mail",
        "Ich bin ab dem 3. März wieder im Büro.",
        "Bis zum 02.03.2026 bin ich nicht im Haus.",
        "zurück ab 3.3.",
        "Ich bin am 03.03.2026 wieder im Büro",
        "Je suis absent jusqu'au 2 mars inclus.",
        "Je serai de retour le 3 mars 2026",
        "Regreso el 3 de marzo de 2026",
        "Estoy fuera hasta el 2 de marzo",
        "Away from 16 February until 2 March. Back on 3 March.",
    ],
)
def test_the_return_date_is_read_in_many_formats(text: str) -> None:
    reply = read(mail(text, subject="Out of office", Auto_Submitted="auto-replied"))
    assert (reply.kind, reply.returns_on) == (InboundKind.OUT_OF_OFFICE, date(2026, 3, 3))


@pytest.mark.parametrize(
    "text", ["back on 03/04/2026", "back tomorrow", "back on 31 February", "back on 3 March, or back on 9 March"]
)
def test_an_ambiguous_return_date_is_none(text: str) -> None:
    assert parse_return_date(text, TODAY) is None


def test_a_person_who_mentions_a_return_date_is_a_reply() -> None:
    assert read(mail("I am back on 3 March, call me then")).kind is InboundKind.REPLY


@pytest.mark.parametrize(
    "headers", [{"Auto_Submitted": "auto-generated"}, {"X_Autoreply": "yes"}, {"Precedence": "auto_reply"}]
)
def test_automatic_mail_is_recognized_by_its_headers(headers: dict[str, str]) -> None:
    assert read(mail("We have got your message", **headers)).kind is InboundKind.AUTO_REPLY
    assert read(mail("Hello", Auto_Submitted="no")).kind is InboundKind.REPLY


@pytest.mark.parametrize(
    "text",
    [
        "STOP!",
        "Hi Ada,\n\nPlease take me off your mailing list.\n\nBest regards\nMia Berg\nCEO",
        "unsubscribe me please",
        "Bitte nehmen Sie mich aus dem Verteiler.",
        "Bitte keine weiteren E-Mails mehr!",
        "Merci de me désinscrire",
        "Darme de baja, por favor",
        "Unsubscribe\n\nMia Berg\nCEO, Stock Ltd\n+49 30 1234",
        "STOP\n\nMia Berg",
        "Remove us from your list\n\nThis email is confidential" + ", and so on" * 50,
        "Hi Ada,\n\nwe are not interested. Please remove me from your list. Thanks, Mia",
        "I am the wrong person, please stop emailing me",
        "Stop spamming me or I report you",
        "How do I unsubscribe?",
        "Kein Interesse, bitte keine weiteren E-Mails",
        "Please leave me alone.",
        "I do not want any more emails from you",
        "We don't want to hear from you again.",
        "Not interested, please stop writing.",
        "Bitte lassen Sie mich in Ruhe.",
        "Laissez-moi tranquille",
        "Déjenme en paz",
        "Lasciatemi in pace",
        "Laat me met rust",
    ],
)
def test_an_opt_out_is_recognized_in_many_languages(text: str) -> None:
    assert read(mail(f"{text}\n\nOn Mon, Ada wrote:\n> Hello")).kind is InboundKind.OPT_OUT


@pytest.mark.parametrize(
    "text",
    [
        "Stop by our booth",
        "Please don't stop",
        "Yes, call me\n> unsubscribe",
        "Stop! I want to buy",
        "Leave me alone until Monday, then call me",
        "We do not want these risks. Please call.",
        "I do not want this to wait, call me",
        "Thanks. Sounds good. When? At nine. Unsubscribe",
        "Please stop sending it to my old address",
    ],
)
def test_a_text_that_resembles_an_opt_out_is_a_reply(text: str) -> None:
    assert read(mail(text)).kind is InboundKind.REPLY


@pytest.mark.parametrize(
    "sender", ["Support <no-reply@people.example>", "MAILER-DAEMON@mx.example", "do_not_reply@x.example"]
)
def test_mail_from_a_machine_address_is_an_auto_reply(sender: str) -> None:
    assert read(mail("Your ticket 123 was created", sender=sender)).kind is InboundKind.AUTO_REPLY
    assert read(mail("Call me", sender="Noreen Reply <noreen@x.example>")).kind is InboundKind.REPLY


def test_an_unsubscribe_mail_of_a_mail_program_is_an_opt_out() -> None:
    assert (
        read(mail("This was sent by a machine", subject="unsubscribe", Precedence="bulk")).kind is InboundKind.OPT_OUT
    )
    assert not is_opt_out("Hello", "Re: unsubscribe")


def test_a_bounce_has_the_address_and_the_token_of_the_message() -> None:
    hard = read(bounce("Mia@people.example"))
    assert (hard.kind, hard.tokens, hard.bounced_addresses) == (InboundKind.BOUNCE, (TOKEN,), ("mia@people.example",))
    for status in ("5.2.2", "5.7.1", "4.4.1"):
        assert read(bounce("mia@people.example", status)).bounced_addresses == ()
    assert read(bounce("mia@people.example", action="delayed")).bounced_addresses == ()


def test_html_is_converted_to_lines_of_text() -> None:
    html = (
        '<div>Call me<br>at <b>nine</b></div><script>x</script><div class="gmail_quote">'
        "On Mon, Ada &lt;ada@house.example&gt; wrote:<br><blockquote>Unsubscribe</blockquote></div>"
    )
    assert read(mail(html, kind="text/html; charset=utf-8")).text == "Call me\nat nine"


def test_a_wrong_charset_loses_no_reply() -> None:
    raw = mail("Grüße", kind="text/plain; charset=us-ascii").replace("Grüße".encode(), "Grüße".encode("cp1252"))
    assert read(raw).text == "Grüße"
    assert read(mail("Grüße", kind="text/plain; charset=nonsense")).text == "Grüße"


@given(st.binary(max_size=2_000))
def test_any_bytes_can_be_read(raw: bytes) -> None:
    read(raw)
    read(mail("x") + raw)
    read(mail("", kind='multipart/mixed; boundary="b"') + b"--b\r\n" + raw)


@given(st.dictionaries(st.sampled_from(["headers", "text", "html", "subject", "to"]), st.binary(max_size=300)))
def test_any_fields_can_be_read(fields: dict[str, bytes]) -> None:
    classify_mail(parse_fields(fields, dict.fromkeys(fields, "utf-16"), envelope_to=[TO]), TODAY)


@given(st.text(max_size=2_000))
def test_any_text_can_be_read(text: str) -> None:
    own_text = extract_own_text(text)
    assert len(own_text.full) <= MAX_TEXT
    assert not {"\u202e", "\x00", "\x1b"} & set(own_text.full)
    html_to_text(text)
    parse_return_date(text, TODAY)
    is_opt_out(text, text)


_SEMICOLONS = ";" * 300_000


@pytest.mark.parametrize(
    "raw",
    [
        mail("Call me", kind="text/plain; charset=punycode").replace(b"Call me", b"a-" + b"9a" * 1_000_000),
        mail("x", kind=f'multipart/mixed; boundary="{_SEMICOLONS}'),
        mail(
            f'--b\r\nContent-Type: text/plain; charset="{_SEMICOLONS}\r\n\r\nx\r\n--b--',
            kind="multipart/mixed; boundary=b",
        ),
        mail("<div>" * 100_000, kind="text/html"),
        mail("Call me", sender="(" * 4_000),
        mail("Call me", Date="(" * 4_000),
        mail(("on aaaa<" + "@" * 900 + "\n") * 100),
    ],
    ids=["charset", "header", "part", "tags", "sender", "date", "quotation"],
)
def test_an_attack_on_the_parser_is_read_as_a_reply(raw: bytes) -> None:
    assert read(raw).kind is InboundKind.REPLY


def test_the_sender_contains_no_null_character() -> None:
    assert read(mail("Call me", sender="a\0b@people.example")).sender == "a b@people.example"


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(["On ", "> ", "back on 1 ", "From: x\n", "Am 1. ", "please ", "(", "--b\r\n"]))
def test_a_mail_of_maximum_size_is_read(piece: str) -> None:
    read(mail(piece * (MAX_BYTES // len(piece))))
