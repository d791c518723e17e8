"""The CRMs. A new one is a folder beside this file with a `spec.py`, and one line here."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from nurture.crm.spec import CrmSpec
from nurture.settings_model import SettingsModel

_FOLDERS: Final = ("csv", "salesforce", "hubspot")

CRMS: Final[Mapping[str, CrmSpec[Any]]] = {
    folder: import_module(f"nurture.crm.{folder}.spec").SPEC for folder in _FOLDERS
}
"""The CRMs by name, which is the name of their folder."""

NO_CRM: Final = "none"
"""The name in settings of no CRM: sales gets hand-offs by email only."""

DEFAULT_CRM: Final = "csv"
"""The CRM of a new installation, of demos and of simulations: it only writes files."""


def private_folders(settings: SettingsModel) -> list[Path]:
    """Return which of these folders only nurture's account may read."""
    local = [(spec.folder(settings), spec.private) for spec in CRMS.values() if spec.folder is not None]
    return [folder / name for folder, names in local for name in names]
