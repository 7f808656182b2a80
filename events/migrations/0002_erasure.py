"""Deleted logs, whose rows remain as tombstones."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('job_events', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='eventlog',
            name='deleted_at',
            field=models.DateTimeField(help_text='The log accepts and returns no events since then.', null=True, verbose_name='deleted'),
        ),
        migrations.AddField(
            model_name='eventlog',
            name='erased_at',
            field=models.DateTimeField(help_text='All events of the deleted log have been removed.', null=True, verbose_name='erased'),
        ),
        migrations.AddIndex(
            model_name='eventlog',
            index=models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['erased_at', 'deleted_at'], name='job_events_deleted'),
        ),
    ]
