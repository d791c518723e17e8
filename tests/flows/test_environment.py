from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import Settings as PrefectSettings
from prefect.settings.base import PrefectBaseSettings
from pydantic import AliasChoices, SecretStr

from flows.child_processes import CLIENT_SECRET, SERVER_SECRET
from flows.environment import build_environment
from nurture.errors import Misconfigured
from nurture.settings import Settings


def test_children_get_the_settings_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NURTURE_BATCH_SIZE", "7")
    settings = Settings(database_url=SecretStr("sqlite:///here.db"), maildir=Path("mail"), web_port=8_100)
    variables = build_environment(settings, tmp_path, 4_444, operator_environment={})
    assert variables["NURTURE_DATABASE_URL"] == f"sqlite:///{tmp_path / 'here.db'}"
    assert variables["NURTURE_MAILDIR"] == str(tmp_path / "mail")
    assert variables["NURTURE_WEB_PORT"] == "8100"
    assert variables["NURTURE_BATCH_SIZE"] == "7"
    assert "NURTURE_BASE_URL" not in variables
    for name, value in variables.items():
        if name.startswith("NURTURE_"):
            monkeypatch.setenv(name, value)
    assert Settings.read().model_dump() == settings.model_dump() | {
        "database_url": SecretStr(f"sqlite:///{tmp_path / 'here.db'}"),
        "maildir": tmp_path / "mail",
        "spool": tmp_path / "spool",
        "crm_folder": tmp_path / "crm",
        "templates": settings.templates.absolute(),
    }


def test_a_password_with_odd_characters_reaches_the_children(tmp_path: Path) -> None:
    url = "postgresql://ann:p%40ss%2Fword@db.example/nurture"
    variables = build_environment(Settings(database_url=SecretStr(url)), tmp_path, 4_444, operator_environment={})
    assert variables["NURTURE_DATABASE_URL"] == url


def test_children_talk_to_their_own_prefect_server_only_and_send_no_telemetry(tmp_path: Path) -> None:
    variables = build_environment(Settings(), tmp_path, 4_444, operator_environment={})
    assert variables["PREFECT_API_URL"] == "http://127.0.0.1:4444/api"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["DO_NOT_TRACK"] == "1"


def test_each_start_has_a_secret_of_its_own_that_nobody_can_guess(tmp_path: Path) -> None:
    secrets = set()
    for _ in range(3):
        variables = build_environment(Settings(), tmp_path, 4_444, operator_environment={})
        assert variables[SERVER_SECRET] == variables[CLIENT_SECRET]
        assert len(variables[SERVER_SECRET]) >= 32
        secrets.add(variables[SERVER_SECRET])
    assert len(secrets) == 3


def test_prefect_settings_of_the_operator_are_kept(tmp_path: Path) -> None:
    given = {
        "PREFECT_SERVER_API_AUTH_STRING": "admin:secret",
        "PREFECT_API_AUTH_STRING": "admin:secret",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "https://only.example, https://two.example",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "True",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
        "PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": "30",
        "PREFECT_UI_API_URL": "https://flows.example.com/api",
        "PREFECT_API_URL": "http://127.0.0.1:4444/api",
        "PREFECT_API_KEY": "",
        "prefect_logging_level": "DEBUG",
    }
    variables = build_environment(Settings(), tmp_path, 4_444, operator_environment=given)
    assert variables[SERVER_SECRET] == variables[CLIENT_SECRET] == "admin:secret"
    origins = "http://127.0.0.1:4444,https://only.example,https://two.example"
    assert variables["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == origins
    assert variables["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "true"
    assert variables["PREFECT_SERVER_API_KEEPALIVE_TIMEOUT"] == "30"
    assert variables["PREFECT_SERVER_UI_API_URL"] == "https://flows.example.com/api"
    assert variables["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert {"PREFECT_API_KEY", "PREFECT_UI_API_URL", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"}.isdisjoint(variables)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_URL", "https://prefect.example/api"),
        ("PREFECT_API_KEY", "pnu_secret"),
        ("PREFECT_API_AUTH_STRING", "admin:other"),
        ("PREFECT_HOME", "/home/ann/.prefect"),
        ("PREFECT_PROFILE", "production"),
        ("PREFECT_SERVER_API_HOST", "0.0.0.0"),
        ("PREFECT_SERVER_API_PORT", "80"),
        ("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "false"),
        ("PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED", "0"),
        ("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", "false"),
        ("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "*"),
        ("PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS", "https://only.example,*"),
        ("PREFECT_SERVER_API_AUTH_STRING", "admin:pässword"),
        ("prefect_api_database_connection_url", "postgresql+asyncpg://db.example/prefect"),
        ("PREFECT_SERVER", '{"api": {"csrf_protection_enabled": false}}'),
    ],
)
def test_settings_that_unlock_or_redirect_the_server_are_refused_by_name(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as refused:
        build_environment(
            Settings(), tmp_path, 4_444, operator_environment={name: value, "PREFECT_LOGGING_LEVEL": "INFO"}
        )
    assert f"does not accept {name} as set" in str(refused.value)
    if len(value) > 6:
        assert value not in str(refused.value), "values may be secret"


def _names(model: type[PrefectBaseSettings], path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each setting of Prefect with its variables, in their order of precedence."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, PrefectBaseSettings):
            yield from _names(kind, f"{path}{name}.")
        elif isinstance(field.validation_alias, AliasChoices):
            yield path + name, [one.upper() for one in field.validation_alias.choices if isinstance(one, str)]
        else:
            yield path + name, [f"{model.model_config.get('env_prefix')}{name}".upper()]


def test_aliases_of_protected_prefect_settings_are_refused(tmp_path: Path) -> None:
    ours = build_environment(Settings(), tmp_path, 4_444, operator_environment={})
    other = [names for _, names in _names(PrefectSettings) if len(names) > 1 and set(names) & set(ours)]
    assert len(other) >= 3
    for first, *more in other:
        assert first in ours, "what Prefect reads first is what is set"
        for name in more:
            try:
                variables = build_environment(Settings(), tmp_path, 4_444, operator_environment={name: "x"})
            except Misconfigured:
                continue  # refused
            assert name not in variables


def test_the_folder_of_prefect_is_beside_the_database_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(database_url=SecretStr("sqlite:////srv/leads/nurture.db")).state_dir == Path("/srv/leads/.nurture")
    assert Settings().state_dir == tmp_path / ".nurture"
    assert Settings(database_url=SecretStr("postgresql://db.example/leads")).state_dir == tmp_path / ".nurture"
