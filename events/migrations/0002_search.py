"""The index of what can be searched in the archive.

Django has no inverted index that is the same everywhere: on PostgreSQL it is a GIN index, on SQLite
a full-text table (FTS5) which triggers keep. A later migration that has SQLite build the table of
events anew has to make the triggers again.
"""

from typing import Any

from django.db import migrations, models

import events.fields

_POSTGRESQL = (
    'CREATE INDEX "events_terms" ON "events_archivedevent" USING gin ("terms")',
)
_TAKE = """INSERT INTO "events_terms" ("events_terms", "rowid", "terms")
    SELECT 'delete', old."id", old."terms" WHERE old."terms" IS NOT NULL;"""
_GIVE = """INSERT INTO "events_terms" ("rowid", "terms")
    SELECT new."id", new."terms" WHERE new."terms" IS NOT NULL;"""
_SQLITE = (
    """CREATE VIRTUAL TABLE "events_terms" USING fts5(
        "terms", content='events_archivedevent', content_rowid='id', detail='none',
        tokenize="ascii tokenchars '_='")""",
    f"""CREATE TRIGGER "events_terms_insert" AFTER INSERT ON "events_archivedevent"
        BEGIN {_GIVE} END""",
    f"""CREATE TRIGGER "events_terms_update" AFTER UPDATE OF "terms" ON "events_archivedevent"
        BEGIN {_TAKE} {_GIVE} END""",
    f"""CREATE TRIGGER "events_terms_delete" AFTER DELETE ON "events_archivedevent"
        BEGIN {_TAKE} END""",
)


def create_index(_apps: Any, schema_editor: Any) -> None:
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in _POSTGRESQL if is_postgresql else _SQLITE:
        schema_editor.execute(statement)


def drop_index(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute('DROP INDEX "events_terms"')
        return
    for name in ("insert", "update", "delete"):
        schema_editor.execute(f'DROP TRIGGER "events_terms_{name}"')
    schema_editor.execute('DROP TABLE "events_terms"')


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="archivedevent",
            name="terms",
            field=events.fields.TermsField(
                editable=False, help_text="What is searched.", null=True, verbose_name="terms"
            ),
        ),
        migrations.AddIndex(
            model_name="archivedevent",
            index=models.Index(
                fields=["event_id", "log"],
                condition=models.Q(event_id__isnull=False),
                name="events_by_time",
            ),
        ),
        migrations.RunPython(create_index, drop_index),
    ]
