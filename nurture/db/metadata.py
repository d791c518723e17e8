"""The metadata of all tables; code that reads some tables imports only their files."""

from nurture.db.tables import (  # noqa: F401 - importing a file adds its tables to the metadata
    accounts,
    consent,
    console,
    crm,
    delivery,
    handoff,
    inbound,
    installation,
    intake,
    leads,
    links,
    outcomes,
    publishing,
    rollups,
    routing,
    signals,
    tracks,
)
from nurture.db.tables.base import metadata

__all__ = ["metadata"]
