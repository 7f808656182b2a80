"""Full-text index of a `TermsField`, created by a migration.

Django has no inverted index for all databases. PostgreSQL uses a GIN index, SQLite an FTS5 table
that triggers update. A later migration that rebuilds the table on SQLite must create the triggers
again.
"""

from collections.abc import Iterator
from typing import Any

from django.db.migrations import RunPython


def term_index(name: str, table: str) -> RunPython:
    """Return the operation that creates the index of the field `terms` of a table."""

    def create(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f'CREATE INDEX "{name}" ON "{table}" USING gin ("terms")')
            return
        for statement in _fts5(name, table):
            schema_editor.execute(statement)

    def drop(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f'DROP INDEX "{name}"')
            return
        for event in ("insert", "update", "delete"):
            schema_editor.execute(f'DROP TRIGGER "{name}_{event}"')
        schema_editor.execute(f'DROP TABLE "{name}"')

    return RunPython(create, drop)


def _fts5(name: str, table: str) -> Iterator[str]:
    delete = f"""INSERT INTO "{name}" ("{name}", "rowid", "terms")
        SELECT 'delete', old."id", old."terms" WHERE old."terms" IS NOT NULL;"""
    insert = f"""INSERT INTO "{name}" ("rowid", "terms")
        SELECT new."id", new."terms" WHERE new."terms" IS NOT NULL;"""
    yield f"""CREATE VIRTUAL TABLE "{name}" USING fts5(
        "terms", content='{table}', content_rowid='id', detail='none',
        tokenize="ascii tokenchars '_='")"""
    for event, body in (
        ("INSERT", insert), ('UPDATE OF "terms"', f"{delete} {insert}"), ("DELETE", delete),
    ):  # fmt: skip
        suffix = event.split()[0].lower()
        yield f"""CREATE TRIGGER "{name}_{suffix}" AFTER {event} ON "{table}" BEGIN {body} END"""
