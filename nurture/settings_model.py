"""What settings are made of: their base class, and the types of their values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, JsonValue, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from nurture.errors import Misconfigured

ENV_PREFIX: Final = "NURTURE_"
PERCENT_ENCODING_HINT: Final = (
    "with special characters in user and password percent-encoded: "
    "%40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %"
)
SECRET_FILE: Final[dict[str, JsonValue]] = {"secret_file": True}
"""Marks a setting that names a file with secrets."""


class Variable(NamedTuple):
    """One setting, for help and documentation."""

    name: str
    default: str
    description: str


class SettingsModel(BaseSettings):
    """Settings from environment variables, frozen: the field `web_port` is NURTURE_WEB_PORT.

    A `SecretStr` is never shown in messages: use it for a secret, and for what is easily confused with one.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    @classmethod
    def variables(cls) -> Iterator[Variable]:
        """Yield each setting that this class itself defines, in order."""
        for name, info in cls.model_fields.items():
            if name in cls.__annotations__:
                yield Variable(variable_name(name), _displayed_default(info), info.description or "")

    @classmethod
    def is_secret(cls, name: str) -> bool:
        """Return whether the value of the field *name* is never shown."""
        return "SecretStr" in str(cls.model_fields[name].annotation)

    def secret_files(self) -> Iterator[Path]:
        """Yield the files with secrets that the settings name."""
        for name, info in type(self).model_fields.items():
            if info.json_schema_extra == SECRET_FILE and (path := getattr(self, name)) is not None:
                yield path


S = TypeVar("S", bound=SettingsModel)


@dataclass(frozen=True, kw_only=True)
class IntegrationSpec(Generic[S]):
    """What settings choose by *name*, and what it needs.

    *required*: the settings without which it cannot be built, and how to get each. *folder*: where it writes its
    files if it reaches nobody outside this machine, otherwise None.
    """

    setting: ClassVar[str]
    """The setting that chooses."""

    name: str
    settings_model: type[S]
    required: Mapping[str, str] = field(default_factory=dict)
    folder: Callable[[S], Path] | None = None

    def require_settings(self, settings: S) -> None:
        """Raise Misconfigured if a required setting is missing."""
        for name, remedy in self.required.items():
            if getattr(settings, name) is None:
                chosen = f"{variable_name(self.setting)} is {self.name}"
                raise Misconfigured(f"{chosen}, but {variable_name(name)} is not set.", remedy)


def is_local(specs: Mapping[str, IntegrationSpec[Any]], name: str) -> bool:
    """Return whether the provider or CRM of this name reaches nobody outside this machine."""
    return name in specs and specs[name].folder is not None


def local_folders(specs: Mapping[str, IntegrationSpec[Any]], settings: SettingsModel) -> list[Path]:
    """Return the folders of the providers or CRMs that only write files."""
    return [spec.folder(settings) for spec in specs.values() if spec.folder is not None]


def variable_name(name: str) -> str:
    """Return the environment variable of the field *name*."""
    return ENV_PREFIX + name.upper()


def is_localhost(host: str) -> bool:
    """Return whether *host* is this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _displayed_default(info: Any) -> str:
    given = (info.json_schema_extra or {}).get("default", info.default)
    if isinstance(given, SecretStr):
        return given.get_secret_value()
    return "" if given is None else str(given)


def _check_folder(value: Path) -> Path:
    value = value.expanduser()
    if value.exists() and not value.is_dir():
        raise ValueError("it names a file, not a folder")
    return value


def _check_api_url(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must look like https://api.example.com")
    if parts.scheme == "http" and not is_localhost(parts.hostname):
        raise ValueError("it must begin with https://: the key would be sent unencrypted")
    return value.strip().rstrip("/")


def _check_issuer(value: str) -> str:
    value = value.strip()
    parts = urlsplit(value)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_localhost(parts.hostname or ""))
    if not is_safe or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it must look like https://login.example.com/tenant")
    return value  # with its last slash: it is compared as the provider writes it


Folder = Annotated[Path, AfterValidator(_check_folder)]
"""A folder, which need not exist."""

ApiUrl = Annotated[str, AfterValidator(_check_api_url)]
"""The base URL of an API: https, except on this machine."""
IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]
"""The issuer of an OpenID Connect provider, as its discovery document writes it: https, except on this machine."""
