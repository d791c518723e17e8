"""Shared by all tables: metadata, constraint names, column types."""

import re
from typing import Any

from sqlalchemy import MetaData, Table, text
from sqlalchemy.orm import declared_attr
from sqlmodel import Field, SQLModel

from nurture.db.types import UtcDateTime

SQLModel.metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
metadata = SQLModel.metadata
SQLModel.model_config["defer_build"] = True  # rows are read and written as tables, never validated as models


class Model(SQLModel):
    """A table with the name of its class in snake case."""

    @declared_attr.directive
    def __tablename__(cls) -> str:  # noqa: N805
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def table(model: type[SQLModel]) -> Table:
    """Return the table of *model*."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


def index_where(clause: str) -> dict[str, Any]:
    """Limit an index to the rows for which *clause* holds, on both databases."""
    return {"sqlite_where": text(clause), "postgresql_where": text(clause)}


def timestamp(*, null: bool = False) -> Any:
    """Return a column of timestamps in UTC."""
    return Field(default=None if null else ..., sa_type=UtcDateTime, nullable=null)


NEVER_REUSE_IDS: dict[str, Any] = {"sqlite_autoincrement": True}
"""For tables whose ids outlive their rows: in other systems, or in rows of other tables."""
