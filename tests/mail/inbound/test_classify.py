"""Classification of inbound mail from many mail programs."""

from __future__ import annotations

from base64 import b64encode
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.replies import DEFAULT_ACTIONS, ReplyAction, ReplyClass
from nurture.mail.inbound.classify import ClassifiedMail, classify_mail
from nurture.mail.inbound.html_to_text import html_to_text
from nurture.mail.inbound.message import parse_fields, parse_mail
from nurture.mail.inbound.mime_parts import MAX_BYTES
from nurture.mail.inbound.out_of_office import parse_return_date
from nurture.mail.inbound.reply_phrases import find_meaning, is_opt_out_subject
from nurture.mail.inbound.reply_text import MAX_TEXT, extract_own_text
from tests.mail.inbound.replying import TO, TOKEN, bounce, mail

TODAY = date(2026, 2, 10)
IN_PERSON = {ReplyClass.WANTS_TO_TALK, ReplyClass.QUESTION, ReplyClass.UNCLEAR, ReplyClass.UNCLEAR_SHORT}
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
    assert (reply.kind, reply.text, reply.tokens) == (ReplyClass.WANTS_TO_TALK, "Call me", (TOKEN,))


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
    assert (reply.kind, reply.returns_on) == (ReplyClass.ABSENCE, date(2026, 3, 3))


@pytest.mark.parametrize(
    "text", ["back on 03/04/2026", "back tomorrow", "back on 31 February", "back on 3 March, or back on 9 March"]
)
def test_an_ambiguous_return_date_is_none(text: str) -> None:
    assert parse_return_date(text, TODAY) is None


def test_a_person_who_mentions_a_return_date_is_a_reply() -> None:
    assert read(mail("I am back on 3 March, call me then")).kind is ReplyClass.WANTS_TO_TALK
    assert read(mail("I am back on 3 March and read it then")).kind is ReplyClass.UNCLEAR_SHORT  # for a person


@pytest.mark.parametrize(
    "headers", [{"Auto_Submitted": "auto-generated"}, {"X_Autoreply": "yes"}, {"Precedence": "auto_reply"}]
)
def test_automatic_mail_is_recognized_by_its_headers(headers: dict[str, str]) -> None:
    assert read(mail("We have got your message", **headers)).kind is ReplyClass.AUTOMATIC
    assert read(mail("We have got your message", Auto_Submitted="no")).kind is ReplyClass.UNCLEAR_SHORT


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
    assert read(mail(f"{text}\n\nOn Mon, Ada wrote:\n> Hello")).kind is ReplyClass.NO_MAIL


@pytest.mark.parametrize(
    "text",
    [
        "Monsieur, j'ai lu vos articles avec plaisir. Je vous demande de me retirer de vos listes.",
        "Het product is prima, alleen stuur ons geen mails meer.",
        "Ich widerspreche gemäß Art. 21 DSGVO der Nutzung meiner Adresse für Werbung.",
        "I read your first articles with pleasure and would like to talk one day. Please remove me from your list.",
    ],
)
def test_a_friendly_word_in_another_sentence_does_not_hide_an_opt_out(text: str) -> None:
    assert read(mail(text)).kind is ReplyClass.NO_MAIL


@pytest.mark.parametrize("text", ["ok", "OK.", "Okay, thanks"])
def test_a_word_that_only_confirms_is_no_wish_to_talk(text: str) -> None:
    assert read(mail(text)).kind is ReplyClass.UNCLEAR_SHORT


@pytest.mark.parametrize(
    "text",
    [
        "Stop by our booth",
        "Please don't stop",
        "Yes, call me\n> unsubscribe",
        "Leave me alone until Monday, then call me",
        "We do not want these risks. Please call.",
        "I do not want this to wait, call me",
        "Please stop sending it to my old address",
    ],
)
def test_a_text_that_resembles_an_opt_out_is_a_reply(text: str) -> None:
    assert read(mail(text)).kind in IN_PERSON


@pytest.mark.parametrize(
    "text",
    [
        "Stop! I want to buy",
        "Thanks. Sounds good. When? At nine. Unsubscribe",
        "No further emails, I would like to talk: call me",
        "Could you tell me who has put me on a mailing list?",
        "Is there a form somewhere to abbestellen?",
        "How does odhlásit work here?",
    ],
)
def test_words_of_an_opt_out_that_may_mean_something_else_are_for_a_person(text: str) -> None:
    assert read(mail(text)).kind is ReplyClass.POSSIBLE_OPT_OUT


@pytest.mark.parametrize(
    "sender", ["Support <no-reply@people.example>", "MAILER-DAEMON@mx.example", "do_not_reply@x.example"]
)
def test_mail_from_a_machine_address_is_an_auto_reply(sender: str) -> None:
    assert read(mail("Your ticket 123 was created", sender=sender)).kind is ReplyClass.AUTOMATIC
    assert read(mail("Call me", sender="Noreen Reply <noreen@x.example>")).kind is ReplyClass.WANTS_TO_TALK


def test_an_unsubscribe_mail_of_a_mail_program_is_an_opt_out() -> None:
    assert read(mail("This was sent by a machine", subject="unsubscribe", Precedence="bulk")).kind is ReplyClass.NO_MAIL
    assert not is_opt_out_subject("Re: unsubscribe")


def test_a_bounce_has_the_address_and_the_token_of_the_message() -> None:
    hard = read(bounce("Mia@people.example"))
    assert (hard.kind, hard.tokens, hard.bounced_addresses) == (ReplyClass.BOUNCE, (TOKEN,), ("mia@people.example",))
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
    find_meaning(text, text, text)


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
    assert read(raw).kind in IN_PERSON | {ReplyClass.EMPTY}


def test_the_sender_contains_no_null_character() -> None:
    assert read(mail("Call me", sender="a\0b@people.example")).sender == "a b@people.example"


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(["On ", "> ", "back on 1 ", "From: x\n", "Am 1. ", "please ", "(", "--b\r\n"]))
def test_a_mail_of_maximum_size_is_read(piece: str) -> None:
    read(mail(piece * (MAX_BYTES // len(piece))))


NORA = "Nora Lind <nora@larkfield.example>"
QUOTATIONS = {
    "nb, wrapped": "man. 30. nov. 2026 kl. 10:12 skrev Nora Lind, Larkfield <nora@larkfield.example\n>:",
    "ja": f"2026年11月30日(月) 10:12 {NORA}:",
    "fi": "ma 30. marrask. 2026 klo 10.12 Nora Lind (nora@larkfield.example) kirjoitti:",
    "cs": f"po 30. 11. 2026 v 10:12 odesílatel {NORA} napsal:",
    "tr": f"{NORA}, 30 Kas 2026 Pzt, 10:12 tarihinde şunu yazdı:",  # noqa: RUF001
    "ru": f"пн, 30 нояб. 2026 г. в 10:12, {NORA}:",  # noqa: RUF001
    "sk, wrapped": f"po 30. 11. 2026 o 10:12\n{NORA} napísal(a):",
    "block, ja": f"差出人: {NORA}\n送信日時: 2026年11月30日 10:12\n宛先: Mia\n件名: Hello",
    "block, fi": f"Lähettäjä: {NORA}\nLähetetty: ma 30.11.2026 10.12\nVastaanottaja: Mia\nAihe: Hello",
    "block, zh": f"发件人: {NORA}\n发送时间: 2026年11月30日 10:12\n收件人: Mia\n主题: Hello",
}


@pytest.mark.parametrize("quotation", QUOTATIONS.values(), ids=QUOTATIONS.keys())
def test_a_quotation_is_cut_by_signs_that_need_no_language(quotation: str) -> None:
    reply = read(mail(f"Call me\n\n{quotation}\n\nHello Mia, unsubscribe here\nwords of ours".replace("\n", "\r\n")))
    assert (reply.kind, reply.text) == (ReplyClass.WANTS_TO_TALK, "Call me")


@pytest.mark.parametrize(
    "text",
    [
        "My colleague Eve Young <eve@other.example> decides:",
        "Tel: +49 30 2026 10\nMail: mia@people.example\nWeb: people.example",
        "Monday 10:00: call Eve\nTuesday 11:00: call Bo\nFriday 2026 12:00: decide",
    ],
)
def test_a_text_that_resembles_a_quotation_is_kept(text: str) -> None:
    assert text.partition("\n")[0] in read(mail(f"Hello\n\n{text}\nBye now and talk soon")).text


@pytest.mark.parametrize(
    ("subject", "text", "kind", "returns_on"),
    [
        ("Automatisk svar: x", "Jeg er ikke på kontoret før den 7. mars 2026.", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("Odpowiedź automatyczna: x", "Jestem na urlopie do 6 marca 2026 r.", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("Automaattinen vastaus: x", "Olen lomalla 6. maaliskuuta asti.", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("自動応答: x", "休暇中です。3月7日に戻ります。", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("自动回复: x", "我将于3月7日返回", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("Răspuns automat: x", "Sunt în concediu până la 6 martie.", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("תשובה אוטומטית: x", "אחזור ב-7 במרץ", ReplyClass.ABSENCE, date(2026, 3, 7)),
        ("ตอบกลับอัตโนมัติ: x", "7/3/2026", ReplyClass.AUTOMATIC, None),
        (
            "Read: Hello",
            "Your message\n\n  To: Mia\n  Subject: Hello\n\n was read on Monday.",
            ReplyClass.RECEIPT,
            None,
        ),
        ("Re: Hello", f"\n\nOn Mon, 30 Nov 2026 at 10:12, {NORA} wrote:\n> Hello Mia\n", ReplyClass.EMPTY, None),
    ],
)
def test_what_a_program_wrote_is_no_reply_in_any_language(
    subject: str, text: str, kind: ReplyClass, returns_on: date | None
) -> None:
    encoded = subject if subject.isascii() else f"=?utf-8?B?{b64encode(subject.encode()).decode()}?="
    reply = read(mail(text.replace("\n", "\r\n"), subject=encoded))
    assert (reply.kind, reply.returns_on) == (kind, returns_on)


@pytest.mark.parametrize(
    ("method", "kind", "text"),
    [
        ("REPLY", ReplyClass.CALENDAR_ANSWER, "Declined: Call Tuesday 3 March 2026, 10:00 (UTC)"),
        ("REQUEST", ReplyClass.MEETING, "Invites you to: Call Tuesday 3 March 2026, 10:00 (UTC)"),
    ],
)
def test_a_calendar_part_is_an_invitation_or_an_answer(method: str, kind: ReplyClass, text: str) -> None:
    event = "ATTENDEE;PARTSTAT=DECLINED:mailto:mia@people.example\r\nSUMMARY:Call\r\nDTSTART:20260303T100000Z\r\n"
    part = f"BEGIN:VCALENDAR\r\nMETHOD:{method}\r\nBEGIN:VEVENT\r\n{event}END:VEVENT\r\nEND:VCALENDAR\r\n"
    reply = read(mail(part, kind=f"text/calendar; method={method}; charset=UTF-8"))
    assert (reply.kind, reply.text) == (kind, text)
    assert (reply.meets_at is not None) == (method == "REQUEST")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Please delete all my personal data under GDPR.", ReplyClass.ERASURE_REQUEST),
        ("No thank you, not interested.", ReplyClass.NOT_INTERESTED),
        ("What does it cost?", ReplyClass.QUESTION),
        ("Ok, hm", ReplyClass.UNCLEAR_SHORT),
        ("I am not in charge any more, please write to Ann Lee.", ReplyClass.WRONG_PERSON),
        ("Please do not unsubscribe me, I want to keep reading.", ReplyClass.UNCLEAR),
        ("We cannot stop thinking about this. Please call me.", ReplyClass.WANTS_TO_TALK),
    ],
)
def test_a_reply_has_the_class_of_its_words(text: str, kind: ReplyClass) -> None:
    assert read(mail(text)).kind is kind


def test_a_reply_names_a_day_and_a_person() -> None:
    assert read(mail("Not now, try again in 3 months")).returns_on == date(2026, 5, 11)
    assert read(mail("Not now. Write again in September")).returns_on == date(2026, 9, 1)
    assert read(mail("Jetzt nicht, erst im Q3")).returns_on == date(2026, 7, 1)
    assert (
        read(mail("Wrong person, please contact Eve Young (eve@other.example).")).contact
        == "Eve Young <eve@other.example>"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Please send me more information.",
        "Could you please send me the brochure?",
        "I am interested.",
        "We are interested",
        "Interested",
        "Yes please, call me",
        "Schicken Sie mir bitte ein Angebot",
        "Pouvez-vous m'envoyer la brochure ?",
        "Estoy interesada.",
        "Proszę o więcej informacji",
        "詳しい資料を送ってください。",
    ],
)
def test_a_plain_request_is_handed_off(text: str) -> None:
    assert DEFAULT_ACTIONS[read(mail(text)).kind] is ReplyAction.HAND_OFF


@pytest.mark.parametrize(
    "text",
    [
        "Please don't call me.",
        "Please do not call me again, thanks",
        "No calls please",
        "I do not want to talk to sales",
        "We are not interested",
        "Bitte rufen Sie mich nicht an",
        "Ne m'appelez plus",
        "No me llame",
    ],
)
def test_who_wants_no_call_is_not_handed_off(text: str) -> None:
    assert DEFAULT_ACTIONS[read(mail(text)).kind] is not ReplyAction.HAND_OFF
