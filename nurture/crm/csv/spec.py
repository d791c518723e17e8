"""The CRM of CSV files: its settings, and how it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from nurture.crm.spec import CrmSpec
from nurture.settings_model import Folder, SettingsModel

if TYPE_CHECKING:
    from nurture.crm.base import Crm


class CsvFolderSettings(SettingsModel):
    """Where the files are."""

    crm_folder: Folder = Field(
        default=Path("crm"),
        description="The folder of the CRM `csv`: hand-offs are written to `out/`, outcomes are read from `in/`.",
    )


def _build(settings: CsvFolderSettings) -> Crm:
    from nurture.crm.csv.crm import CsvFolderCrm  # noqa: PLC0415 - where hand-offs are pushed

    return CsvFolderCrm(settings.crm_folder)


SPEC: Final = CrmSpec(
    name="csv",
    settings_model=CsvFolderSettings,
    build=_build,
    folder=lambda settings: settings.crm_folder,
    private=("out", ".sent"),  # others write to in/
)
