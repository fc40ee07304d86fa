"""Bring a database that an older version made to what this one needs: missing columns are added, nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


def upgrade_with(engine: sa.Engine, metadata: sa.MetaData, rebuilt: Mapping[str, AbstractSet[str]]) -> None:
    """Add the columns that tables lack. Tables in `rebuilt` are copied where one of those columns is missing.

    Copied, because SQLite cannot change what makes a row unique.
    """
    inspector = sa.inspect(engine)
    for table in metadata.sorted_tables:
        have = {column["name"] for column in inspector.get_columns(table.name)}
        missing = [column for column in table.columns if column.name not in have]
        if not missing:
            continue
        with engine.begin() as db:
            if rebuilt.get(table.name, set()) & {column.name for column in missing}:
                _rebuild(db, table, [column.name for column in table.columns if column.name in have])
            else:
                for column in missing:
                    words = sa.schema.CreateColumn(column).compile(engine)
                    db.execute(sa.text(f"alter table {table.name} add column {words}"))


def _rebuild(db: sa.Connection, table: sa.Table, shared: list[str]) -> None:
    old = f"{table.name}_before"
    db.execute(sa.text(f"alter table {table.name} rename to {old}"))
    for index in sa.inspect(db).get_indexes(old):
        db.execute(sa.text(f"drop index {index['name']}"))
    table.create(db)
    names = ", ".join(shared)
    db.execute(sa.text(f"insert into {table.name} ({names}) select {names} from {old}"))  # noqa: S608  (our own names)
    db.execute(sa.text(f"drop table {old}"))
