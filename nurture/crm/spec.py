"""What the rest of the program knows of a CRM before it is used.

The module `spec.py` in each CRM's folder defines one `CrmSpec`. It is imported by every command that reads settings, so
it imports the CRM itself, and what that needs, only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from nurture.settings_model import IntegrationSpec, SettingsModel

if TYPE_CHECKING:
    from nurture.crm.base import Crm

S = TypeVar("S", bound=SettingsModel)


@dataclass(frozen=True, kw_only=True)
class CrmSpec(IntegrationSpec[S]):
    """A CRM: its settings, and how it is built.

    *name*: in NURTURE_CRM. *build* raises Misconfigured. Its *folder* is None if it is called over the network;
    *private*: the subfolders that only nurture's account may read.
    """

    setting: ClassVar = "crm"

    build: Callable[[S], Crm]
    private: tuple[str, ...] = ()
