from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import ColumnMapping
from nurture.formats.lead_file import LeadFile, open_leads
from nurture.formats.lead_row import LeadRow
from nurture.formats.rejected_rows import BadRow
from nurture.formats.status_mapping import ConsentBasis, LeadStatus


def read(tmp_path: Path, columns: dict[str, str], mapping: ColumnMapping | None = None) -> LeadRow:
    """Return the lead of a file of one row with *columns*."""
    (found,) = opened(tmp_path, [*columns.items()], mapping)
    assert isinstance(found, LeadRow), found
    return found


def opened(tmp_path: Path, columns: list[tuple[str, str]], mapping: ColumnMapping | None = None) -> LeadFile:
    path = tmp_path / "leads.csv"
    header, cells = zip(("Email", "a@example.com"), *columns, strict=True)
    quoted = [",".join(f'"{cell}"' for cell in line) for line in (header, cells)]
    path.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    return open_leads(path, mapping)


def refuses(lead: LeadRow) -> bool:
    return bool(lead.opted_out or lead.undeliverable or lead.complained or lead.opted_out_topics)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("Opted out of email: Marketing Information", "Yes"),
        ("Email hard bounce reason", "Unknown user"),
        ("EmailBouncedReason", "550 no such user"),
        ("UNSUB_TIME", "2026-02-01 10:00:00"),
        ("status", "cleaned"),
        ("status", "blocklisted"),
        ("Do not allow Bulk Emails", "Do Not Allow"),
        ("Marketing status", "Unsubscribed"),
        ("Email Suppressions", "USER_SUPPRESSED"),
        ("Accepts Marketing", "FALSE"),
        ("Is Subscribed", "No"),
        ("Lead Status", "Bounced"),
        ("Status", "Do not email"),
        ("Opt-in status", "Opted out"),
        ("Contact preference", "no email"),
        ("E-Mail-Status", "gesperrt"),
        ("Email opt status", "Out"),
        ("メール送信", "NG"),
        ("ニュースレター", "不要"),
        ("Kan kontaktas", "nej"),
        ("Kontakt OK", "nein"),
        ("Status", "GDPR erasure requested"),
        ("List status", "Removed"),
        ("Bounces", "3"),
        ("Opted Out of Reminder", "Yes"),
        ("Please do not contact me", "Checked"),
        ("State", "Unsubscribed"),
        ("State", "Deleted"),
        ("Removal reason", "user complaint"),
        ("Removed on", "2026-01-04"),
        ("Mailability", "Do Not Email"),
        ("Contact Method: Email", "Do Not Allow"),
        ("Consent for commercial communications", "Opted out"),
        ("Bulk Email Status", "Transactional"),
        ("Email Suspended Cause", "550 spam block"),
        ("Bounced Back?", "Yes"),
        ("Individual: Don't Market", "true"),
        ("Do not disturb", "true"),
        ("Global Unsubscribes", "2026-01-01"),
        ("IsExcludedFromCampaigns", "true"),
        ("IsSpamComplaining", "true"),
        ("Stop Status", "unsubscribed"),
        ("Lawful Basis Status", "withdrawn"),
        ("Liste Status", "gelöscht"),
        ("Statut", "NPAI"),
        ("Descadastrado em", "2026-01-02"),
        ("Не рассылать", "да"),  # noqa: RUF001 - Russian
        ("Разрешена рассылка", "нет"),
        ("Would you like to hear from us?", "No"),
        ("Email validity", "bad"),
        ("Verification", "invalid"),
        ("Ingen e-post", "1"),
        ("Mailverbot", "ja"),
        ("non_transactional", "true"),
        ("Mailability Status", "Cannot be emailed"),
        ("List status", "abused"),
        ("Afskráður", "já"),
        ("Dim e-bost", "ie"),
        ("सदस्यता रद्द", "हाँ"),
        ("لغو عضویت", "بله"),
        ("Kontaktstatus", "Archiviert"),
        ("E-Mail-Status", "archiviert"),
        ("Email Status", "Rejeitado"),
        ("Member Status", "Cleaned"),
        ("Opt Out", "Confirmed"),
        ("Do Not Email", "Enabled"),
        ("Abgemeldet", "bestätigt"),
        ("Bounce type", "Permanent"),
        ("Email hard bounce reason", "mailbox full"),
        ("Bounce reason", "550 5.1.1 temporarily assigned to nobody"),
        ("Email status", "suppressed after repeated soft bounces"),
        ("Suppression reason", "soft bounce"),
    ],
)
def test_a_refusal_counts_beside_a_consent(tmp_path: Path, column: str, text: str) -> None:
    assert refuses(read(tmp_path, {"Consent": "Yes", column: text}))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("Do not allow Bulk Emails", "Allow"),
        ("Unsubscribed from all email", ""),
        ("EMAIL_BLACKLISTED", "No"),
        ("Accepts Marketing", "TRUE"),
        ("Status", "subscribed"),
        ("List status", "Active"),
        ("Bounces", "0"),
        ("Opted Out of Reminder", "No"),
        ("Please do not contact me", "No"),
        ("State", "Baja California"),
        ("State", "Texas"),
        ("Mailability", "Mailable"),
        ("Contact Method: Email", "Allow"),
        ("Bulk Mail", "Single Opt-In"),
        ("Excluded from campaigns", "No"),
        ("Do not disturb", "false"),
        ("Removal reason", ""),
        ("Do Not Call", "Yes"),
        ("Status", "1"),
        ("Lead Status", "2"),
        ("Stage", "3"),
        ("Lead Status", "Pending"),
        ("Account Status", "Inactive"),
        ("Last Name", "Stop"),
        ("Lead Source", "Website"),
        ("Subscription plan", "None"),
        ("Cookie consent", "No"),
        ("WhatsApp opt-in", "false"),
        ("Kündigungsfrist", "3 Monate"),
        ("同意書", "無"),
        ("Bounce type", "Soft"),
        ("Bounced", "soft"),
        ("Bounce reason", "mailbox full"),
        ("Email status", "soft bounced"),
        ("Status", "Bounced (soft)"),
        ("Trial status", "suspended"),
        ("Order status", "offen"),
        ("Data status", "Cleaned"),
        ("Email bounced", "verified"),
        ("DOI Status", "bestätigt"),
        ("Einwilligung", "liegt vor"),
        ("GDPR consent", "Art. 6 Abs. 1 lit. a DSGVO"),
        ("GDPR consent", "I have read and accept the privacy policy"),
        ("Newsletter", "weekly"),
        ("Country", "NL"),
    ],
)
def test_a_row_that_may_be_mailed_is_not_refused(tmp_path: Path, column: str, text: str) -> None:
    lead = read(tmp_path, {"Consent": "Yes", column: text})
    assert not refuses(lead)
    assert lead.consent_basis is ConsentBasis.CONSENT


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("Email status", "Awaiting Confirmation"),
        ("Subscription status", "Not subscribed"),
        ("Status", "unbestätigt"),
        ("Marketing contact status", "Non-marketing contact"),
        ("Marketing Permission", "2"),
        ("Email Permission", "NL"),
        ("Toestemming", "AVG"),
        ("Estado", "Inactivo"),
        ("Statut", "inactif"),
        ("List status", "Suspended"),
        ("DOI Status", "offen"),
        ("Double Opt-In", "angefordert"),
        ("Email status", "pending"),
        ("Status", "Pending"),
        ("State", "Unconfirmed"),
        ("Email Status", "Provided Email, No Opt In"),
        ("オプトイン", "×"),  # noqa: RUF001 - a cross in a form
        ("Contact Status", "en attente"),
        ("Subscription status", "Pending"),
        ("Status", "2"),
        ("Contact Status", "3"),
        ("ActiveCampaign status", "0"),
    ],
)
def test_a_permission_that_is_not_given_yet_or_is_a_code_gives_no_basis(tmp_path: Path, column: str, text: str) -> None:
    lead = read(tmp_path, {"Consent": "Yes", column: text})
    assert not refuses(lead)
    assert lead.consent_basis is None


def test_a_code_of_a_status_that_the_mapping_names_is_known(tmp_path: Path) -> None:
    mapping = ColumnMapping(statuses={"2": LeadStatus.OPEN})
    assert read(tmp_path, {"Consent": "Yes", "Status": "2"}, mapping).consent_basis is ConsentBasis.CONSENT


def test_the_articles_of_the_gdpr_are_bases(tmp_path: Path) -> None:
    bases = {"Art. 6(1)(f) GDPR": "legitimate_interest", "AVG art. 6 lid 1 onder b": "contract"}
    for text, basis in (bases | {"Article 6.1.a": "consent"}).items():
        assert read(tmp_path, {"Consent": text}).consent_basis == basis
    assert read(tmp_path, {"Consent": "Art. 6(1)(c) GDPR"}).consent_basis is None


def test_the_other_addresses_of_a_person_are_kept_and_those_of_others_are_not(tmp_path: Path) -> None:
    columns = {"E-Mail 2": "b@example.com; c@example.com", "Owner Email": "rep@example.com", "Privat-Mail": "x"}
    assert read(tmp_path, columns).other_addresses == ("b@example.com", "c@example.com")
    assert read(tmp_path, {"Correo secundario": "B@example.com"}).other_addresses == ("b@example.com",)
    assert read(tmp_path, {"Manager email": "m@example.com"}).other_addresses == ()


def test_the_date_and_the_topic_of_an_opt_out_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, {"Unsubscribed At": "2026-02-01"}).opted_out_at == datetime(2026, 2, 1, tzinfo=UTC)
    lead = read(tmp_path, {"Opted out of email: Webinars": "Yes"})
    assert (lead.opted_out, lead.opted_out_topics) == (None, ("Webinars",))


def test_a_mapped_opt_out_is_added_to_the_recognized_ones(tmp_path: Path) -> None:
    mapping = ColumnMapping(columns={"Opted out of email: News": "opted_out"}, constants={"consent_basis": "consent"})
    columns = {"Unsubscribed from all email": "true", "Opted out of email: News": "", "Do Not Email": ""}
    assert read(tmp_path, columns, mapping).opted_out


def test_an_unclear_column_stops_the_import_until_it_is_mapped_or_skipped(tmp_path: Path) -> None:
    columns = [("Consent", "Yes"), ("Sperrkennzeichen", "x")]
    with pytest.raises(FileUnreadable, match=r"'Sperrkennzeichen' looks like an opt-out .*--skip-column"):
        opened(tmp_path, columns)
    with pytest.raises(FileUnreadable, match="looks like an opt-out"):
        opened(tmp_path, columns, ColumnMapping(columns={"Sperrkennzeichen": "need"}))
    mapped = ColumnMapping(columns={"Sperrkennzeichen": "opted_out"})
    assert read(tmp_path, dict(columns), mapped).opted_out
    skipped = ColumnMapping(columns={"Sperrkennzeichen": "skip"})
    assert not refuses(read(tmp_path, dict(columns), skipped))


def test_values_that_speak_of_opting_out_stop_the_import(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="'Tags' looks like an opt-out"):
        opened(tmp_path, [("Tags", "vip, unsubscribed")])
    for name, text in (
        ("Email eligible", "No"),
        ("Communication preference", "None"),
        ("Kündigung Newsletter", "15.03.2026"),
        ("Compliance", "Right to be forgotten"),
        ("Ne veut plus", "oui"),
        ("Ne pas recevoir nos offres", "oui"),
        ("DSGVO", "Widerspruch eingelegt"),
        ("GDPR", "erased"),
        ("CASL", "expired"),
        ("Consent expiry", "2024-01-01"),
        ("Kontaktpräferenz", "keine"),
        ("Reason", "550 5.1.1 no such user"),
        ("संदर्भ", "हाँ"),
    ):
        with pytest.raises(FileUnreadable, match=rf"'{re.escape(name)}' looks like"):
            opened(tmp_path, [(name, text)])
    assert not refuses(read(tmp_path, {"Comments": "unsubscribed"}))
    path = tmp_path / "counts.csv"
    path.write_text("Email,Newsletters\na@example.com,0\nb@example.com,7\n", encoding="utf-8")
    with open_leads(path) as file:
        assert not any(refuses(row) for row in file if isinstance(row, LeadRow))


def test_an_unattended_import_marks_the_rows_of_an_unclear_column(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Email,Sperrkennzeichen\na@example.com,x\nb@example.com,\nc@example.com,nein\n", encoding="utf-8")
    found = [row.unclear_opt_out for row in open_leads(path, attended=False) if isinstance(row, LeadRow)]
    assert found == ["Sperrkennzeichen", None, None]


def test_of_an_unclear_column_of_remarks_only_the_refusals_count(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Email,Notizen\na@example.com,will Angebot\nb@example.com,bitte keine Mails\n", encoding="utf-8")
    found = [row.unclear_opt_out for row in open_leads(path, attended=False) if isinstance(row, LeadRow)]
    assert found == [None, "Notizen"]


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"consent": {"status": "granted"}}, (ConsentBasis.CONSENT, None)),
        ({"consent": {"status": "denied"}}, (None, None)),
        ({"opt_out": {"at": "2026-01-02"}}, (None, True)),
        ({"properties": {"unsubscribed": True}}, (None, True)),
        ({"mailing_address": {"city": "Lyon"}, "consent": "yes"}, (ConsentBasis.CONSENT, None)),
    ],
)
def test_a_nested_object_keeps_what_it_says_about_permission(
    tmp_path: Path, said: dict[str, object], says: tuple[ConsentBasis | None, bool | None]
) -> None:
    path = tmp_path / "leads.json"
    path.write_text(json.dumps([{"email": "a@example.com", **said}]), encoding="utf-8")
    (found,) = open_leads(path, attended=False)
    assert isinstance(found, LeadRow)
    assert (found.consent_basis, found.opted_out) == says


def test_a_mapping_may_invert_a_column_and_say_what_its_values_mean(tmp_path: Path) -> None:
    mapping = ColumnMapping(columns={"Code": "opted_out"}, values={"Code": {"a": True, "b": False, "date": True}})
    assert read(tmp_path, {"Code": "A"}, mapping).opted_out
    assert read(tmp_path, {"Code": "b"}, mapping).opted_out is False
    assert read(tmp_path, {"Code": "2026-01-01"}, mapping).opted_out
    inverse = ColumnMapping(columns={"Mail me": "subscribed"})
    assert read(tmp_path, {"Mail me": "no"}, inverse).opted_out
    assert read(tmp_path, {"Mail me": "yes"}, inverse).consent_basis is ConsentBasis.CONSENT


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GDPR Consent", "Email Opt In"),
        ("Marketing Consent", "Email Opt In"),
        ("Consent", "GDPR Consent"),
        ("Consent", "Opt In"),
    ],
)
def test_of_several_consent_columns_a_no_decides(tmp_path: Path, first: str, second: str, order: int) -> None:
    for yes, no in ((first, second), (second, first)):
        lead = read(tmp_path, dict([(yes, "Yes"), (no, "No")][::order]))
        assert (lead.consent_basis, lead.consent_withdrawn) == (None, True)
    assert read(tmp_path, {first: "Yes", second: "Yes"}).consent_basis is ConsentBasis.CONSENT


def test_twin_columns_that_disagree_give_no_basis_and_are_reported(tmp_path: Path) -> None:
    file = opened(tmp_path, [("Consent", "Yes"), ("Consent", "No")])
    (lead,) = file
    assert isinstance(lead, LeadRow)
    assert (lead.consent_basis, lead.consent_withdrawn) == (None, None)
    assert file.describe_noted() == ["the columns named 'Consent' disagree in 1 row: no basis"]


def test_unknown_consent_texts_are_reported_with_their_counts(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    rows = [
        f"{name}@example.com,{text}\n"
        for name, text in zip("abc", ("Yes (phone only)", "perhaps", "perhaps"), strict=True)
    ]
    path.write_text("Email,Consent\n" + "".join(rows), encoding="utf-8")
    with open_leads(path) as file:
        assert [row.consent_basis for row in file if isinstance(row, LeadRow)] == [None] * 3
        (remark,) = file.describe_noted()
    assert "3 cells" in remark
    assert "'perhaps' (2)" in remark


def test_the_opt_out_of_a_bad_row_is_kept(tmp_path: Path) -> None:
    (row,) = opened(tmp_path, [("Unsubscribed", "Yes"), ("Attended", "perhaps")])
    assert isinstance(row, BadRow)
    assert [(one.email, one.opted_out) for one in row.opt_outs] == [("a@example.com", True)]


@pytest.mark.parametrize("line", ["a@example.com,Yes", "a@example.com,Yes,Rio,Brazil,x", "a@example.com; x,2026-01-01"])
def test_the_opt_out_of_a_row_that_does_not_fit_the_header_is_kept(tmp_path: Path, line: str) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(f"Email,Unsubscribed,City,Country\n{line}\n", encoding="utf-8")
    with open_leads(path) as file:
        (row,) = file
    assert isinstance(row, BadRow)
    assert [(one.email, one.opted_out) for one in row.opt_outs] == [("a@example.com", True)]


def test_the_withdrawal_of_a_bad_row_is_kept(tmp_path: Path) -> None:
    (row,) = opened(tmp_path, [("Consent", "No"), ("Attended", "perhaps")])
    assert isinstance(row, BadRow)
    assert [one.consent_withdrawn for one in row.opt_outs] == [True]


COLUMNS = (
    "Unsubscribed",
    "Do Not Email",
    "Status",
    "Email Bounced",
    "Is Subscribed",
    "Opted out of email: News",
    "Consent",
)
TEXTS = ("", "Yes", "No", "Unsubscribed", "cleaned", "2026-01-01", "maybe", "x", "Open")
TARGETS = ("opted_out", "subscribed", "undeliverable", "consent_basis", "status", "need", "custom", "industry")


@settings(max_examples=150)
@given(
    cells=st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(TEXTS), min_size=1),
    targets=st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(TARGETS)),
    table=st.dictionaries(st.sampled_from([text.casefold() for text in TEXTS if text]), st.booleans()),
    constants=st.dictionaries(st.sampled_from(["consent_basis", "opted_out"]), st.just("no")),
    templates=st.dictionaries(st.sampled_from(["opted_out", "complained"]), st.just("{Flag}")),
    statuses=st.dictionaries(st.sampled_from(["unsubscribed", "cleaned"]), st.sampled_from(LeadStatus)),
)
def test_no_mapping_makes_a_refused_lead_mailable(
    tmp_path_factory: pytest.TempPathFactory,
    cells: dict[str, str],
    targets: dict[str, str],
    table: dict[str, bool],
    constants: dict[str, str],
    templates: dict[str, str],
    statuses: dict[str, LeadStatus],
) -> None:
    folder, cells = tmp_path_factory.mktemp("law"), {**cells, "Flag": "no"}
    automatic = read(folder, cells)
    columns = {name: target for name, target in targets.items() if name in cells}
    mapping = ColumnMapping(
        columns=columns,
        values={name: table for name, target in columns.items() if target in ("opted_out", "subscribed")},
        constants=constants,
        templates=templates,
        statuses=statuses,
    )
    if refuses(automatic):
        assert refuses(read(folder, cells, mapping))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("MailerLite status", "junk"),
        ("Pazarlama izni", "Hayır"),  # noqa: RUF001 - Turkish
        ("İYS durumu", "RET"),
        ("E-posta gönderilmesin", "evet"),
        ("Cofnięcie zgody", "2026-01-02"),
        ("Obchodní sdělení", "ne"),
        ("Nesouhlas", "ano"),
        ("Frabedt reklame", "ja"),
        ("Reserverad", "ja"),
        ("Suglasnost", "ne"),
        ("Sutikimas", "ne"),
        ("Piekrišana", "nē"),
        ("Nõusolek", "ei"),
        ("Persetujuan", "tidak"),
        ("ยินยอม", "ไม่"),
        ("メール配信", "停止中"),
        ("メルマガ配信", "しない"),
        ("メール可否", "否"),
        ("お知らせメール", "受け取らない"),
        ("配信エラー", "あり"),
        ("ステータス", "退会"),
        ("是否接收邮件", "否"),
        ("订阅状态", "已取消"),
        ("이메일 수신동의", "미동의"),
        ("الاشتراك", "ملغى"),
        ("Kontaktaufnahme per E-Mail", "unerwünscht"),
        ("Communication preference", "Phone only"),
        ("Emailable", "unemailable"),
        ("is_archived", "true"),
        ("Last Name", "Lima (do not email)"),
        ("Lead Source", "Unsubscribed"),
        ("Notes", "requested removal from list"),
    ],
)
def test_a_no_of_any_system_and_language_is_never_mailable(tmp_path: Path, column: str, text: str) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(f'Email,Consent,"{column}"\na@example.com,Yes,"{text}"\n', encoding="utf-8")
    with open_leads(path, attended=False) as file:
        (lead,) = [row for row in file if isinstance(row, LeadRow)]
    assert refuses(lead) or lead.unclear_opt_out or lead.deleted or lead.consent_basis is None
