import uuid

import django.core.validators
import django.db.models.deletion
import events.fields
from django.db import migrations, models

from events.term_index import term_index


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ArchiveIdentity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, verbose_name='id')),
            ],
            options={
                'base_manager_name': 'objects',
                'verbose_name': 'archive identity',
                'verbose_name_plural': 'archive identities',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='EventLog',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job_id', models.CharField(max_length=64, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9_-]{1,64}\\Z')], verbose_name='job id')),
                ('sequence', models.BigIntegerField(default=0, help_text='Last sequence number assigned in the outbox.', verbose_name='sequence')),
                ('truncated_before', events.fields.CursorField(default=(0, 0), help_text='Earlier events were deleted by retention; 0-0 if none were.', verbose_name='truncated before')),
                ('deleted_at', models.DateTimeField(help_text='The log accepts and returns no events since then.', null=True, verbose_name='deleted')),
                ('erased_at', models.DateTimeField(help_text='All events of the deleted log have been removed.', null=True, verbose_name='erased')),
            ],
            options={
                'base_manager_name': 'objects',
                'verbose_name': 'event log',
                'verbose_name_plural': 'event logs',
                'indexes': [models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['erased_at', 'deleted_at'], name='job_events_deleted')],
            },
        ),
        migrations.CreateModel(
            name='Processor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='host:pid', max_length=200, unique=True, verbose_name='name')),
                ('started_at', models.DateTimeField(verbose_name='started')),
                ('heartbeat_at', models.DateTimeField(db_index=True, verbose_name='last heartbeat')),
                ('loops', models.JSONField(default=dict, verbose_name='loops')),
            ],
            options={
                'base_manager_name': 'objects',
                'verbose_name': 'processor',
                'verbose_name_plural': 'processors',
            },
        ),
        migrations.CreateModel(
            name='ArchiveCheckpoint',
            fields=[
                ('log', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='archived', serialize=False, to='job_events.eventlog')),
                ('position', events.fields.CursorField(default=(0, 0), help_text='All events up to this id are archived.', verbose_name='position')),
                ('released', models.BooleanField(default=False, help_text='Redis need not have the stream any more.', verbose_name='released')),
                ('error', models.TextField(blank=True, help_text='Why later events cannot be archived.', verbose_name='error')),
                ('failed_at', models.DateTimeField(null=True, verbose_name='stalled since')),
            ],
            options={
                'base_manager_name': 'objects',
                'verbose_name': 'archive checkpoint',
                'verbose_name_plural': 'archive checkpoints',
                'indexes': [models.Index(condition=models.Q(('error', ''), _negated=True), fields=['failed_at'], name='job_events_stalled')],
            },
        ),
        migrations.CreateModel(
            name='ArchivedEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', events.fields.CursorField(null=True, verbose_name='event id')),
                ('event_type', models.TextField(verbose_name='event type')),
                ('timestamp', models.TextField(verbose_name='timestamp')),
                ('data', models.TextField(verbose_name='data')),
                ('producer', models.TextField(help_text='<producer id>:<epoch>:<sequence>', null=True, verbose_name='producer')),
                ('sequence', models.BigIntegerField(help_text='Position in the outbox of the job.', null=True, verbose_name='sequence')),
                ('written_at', models.DateTimeField(null=True, verbose_name='written')),
                ('terms', events.fields.TermsField(editable=False, help_text='Indexed search terms.', null=True, verbose_name='terms')),
                ('log', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='job_events.eventlog')),
            ],
            options={
                'base_manager_name': 'objects',
                'verbose_name': 'archived event',
                'verbose_name_plural': 'archived events',
                'indexes': [models.Index(condition=models.Q(('event_id', None)), fields=['log', 'sequence'], name='job_events_outbox'), models.Index(condition=models.Q(('event_id__isnull', False)), fields=['event_id', 'log'], name='job_events_by_time'), models.Index(condition=models.Q(('event_id__isnull', False), ('event_type', 'model_result')), fields=['event_id', 'log'], name='job_events_model_results')],
                'constraints': [models.UniqueConstraint(fields=('log', 'event_id'), name='job_events_id_once'), models.UniqueConstraint(fields=('log', 'producer'), name='job_events_producer_once')],
            },
        ),
        migrations.CreateModel(
            name='LogGap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('after', events.fields.CursorField(help_text='The last event before the gap.', verbose_name='after')),
                ('ids', models.JSONField(default=list, help_text='Lost events whose ids are known.', verbose_name='ids')),
                ('detected_at', models.DateTimeField(db_index=True, verbose_name='detected')),
                ('reported', models.BooleanField(default=False, verbose_name='reported')),
                ('log', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='gaps', to='job_events.eventlog')),
            ],
            options={
                'base_manager_name': 'objects',
                'verbose_name': 'log gap',
                'verbose_name_plural': 'log gaps',
                'indexes': [models.Index(condition=models.Q(('reported', False)), fields=['id'], name='job_events_unreported')],
                'constraints': [models.UniqueConstraint(fields=('log', 'after'), name='job_events_gap_once')],
            },
        ),
        term_index('job_events_terms', 'job_events_archivedevent'),
    ]
