from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.opt_outs import (
    ALLOWED,
    COMPLAINED,
    DENIED,
    OPTED_OUT,
    REFUSALS,
    SUBSCRIBED,
    UNDELIVERABLE,
    ColumnMeaning,
    find_list_refusal,
    find_meaning,
    find_unclear_name,
    is_note_refusal,
    may_refuse,
    read_opt_out_flag,
    read_permission,
    read_refusal,
    read_status,
)
from nurture.formats.tables import read_table, split_cell

KNOWN = {
    OPTED_OUT: """
        Unsubscribed from all email;HasOptedOutOfEmail;is_do_not_email;Marketing Suspended;Black Listed;UNSUB_TIME
        Do not allow Bulk Emails;donotbulkemail;EMAIL_BLACKLISTED;emailAddressIsOptedOut;is_blacklisted;Do Not Mail
        Email Suppressions;unsubscribed_from_emails;Email Opted Out;Globally Unsubscribed;Unsubscribed At
        Custom_OptOut__c;hs_email_optout;Keine Werbung;Désabonné;DESABONNE;Dado de baja;Disiscritto;Uitgeschreven
        Wypisany;Descadastrado;Avregistrerad;Afmeldt;Avmeldt;Markkinointikielto;Odhlášen;Leiratkozott;Dezabonat
        Απεγγραφή;Abonelik iptal;Отписан;Відписаний;הוסר;إلغاء الاشتراك;配信停止;退订;수신거부
    """,
    UNDELIVERABLE: """
        Email hard bounce reason;hs_email_quarantined;Email Invalid;EmailBouncedReason;IsEmailBounced;Email Bounced
        CLEANED_TIME;Unzustellbar;E-Mail ungültig;Email invalide;Nieprawidłowy e-mail;メールアドレス無効;无效邮箱
    """,
    COMPLAINED: "Spam complaint;marked_email_as_spam;Beschwerde;Жалоба на спам;投诉",
    SUBSCRIBED: """
        Is Subscribed;Accepts Marketing;Opt-in status;Newsletter;Marketable;メルマガ購読;수신동의;sendable
        Email opt status;Kontakt OK;Kan kontaktas;Peut être contacté;Se puede contactar;Mag benaderd worden
        ニュースレター;メール送信;可联系
    """,
}


@pytest.mark.parametrize("field", KNOWN)
def test_columns_of_known_systems_and_languages_are_recognized(field: str) -> None:
    for name in KNOWN[field].strip().replace("\n", ";").split(";"):
        found = find_meaning(name.strip())
        assert found is not None, name
        assert found.field == field, name


def test_a_name_that_is_a_plain_consent_is_a_column_of_consent() -> None:
    assert find_meaning("I agree to receive marketing emails") == ColumnMeaning("consent_basis")
    assert find_meaning("Ja, ich möchte den Newsletter erhalten") == ColumnMeaning("consent_basis")
    with_notice = "I agree to receive marketing emails, which I can withdraw at any time."
    assert find_meaning(with_notice) == ColumnMeaning("consent_basis")
    assert find_meaning("I agree to the privacy policy") is None


@pytest.mark.parametrize(
    "name",
    [
        "May we email you?", "Do you want our newsletter?", "dürfen_wir_sie_per_e-mail_kontaktieren?",
        "Souhaitez-vous recevoir notre newsletter ?", "¿Desea recibir nuestro boletín?", "Mogen wij u mailen?",
        "Vuoi ricevere la nostra newsletter?", "Czy chcesz otrzymywać newsletter?",
        "Would you like product news by email?", "Newsletter gewünscht",
    ],
)  # fmt: skip
def test_a_question_about_email_is_a_subscription(name: str) -> None:
    assert find_meaning(name) == ColumnMeaning(SUBSCRIBED)


@pytest.mark.parametrize(
    "name", ["May we call you?", "Would you like no more emails?", "Do you want a demo?", "Dürfen wir Sie anrufen?"]
)
def test_another_question_is_none(name: str) -> None:
    assert find_meaning(name) is None


def test_no_system_keeps_a_column_of_opt_outs_as_a_plain_field() -> None:
    for row in read_table("columns.csv"):
        for name in split_cell(row["names"]) if row["field"] == "custom" else ():
            found = find_meaning(name)
            assert found is None or found.field == "custom", (row["system"], name)


def test_an_opt_out_column_may_name_a_topic() -> None:
    assert find_meaning("Opted out of email: Webinars") == ColumnMeaning(OPTED_OUT, "Webinars")
    assert find_meaning("hs_email_optout_4711") == ColumnMeaning(OPTED_OUT, "4711")


@pytest.mark.parametrize(
    "name",
    [
        "X_unsubscribed_flag_2", "Bounce count", "GDPR opt-out (marketing)", "Sperrkennzeichen", "my dnc list",
        "Spammer", "blacklist_reason_v2", "PARTNER-OPTOUT-EU", "Marketing widersprochen?", "Baja del boletín mensual",
        "Rezygnacja z newslettera", "メール配信停止フラグ", "退订状态", "수신거부 여부", "Отписан от рассылки",
        "Ne souhaite plus recevoir d'emails", "No desea recibir información", "Vill inte ha utskick", "Inactive Email",
        "Nem kér hírlevelet", "メール送らないで", "不想收邮件", "메일 원하지 않음",
        "לא רוצה לקבל מיילים", "لا يريد رسائل", "gdpr_erased", "Right to be forgotten", "Kontaktsperre bis",
        "Ne plus relancer", "Date désabo", "Escluso", "Löschvormerkung", "Optou por sair", "Email KO", "NPAI",
        "Do not bother", "invalid_mx", "Quarantined until", "Complaints (ESP)",
    ],
)  # fmt: skip
def test_a_name_that_speaks_of_opting_out_is_known_or_unclear(name: str) -> None:
    found = find_unclear_name(name)
    assert find_meaning(name) is not None or (found is not None and not found.positive)


@pytest.mark.parametrize(
    "name",
    [
        "Bounce rate", "Unsubscribe link", "Notes", "Do Not Call", "HasOptedOutOfFax", "SMS opt-out", "Spam score",
        "First Name", "Company", "Condo notes", "Industry", "Website", "Department", "Salutation", "Annual Revenue",
        "Rückmeldung", "Referrer", "Position", "Return Customer", "Redirect", "Country/Region", "Lead Source",
        "Phone No", "No of Employees", "Postcode", "Contact No", "Mailing Street", "Not a customer",
        "SMS Marketing Consent", "(Do Not Modify) Row Checksum", "Marketing emails opened", "Email Domain",
        "Number of Employees", "Priority", "Assigned to", "Preferred language",
    ],
)  # fmt: skip
def test_harmless_names_are_no_opt_outs(name: str) -> None:
    found = find_meaning(name)
    assert found is None or found.field == "custom"
    assert found is not None or find_unclear_name(name) is None


@pytest.mark.parametrize(
    "text",
    [
        "Yes", "Ja", "Oui", "Sí", "Tak", "Да", "はい", "כן", "1", "1.0", "x", "✓", "☑", "true", "2026-02-01",
        "20/11/2026 10:00", "3. März 2026", "Opted out (all)", "550 no such user", "Unknown user", "Do Not Allow",
        "USER_SUPPRESSED", "HardBounce", "maybe", "46157",
    ],
)  # fmt: skip
def test_a_yes_a_date_a_mark_a_reason_and_an_unknown_text_mean_yes(text: str) -> None:
    assert read_opt_out_flag(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "No",
        "Nein",
        "Non",
        "Nie",
        "Нет",
        "いいえ",
        "לא",
        "0",
        "0.0",
        "0000-00-00 00:00:00",
        "false",
        "Allow",
        "Subscribed",
        "☐",
        "[]",
    ],
)
def test_a_no_and_an_empty_cell_mean_no(text: str) -> None:
    assert not read_opt_out_flag(text)


def test_only_texts_of_the_vocabulary_are_known() -> None:
    assert not read_refusal("Q4").known
    assert read_refusal("2026-02-01").known


def test_a_bounce_in_an_opt_out_column_is_a_bounce() -> None:
    assert read_refusal("HardBounce").says == UNDELIVERABLE
    assert read_refusal("yes", UNDELIVERABLE).says == UNDELIVERABLE


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Unsubscribed", OPTED_OUT),
        ("blocklisted", OPTED_OUT),
        ("Do not email", OPTED_OUT),
        ("cleaned", UNDELIVERABLE),
        ("Bounced", UNDELIVERABLE),
        ("Spam complaint", COMPLAINED),
        ("Unsubscribed - 2024", OPTED_OUT),
        ("New", None),
        ("Not unsubscribed", None),
        ("Do Not Call", None),
        ("Subscribed", None),
        ("No contactar", OPTED_OUT),
        ("Ne pas autoriser", OPTED_OUT),
        ("Nicht zulassen", OPTED_OUT),
        ("Niet toestaan", OPTED_OUT),
        ("Nie zezwalaj", OPTED_OUT),
    ],
)
def test_status_words_refuse_by_their_meaning(text: str, says: str | None) -> None:
    assert read_status(text) == says


@pytest.mark.parametrize(
    "text",
    ["Yes", "Ja", "Oui", "Sí", "subscribed", "I agree to receive marketing emails", "I would like to receive news",
     "Ja, ich möchte den Newsletter erhalten", "I agree to receive marketing emails and can unsubscribe at any time",
     "Ja, ich willige in den Erhalt des Newsletters ein. Diese Einwilligung kann ich jederzeit widerrufen.",
     "J'accepte de recevoir la newsletter. Je peux me désabonner à tout moment.",
     "Chcę otrzymywać newsletter. Mogę zrezygnować w każdej chwili."],
)  # fmt: skip
def test_a_plain_yes_to_email_is_a_permission(text: str) -> None:
    assert read_permission(text).says == ALLOWED


@pytest.mark.parametrize(
    "text",
    ["Freely given consent withdrawn", "Legitimate interest - objected", "consent revoked", "Consentement retiré",
     "Tak - wycofane", "granted, later revoked"],
)  # fmt: skip
def test_a_withdrawn_consent_is_denied(text: str) -> None:
    assert read_permission(text).says == DENIED


@pytest.mark.parametrize(
    "text",
    [
        "Yes (phone only)", "Yes, by post only", "yes but not by email", "Yes - unsubscribed 2026-01", "maybe", "✗",
        "Yes, do not contact me", "I agree to the privacy policy", "I consent to the recording of this webinar",
        "I agree that my data is used for this event only", "Not opted in yet", "No, thanks", "pending", "Nein",
        "I do not agree to receive the newsletter", "never subscribed",
        "I agree to the processing of my email for updates", "Yes. Do not contact me at any time.",
        "Yes, you may stop emailing at any time", "Unsubscribed. You may write at any time by post",
    ],
)  # fmt: skip
def test_a_limited_or_unknown_consent_is_no_permission(text: str) -> None:
    assert read_permission(text).says != ALLOWED


def test_a_no_in_a_column_that_speaks_of_permission_may_be_an_opt_out() -> None:
    found = find_unclear_name("Email eligible")
    assert found is not None
    assert found.positive
    assert may_refuse("No", found)
    assert not may_refuse("Yes", found)


@pytest.mark.parametrize(
    "text",
    [
        "STOP", "Stop!", "do not email", "Do not e-mail him", "bitte keine Mails", "Bitte keine E-Mails mehr",
        "no emails please", "wants no mail", "Don't contact", "ne plus envoyer de mails", "no quiere correos",
        "non inviare email", "geen mails meer", "proszę nie pisać", "больше не писать", "不要发邮件", "NO MAIL",
        "nicht mehr anschreiben", "unsubscribed", "bounced", "メールを送らないで", "remove me", "lütfen mail atma",
        "Called 3/4, says never email him again", "2026-03-01 asked us to stop emailing", "DO NOT CONTACT - legal",
        "Spoke to Jim. Do not email.", "Opted out 12/2025", "do not email per call 12.3.", "customer;DNC",
        "vip, no-marketing", "ne plus contacter svp", "non contattare più", "niet meer mailen", "não contactar mais",
        "asked to be taken off the list", "ha chiesto di non essere contattato", "pidió la baja", "prosi o wypisanie",
        "möchte nicht mehr kontaktiert werden", "GDPR erasure request", "a demandé à être désinscrit",
    ],
)  # fmt: skip
def test_a_remark_that_says_only_no_email_refuses(text: str) -> None:
    assert is_note_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "not interested", "no email yet", "has no email", "met at the fair", "do not call", "Stop by our office", "no",
        "asked about the opt-out of our forms", "wants no call, email only", "Called, no answer. Will email next week.",
        "Please do not unsubscribe me", "removed from trial list", "No, thanks for now. Call back in May",
        "Kein Budget, wieder anrufen in Q3", "pas de budget", "nie ma budżetu",
        "No budget", "email sent", "please call", "Bus stop", "cancelled", "",
    ],
)  # fmt: skip
def test_another_remark_does_not(text: str) -> None:
    assert not is_note_refusal(text)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Unsubscribed", OPTED_OUT), ("Abmeldungen", OPTED_OUT), ("Désinscrits", OPTED_OUT), ("Bajas", OPTED_OUT),
        ("Disiscritti", OPTED_OUT), ("Wypisani", OPTED_OUT), ("Отписались", OPTED_OUT), ("退订", OPTED_OUT),
        ("DNC list", OPTED_OUT), ("Hard bounces", UNDELIVERABLE), ("Cleaned", UNDELIVERABLE), ("Spam", COMPLAINED),
        ("Leads", None), ("Sheet1", None), ("Do Not Call", None), ("Subscribed", None), ("No shows", None),
    ],
)  # fmt: skip
def test_a_list_may_be_named_after_those_who_refuse(name: str, says: str | None) -> None:
    assert find_list_refusal(name) == says


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Massen-E-Mail", "Nicht zulassen"), ("Bulk-e-mail", "Niet toestaan"), ("Email em massa", "Não permitir"),
        ("Recibir comunicaciones comerciales", "no"), ("Desidera ricevere comunicazioni", "no"), ("LOPD", "no"),
        ("RODO", "cofnięta"), ("LGPD", "revogado"), ("Privacy", "negato"), ("Consent through E-Mail", "nein"),
    ],
)  # fmt: skip
def test_a_no_in_a_permission_of_another_language_may_be_an_opt_out(name: str, text: str) -> None:
    found = find_unclear_name(name)
    assert found is not None
    assert may_refuse(text, found)


def test_a_false_inside_an_object_of_subscriptions_may_be_an_opt_out() -> None:
    found = find_unclear_name("cio_subscription_preferences")
    assert found is not None
    assert may_refuse('{"topics":{"topic_1":false}}', found)
    assert not may_refuse('{"topics":{"topic_1":true}}', found)


STEMS = sorted(
    text
    for row in read_table("opt_outs.csv")
    if row["kind"] == "stem" and row["origin"] == "en"
    for text in split_cell(row["texts"])
)


@given(
    st.sampled_from(STEMS),
    st.sampled_from(["", "x_", "Custom ", "is", "CRM-"]),
    st.sampled_from(["", "_1", " (old)", "__c", "2"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_every_spelling_of_a_stem_is_recognized(stem: str, before: str, after: str, case: object) -> None:
    name = case(f"{before}{stem}{after}")  # type: ignore[operator]
    assert find_meaning(name) is not None or find_unclear_name(name) is not None


@given(st.text(max_size=80))
def test_every_text_has_a_reading(text: str) -> None:
    assert read_refusal(text).says in (*REFUSALS, ALLOWED, "")
    read_permission(text)
    read_status(text)
    find_meaning(text)
    find_unclear_name(text)
