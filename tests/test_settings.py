"""Settings come from NURTURE_* only; an invalid one is a plain error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from nurture.errors import Misconfigured
from nurture.mail.providers.sendgrid.spec import split_keys
from nurture.settings import Settings
from tests.doubles.sendgrid_events import Signer
from tests.settings_table import list_settings

SECRET = "postgresql://nurture:hunter2@db.example.com/leads"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("NURTURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def read(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    for name, value in given.items():
        monkeypatch.setenv(f"NURTURE_{name}", value)
    return Settings.read()


def refused(monkeypatch: pytest.MonkeyPatch, **given: str) -> str:
    with pytest.raises(Misconfigured) as raised:
        read(monkeypatch, **given)
    assert raised.value.exit_code == 6
    return str(raised.value)


def test_everything_has_a_default() -> None:
    settings = Settings.read()
    assert settings.database_url.get_secret_value() == "sqlite:///nurture.db"
    assert settings.maildir == Path("maildir")
    assert settings.base_url is None
    assert (settings.web_host, settings.web_port, settings.prefect_port) == ("127.0.0.1", 8025, 4200)
    assert settings.batch_size == 2_000


def test_the_environment_overrides_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, DATABASE_URL=SECRET, WEB_PORT="9000", BASE_URL="https://mail.example.com/n/")
    assert settings.database_url.get_secret_value() == SECRET
    assert settings.web_port == 9000
    assert settings.base_url == "https://mail.example.com/n"


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.read().proxies == ("127.0.0.1", "::1")
    assert read(monkeypatch, TRUSTED_PROXIES=" 10.0.0.0/8, ::1 ,").proxies == ("10.0.0.0/8", "::1")
    for invalid in ("*", "proxy.example.com", "10.0.0.1/8", "10.0.0.0/33"):
        assert "such as 127.0.0.1,10.0.0.0/8" in refused(monkeypatch, TRUSTED_PROXIES=invalid)


def test_keys_of_webhooks_are_one_or_two_public_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_keys(Settings.read().sendgrid_webhook_key) == []
    one, two = Signer().public, Signer().public
    assert split_keys(read(monkeypatch, SENDGRID_WEBHOOK_KEY=f" {one}").sendgrid_webhook_key) == [one]
    assert split_keys(read(monkeypatch, SENDGRID_WEBHOOK_KEY=f"{one} , {two},").sendgrid_webhook_key) == [one, two]
    assert Settings.read().sendgrid_inbound_key is None
    assert "more than two keys" in refused(monkeypatch, SENDGRID_WEBHOOK_KEY=f"{one},{two},{one}")
    for number, invalid in ((1, "SG.secret-key"), (1, one[:-4]), (2, f"{one},{two[:60]}"), (1, "ß")):
        message = refused(monkeypatch, SENDGRID_WEBHOOK_KEY=invalid)
        assert f"key {number} is not a public key for ECDSA on P-256" in message
        assert "MFkwEwYH" in message
        assert invalid not in message


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, WEB_PORT="", BASE_URL="") == Settings.read()
    assert Settings.read().web_port == 8025


def test_templates_are_those_of_this_folder_else_the_starter_ones(tmp_path: Path) -> None:
    starter = Settings.read().templates
    assert starter.is_dir()
    assert starter.is_absolute()
    (tmp_path / "templates").mkdir()
    assert Settings.read().templates == Path("templates")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("DATABASE_URI", "NURTURE_DATABASE_URL"), ("TEMPLATE", "NURTURE_TEMPLATES"), ("PORT", "NURTURE_WEB_PORT")],
)
def test_an_unknown_setting_names_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    assert refused(monkeypatch, **{name: "x"}) == f"unknown setting NURTURE_{name}; did you mean {meant}?"


def test_an_unknown_setting_far_from_all_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, QQ="x")
    assert all(variable.name in message for variable in list_settings())


def test_where_the_tests_find_the_real_funnel_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, OLIST_DIR="/somewhere").batch_size == 2_000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "WEB_PORT",
            "eighty",
            "NURTURE_WEB_PORT is 'eighty', but it must be a whole number. The TCP port of the web application.",
        ),
        ("WEB_PORT", "0", "NURTURE_WEB_PORT is '0', but it must be at least 1."),
        ("PREFECT_PORT", "65536", "NURTURE_PREFECT_PORT is '65536', but it must be at most 65535."),
        ("BATCH_SIZE", "10001", "NURTURE_BATCH_SIZE is '10001', but it must be at most 10000."),
        ("BASE_URL", "mail.example.com", "'mail.example.com', but it must look like https://nurture.example.com."),
        ("BASE_URL", "http://mail.example.com", "but it must begin with https://"),
        ("BASE_URL", "https:///x", "but it must look like https://nurture.example.com."),
        ("CONSOLE_OIDC_ISSUER", "http://login.example.com", "but it must look like https://login.example.com/tenant."),
        ("MAILDIR", __file__, "but it names a file, not a folder."),
        ("TEMPLATES", __file__, "but it names a file, not a folder."),
    ],
)
def test_a_bad_value_is_an_error_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    assert message in refused(monkeypatch, **{name: value})


def test_all_problems_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = refused(monkeypatch, WEB_PORT="x", BATCH_SIZE="-1", MAILDIRS="y").splitlines()
    assert [line.split(";")[0].split(" is ")[0] for line in lines] == [
        "unknown setting NURTURE_MAILDIRS",
        "NURTURE_WEB_PORT",
        "NURTURE_BATCH_SIZE",
    ]


def test_no_password_shows_where_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, DATABASE_URL=SECRET)
    for shown in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "hunter2" not in shown
    assert "hunter2" not in refused(monkeypatch, DATABASE_URI=SECRET, WEB_PORT="x")


@pytest.mark.parametrize(("name", "scheme"), [("SMTP_URL", "smtp"), ("IMAP_URL", "imaps")])
@pytest.mark.parametrize(
    "invalid",
    [
        "smtp://nora:S3cr@tpart/w0rd@smtp.example.com",
        "smtp://nora:S3cr@tpart@smtp.example.com",
        "smtp://nora:4711#tpart@smtp.example.com",
        "smtp://nora:4711/tpart@smtp.example.com",
        "smtp://nora:4711?tpart@smtp.example.com",
        "smtp://nora:S3cr[tpart@smtp.example.com",
    ],
)
def test_a_password_that_is_not_percent_encoded_is_refused_and_no_piece_of_it_shown(
    monkeypatch: pytest.MonkeyPatch, invalid: str, name: str, scheme: str
) -> None:
    message = refused(monkeypatch, **{name: invalid.replace("smtp", scheme, 1)})
    assert message.startswith(f"NURTURE_{name} is set, but")
    assert "%40 for @" in message
    for piece in ("nora", "4711", "S3cr", "tpart", "w0rd"):
        assert piece not in message


@pytest.mark.parametrize(
    "right", ["smtp://nora:S3cr%40t%2Fw0rd%23@smtp.example.com:587", "smtps://smtp.example.com/", "smtp://[::1]:2525"]
)
def test_a_mail_server_may_have_user_password_and_port(monkeypatch: pytest.MonkeyPatch, right: str) -> None:
    read_one = read(monkeypatch, SMTP_URL=right).smtp_url
    assert read_one is not None
    assert read_one.get_secret_value() == right


@pytest.mark.parametrize(
    "right", ["imaps://nora%40example.com:S3cr%40t%2F@imap.example.com", "imap://n:p@127.0.0.1:1143/A%2FB"]
)
def test_a_mailbox_has_a_user_and_may_have_a_folder(monkeypatch: pytest.MonkeyPatch, right: str) -> None:
    read_one = read(monkeypatch, IMAP_URL=right).imap_url
    assert read_one is not None
    assert read_one.get_secret_value() == right
    assert "imap://" not in refused(monkeypatch, IMAP_URL="imap://n:p@imap.example.com")


def test_settings_do_not_change_after_they_were_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.read().web_port = 80


def test_every_setting_says_what_it_means() -> None:
    assert [variable.name for variable in list_settings()][:2] == ["NURTURE_DATABASE_URL", "NURTURE_TEMPLATES"]
    assert all(variable.description.endswith(".") for variable in list_settings())


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{SECRET}\n")
    settings = read(monkeypatch, DATABASE_URL_FILE=str(tmp_path / "url"), WEB_PORT="9000")
    assert settings.database_url.get_secret_value() == SECRET
    assert settings.web_port == 9000


def test_a_secret_in_a_file_is_checked_as_any_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("SG.secret-key")
    message = refused(monkeypatch, SENDGRID_WEBHOOK_KEY_FILE=str(tmp_path / "key"))
    assert "key 1 is not a public key" in message
    assert "SG.secret-key" not in message


def test_files_of_secrets_that_cannot_be_used_are_all_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    message = refused(
        monkeypatch,
        DATABASE_URL=SECRET,
        DATABASE_URL_FILE=str(tmp_path / "empty"),
        IMAP_URL_FILE=str(tmp_path / "absent"),
        NOTIFY_FILE=str(tmp_path / "bytes"),
        SMTP_URL_FILE=str(tmp_path / "empty"),
    )
    assert "NURTURE_DATABASE_URL_FILE and NURTURE_DATABASE_URL are both set. Unset one of them." in message
    assert "absent', which cannot be read: No such file or directory." in message
    assert "bytes', which cannot be read: it is not UTF-8 text." in message
    assert "NURTURE_SMTP_URL_FILE names" in message
    assert "which is empty" in message
    assert SECRET not in message


def test_only_secrets_may_stand_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unknown setting NURTURE_WEB_PORT_FILE" in refused(monkeypatch, WEB_PORT_FILE="port")
