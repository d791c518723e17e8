from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.environment import environment, home_of
from nurture.settings import Settings


def test_children_get_our_settings_with_paths_that_hold_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NURTURE_BATCH_SIZE", "7")
    settings = Settings(database_url=SecretStr("sqlite:///here.db"), mailbox=Path("mail"), web_port=8_100)
    variables = environment(settings, tmp_path, 4_444)
    assert variables["NURTURE_DATABASE_URL"] == f"sqlite:///{tmp_path / 'here.db'}"
    assert variables["NURTURE_MAILBOX"] == str(tmp_path / "mail")
    assert variables["NURTURE_WEB_PORT"] == "8100"
    assert variables["NURTURE_BATCH_SIZE"] == "7"
    assert "NURTURE_BASE_URL" not in variables
    for name, value in variables.items():
        if name.startswith("NURTURE_"):
            monkeypatch.setenv(name, value)
    assert Settings.read().model_dump() == settings.model_dump() | {
        "database_url": SecretStr(f"sqlite:///{tmp_path / 'here.db'}"),
        "mailbox": tmp_path / "mail",
        "spool": tmp_path / "spool",
        "crm_folder": tmp_path / "crm",
        "templates": settings.templates.absolute(),
    }


def test_a_password_with_odd_characters_reaches_the_children(tmp_path: Path) -> None:
    url = "postgresql://ann:p%40ss%2Fword@db.example/nurture"
    variables = environment(Settings(database_url=SecretStr(url)), tmp_path, 4_444)
    assert variables["NURTURE_DATABASE_URL"] == url


def test_children_talk_to_their_own_prefect_server_only_and_send_no_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    variables = environment(Settings(), tmp_path, 4_444)
    assert variables["PREFECT_API_URL"] == "http://127.0.0.1:4444/api"
    assert "PREFECT_API_KEY" not in variables
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["DO_NOT_TRACK"] == "1"


def test_prefect_lives_beside_our_database_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_of(Settings(database_url=SecretStr("sqlite:////srv/leads/nurture.db"))) == Path(
        "/srv/leads/.nurture"
    )
    assert home_of(Settings()) == tmp_path / ".nurture"
    assert home_of(Settings(database_url=SecretStr("postgresql://db.example/leads"))) == tmp_path / ".nurture"
