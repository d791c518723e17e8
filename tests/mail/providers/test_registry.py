"""Each provider describes itself in its own folder; nothing of it is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nurture.errors import Misconfigured
from nurture.mail.providers import registry
from nurture.mail.providers.registry import DEFAULT_PROVIDER, PROVIDERS
from nurture.settings import CommonSettings, Settings
from nurture.settings_model import is_local

FOLDER = Path(registry.__file__).parent


def test_every_folder_is_a_provider_of_that_name() -> None:
    assert {path.parent.name: path.parent.name for path in FOLDER.glob("*/__init__.py")} == {
        name: spec.name for name, spec in PROVIDERS.items()
    }


def test_no_two_settings_have_the_same_name_and_those_of_a_provider_begin_with_its_own() -> None:
    fields = Counter(name for model in (CommonSettings, *models()) for name in model.__annotations__)
    assert set(fields.values()) == {1}
    for name, spec in PROVIDERS.items():
        assert all(field.startswith(name) for field in spec.settings_model.model_fields)


def models() -> list[type]:
    return [spec.settings_model for spec in PROVIDERS.values()]


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_verifies_a_webhook_is_a_secret_setting_of_the_provider(name: str) -> None:
    spec = PROVIDERS[name]
    for webhook in (spec.events, spec.inbound):
        if webhook is not None:
            assert spec.settings_model.is_secret(webhook.secret)
            assert not webhook.is_configured(Settings())


@pytest.mark.parametrize("name", [name for name, spec in PROVIDERS.items() if spec.required])
def test_a_required_setting_that_is_missing_is_named_with_the_way_to_get_it(name: str) -> None:
    (field, remedy), *_ = PROVIDERS[name].required.items()
    with pytest.raises(Misconfigured) as raised:
        PROVIDERS[name].require_settings(Settings(provider=name))
    assert str(raised.value) == f"NURTURE_PROVIDER is {name}, but NURTURE_{field.upper()} is not set. {remedy}"


def test_a_provider_that_sends_has_every_hint_of_the_doctor_and_one_that_does_not_names_its_folder() -> None:
    for spec in PROVIDERS.values():
        assert all((spec.hints.proof, spec.hints.domain, spec.hints.bounces)) == (spec.folder is None)
    assert is_local(PROVIDERS, DEFAULT_PROVIDER)
    assert not is_local(PROVIDERS, "elsewhere")


def test_reading_settings_loads_no_provider_and_no_library_of_one() -> None:
    script = "import sys; from nurture.settings import Settings; Settings.read(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiohttp", "httpx", "cryptography", "smtplib", "sqlalchemy"} & set(loaded)
    assert not [one for one in loaded if one.startswith("nurture.mail.providers.") and one.endswith(".provider")]
