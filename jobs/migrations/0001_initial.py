import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import jobs.fields
import jobs.models
import jobs.validators
import uuid
from django.conf import settings
from django.db import migrations, models

from events.term_index import term_index


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AlertRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=64, unique=True, verbose_name='name')),
                ('kind', models.CharField(max_length=32, verbose_name='kind')),
                ('parameters', models.JSONField(blank=True, default=dict, verbose_name='parameters')),
                ('task_type', models.CharField(blank=True, help_text='Empty: every task type.', max_length=100, verbose_name='task type')),
                ('for_seconds', models.PositiveIntegerField(default=0, help_text='Seconds for which the condition must hold.', verbose_name='for')),
                ('channels', models.JSONField(blank=True, default=list, help_text='Names in ALERT_CHANNELS; empty: all channels.', verbose_name='channels')),
                ('enabled', models.BooleanField(default=True, verbose_name='enabled')),
            ],
            options={
                'verbose_name': 'alert rule',
                'verbose_name_plural': 'alert rules',
                'ordering': ('name',),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='MonitorCheckpoint',
            fields=[
                ('name', models.CharField(max_length=32, primary_key=True, serialize=False, verbose_name='part')),
                ('at', models.DateTimeField(verbose_name='until')),
            ],
            options={
                'verbose_name': 'monitor checkpoint',
                'verbose_name_plural': 'monitor checkpoints',
                'default_permissions': (),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='AlertMatch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rule', models.CharField(max_length=64, verbose_name='rule')),
                ('job_id', models.CharField(db_index=True, max_length=64, verbose_name='job id')),
                ('event_id', models.CharField(max_length=64, verbose_name='event id')),
                ('value', models.FloatField(null=True, verbose_name='value')),
                ('summary', models.TextField(verbose_name='summary')),
                ('at', models.DateTimeField(verbose_name='at')),
            ],
            options={
                'verbose_name': 'alert match',
                'verbose_name_plural': 'alert matches',
                'default_permissions': (),
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['rule', 'id'], name='job_events_alert_matches')],
                'constraints': [models.UniqueConstraint(fields=('rule', 'job_id'), name='job_events_matches_one')],
            },
        ),
        migrations.CreateModel(
            name='AlertMessage',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('rule', models.CharField(max_length=64, verbose_name='rule')),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('firing', 'Firing'), ('resolved', 'Resolved')], max_length=16, verbose_name='state')),
                ('count', models.PositiveIntegerField(verbose_name='alerts')),
                ('body', models.JSONField(verbose_name='body')),
                ('created_at', models.DateTimeField(verbose_name='created')),
            ],
            options={
                'verbose_name': 'alert message',
                'verbose_name_plural': 'alert messages',
                'ordering': ('-created_at',),
                'default_permissions': ('view',),
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['rule', '-created_at'], name='job_events_alert_messages')],
            },
        ),
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job_id', models.CharField(default=jobs.models.new_job_id, editable=False, max_length=64, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9_-]{1,64}\\Z', 'A job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -.')], verbose_name='job id')),
                ('task_type', models.CharField(default='unknown', max_length=100, validators=[django.core.validators.RegexValidator('\\A[\\w.:-]{1,100}\\Z', 'A task_type is 1 to 100 letters, digits or characters of _ . : -.')], verbose_name='task type')),
                ('title', models.CharField(blank=True, max_length=200, validators=[jobs.validators.validate_text], verbose_name='title')),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='pending', editable=False, max_length=16, verbose_name='status')),
                ('attempt', models.PositiveIntegerField(default=1, editable=False, verbose_name='attempt')),
                ('projected_attempt', models.PositiveIntegerField(default=1, editable=False, help_text='Attempt in the archive.', verbose_name='projected attempt')),
                ('progress', models.FloatField(default=0.0, editable=False, help_text='Percentage, 0 to 100.', verbose_name='progress')),
                ('payload', models.JSONField(blank=True, default=dict, verbose_name='payload')),
                ('result', models.JSONField(blank=True, editable=False, null=True, verbose_name='result')),
                ('error', models.TextField(blank=True, editable=False, verbose_name='error')),
                ('idempotency_key', models.CharField(editable=False, max_length=64, null=True, verbose_name='idempotency key')),
                ('request_fingerprint', models.CharField(blank=True, editable=False, max_length=64, verbose_name='request fingerprint')),
                ('deadline_at', models.DateTimeField(editable=False, help_text='The status changes at this time.', null=True, verbose_name='deadline')),
                ('deadline_status', models.CharField(blank=True, choices=[('pending', 'Pending'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], editable=False, max_length=16, verbose_name='status at the deadline')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('started_at', models.DateTimeField(editable=False, null=True, verbose_name='started')),
                ('finished_at', models.DateTimeField(editable=False, null=True, verbose_name='finished')),
                ('first_event_at', models.DateTimeField(editable=False, null=True, verbose_name='first event')),
                ('last_event_at', models.DateTimeField(editable=False, null=True, verbose_name='last event')),
                ('event_count', models.PositiveBigIntegerField(default=0, editable=False, verbose_name='events')),
                ('phase', models.CharField(blank=True, editable=False, max_length=200, verbose_name='phase')),
                ('usage', models.JSONField(default=dict, editable=False, help_text='Calls, input tokens and output tokens of all attempts, by model.', verbose_name='usage')),
                ('terms', jobs.fields.JobTermsField(default='', editable=False, help_text='Indexed words.', verbose_name='terms')),
                ('owner', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='job_events_jobs', to=settings.AUTH_USER_MODEL, verbose_name='owner')),
            ],
            options={
                'verbose_name': 'job',
                'verbose_name_plural': 'jobs',
                'ordering': ('-created_at', '-id'),
                'permissions': (('publish_events', 'Can publish job events through the API'), ('view_monitor', 'Can view the monitor, with figures of all jobs')),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='InputRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.PositiveIntegerField(verbose_name='attempt')),
                ('name', models.CharField(help_text='Unique within an attempt.', max_length=64, verbose_name='name')),
                ('external_id', models.CharField(blank=True, max_length=255, verbose_name='asked without a name by')),
                ('prompt', models.JSONField(verbose_name='prompt')),
                ('choices', models.JSONField(blank=True, default=list, verbose_name='choices')),
                ('asked_at', models.DateTimeField(auto_now_add=True, verbose_name='requested')),
                ('answered_at', models.DateTimeField(null=True, verbose_name='answered')),
                ('answered_by', models.CharField(blank=True, max_length=255, verbose_name='answered by')),
                ('value', models.JSONField(null=True, verbose_name='value')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='inputs', to='job_events_jobs.job', verbose_name='job')),
            ],
            options={
                'verbose_name': 'input request',
                'verbose_name_plural': 'input requests',
                'ordering': ('asked_at', 'id'),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('key', models.CharField(editable=False, max_length=80, primary_key=True, serialize=False, verbose_name='key')),
                ('number', models.PositiveIntegerField(verbose_name='number')),
                ('created_at', models.DateTimeField(verbose_name='queued')),
                ('started_at', models.DateTimeField(null=True, verbose_name='started')),
                ('finished_at', models.DateTimeField(null=True, verbose_name='finished')),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], max_length=16, verbose_name='status')),
                ('error', models.TextField(blank=True, verbose_name='error')),
                ('reason', models.CharField(blank=True, max_length=64, verbose_name='reason')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='job_events_jobs.job', verbose_name='job')),
            ],
            options={
                'verbose_name': 'attempt',
                'verbose_name_plural': 'attempts',
                'ordering': ('number',),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Sample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64, verbose_name='figure')),
                ('at', models.DateTimeField(verbose_name='start of the period')),
                ('seconds', models.PositiveIntegerField(verbose_name='length of the period')),
                ('value', models.JSONField(verbose_name='value')),
            ],
            options={
                'verbose_name': 'sample',
                'verbose_name_plural': 'samples',
                'default_permissions': (),
                'base_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('seconds', 'at', 'name'), name='job_events_samples_unique_figure')],
            },
        ),
        migrations.CreateModel(
            name='Silence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rule', models.CharField(blank=True, help_text='Empty: all rules.', max_length=64, verbose_name='rule')),
                ('subject', models.CharField(blank=True, help_text='Empty: all subjects.', max_length=160, verbose_name='subject')),
                ('starts_at', models.DateTimeField(verbose_name='from')),
                ('ends_at', models.DateTimeField(verbose_name='until')),
                ('comment', models.CharField(blank=True, max_length=200, verbose_name='comment')),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='created by')),
            ],
            options={
                'verbose_name': 'silence',
                'verbose_name_plural': 'silences',
                'ordering': ('-starts_at',),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Task',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('queue', models.CharField(max_length=32, verbose_name='queue')),
                ('external_id', models.CharField(max_length=255, verbose_name='external id')),
                ('task_type', models.CharField(max_length=100, verbose_name='task type')),
                ('group_key', models.CharField(blank=True, max_length=255, verbose_name='group')),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('released', 'Released'), ('awaiting_input', 'Awaiting input'), ('finished', 'Finished'), ('lost', 'Lost')], max_length=16, verbose_name='state')),
                ('delivery_count', models.PositiveIntegerField(default=0, verbose_name='delivery count')),
                ('worker', models.CharField(blank=True, max_length=255, verbose_name='worker')),
                ('started_at', models.DateTimeField(null=True, verbose_name='started')),
                ('heartbeat_at', models.DateTimeField(null=True, verbose_name='latest heartbeat')),
                ('deadline', models.DateTimeField(null=True, verbose_name='time limit')),
                ('parent_run_id', models.CharField(blank=True, max_length=300, verbose_name='parent span')),
                ('resume', models.JSONField(null=True, verbose_name='arguments to resume with')),
                ('attempt', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tasks', to='job_events_jobs.attempt', verbose_name='attempt')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tasks', to='job_events_jobs.job', verbose_name='job')),
            ],
            options={
                'verbose_name': 'task',
                'verbose_name_plural': 'tasks',
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Ticket',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('logins', models.JSONField(verbose_name='logins')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name='created')),
                ('connection', models.UUIDField(null=True, verbose_name='connection')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='job_events_jobs.job', verbose_name='job')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='user')),
            ],
            options={
                'verbose_name': 'ticket',
                'verbose_name_plural': 'tickets',
                'default_permissions': (),
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='AlertDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(max_length=64, verbose_name='channel')),
                ('attempts', models.PositiveIntegerField(default=0, verbose_name='attempts')),
                ('next_at', models.DateTimeField(null=True, verbose_name='next attempt')),
                ('delivered_at', models.DateTimeField(null=True, verbose_name='delivered')),
                ('error', models.TextField(blank=True, verbose_name='error')),
                ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='job_events_jobs.alertmessage')),
            ],
            options={
                'verbose_name': 'alert delivery',
                'verbose_name_plural': 'alert deliveries',
                'default_permissions': ('view',),
                'base_manager_name': 'objects',
                'indexes': [models.Index(condition=models.Q(('delivered_at', None)), fields=['next_at'], name='job_events_deliveries_open')],
                'constraints': [models.UniqueConstraint(fields=('message', 'channel'), name='job_events_deliveries_once')],
            },
        ),
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rule', models.CharField(max_length=64, verbose_name='rule')),
                ('subject', models.CharField(blank=True, help_text='A task_type, job_id or problem.', max_length=160, verbose_name='subject')),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('firing', 'Firing'), ('resolved', 'Resolved')], max_length=16, verbose_name='state')),
                ('value', models.FloatField(null=True, verbose_name='value')),
                ('summary', models.TextField(verbose_name='summary')),
                ('pending_at', models.DateTimeField(verbose_name='pending since')),
                ('fired_at', models.DateTimeField(null=True, verbose_name='firing since')),
                ('resolved_at', models.DateTimeField(null=True, verbose_name='resolved')),
                ('firing_message', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='fired', to='job_events_jobs.alertmessage')),
                ('resolved_message', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='resolved', to='job_events_jobs.alertmessage')),
            ],
            options={
                'verbose_name': 'alert',
                'verbose_name_plural': 'alerts',
                'ordering': ('-pending_at', '-id'),
                'default_permissions': ('view',),
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['-pending_at', '-id'], name='job_events_alerts_by_time'), models.Index(condition=models.Q(('resolved_at__isnull', True)), fields=['-pending_at', '-id'], name='job_events_alerts_open'), models.Index(fields=['subject'], name='job_events_alerts_by_subject'), models.Index(condition=models.Q(('fired_at', None), ('resolved_at__isnull', False)), fields=['subject'], name='job_events_alerts_erased'), models.Index(condition=models.Q(models.Q(('fired_at__isnull', False), ('firing_message', None), ('resolved_at', None)), models.Q(('fired_at__isnull', False), ('firing_message__isnull', False), ('resolved_at__isnull', False), ('resolved_message', None)), _connector='OR'), fields=['rule'], name='job_events_alerts_unsent')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state__in', ('pending', 'firing'))), fields=('rule', 'subject'), name='job_events_alerts_one_open')],
            },
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['-created_at', '-id'], name='job_events_jobs_by_time'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['owner', '-created_at', '-id'], name='job_events_jobs_by_owner'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['status', '-created_at', '-id'], name='job_events_jobs_by_status'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['task_type', '-created_at', '-id'], name='job_events_jobs_by_task_type'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['owner', 'status', '-created_at', '-id'], name='job_events_jobs_by_state'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['-finished_at', '-id'], name='job_events_jobs_by_finish'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('deadline_at__isnull', False)), fields=['deadline_at'], name='job_events_jobs_by_deadline'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(fields=('owner', 'idempotency_key'), name='job_events_jobs_unique_idempotency_key'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ('pending', 'running', 'completed', 'failed', 'cancelled'))), name='job_events_jobs_valid_status'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('progress__gte', 0), ('progress__lte', 100)), name='job_events_jobs_progress_0_to_100'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('status__in', ('completed', 'failed', 'cancelled'))), models.Q(('finished_at__isnull', True), ('status__in', ('pending', 'running'))), _connector='OR'), name='job_events_jobs_finished_at_if_terminal'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('started_at__isnull', True), ('finished_at__isnull', True), ('finished_at__gte', models.F('started_at')), _connector='OR'), name='job_events_jobs_finished_after_started'),
        ),
        migrations.AddIndex(
            model_name='inputrequest',
            index=models.Index(condition=models.Q(('answered_at__isnull', True)), fields=['asked_at', 'id'], name='job_events_inputs_open'),
        ),
        migrations.AddConstraint(
            model_name='inputrequest',
            constraint=models.UniqueConstraint(fields=('job', 'attempt', 'name'), name='job_events_jobs_unique_input_name'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(condition=models.Q(('finished_at__isnull', False)), fields=['finished_at'], name='job_events_attempts_by_finish'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('job', 'number'), name='job_events_jobs_unique_number'),
        ),
        migrations.AddConstraint(
            model_name='silence',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='job_events_silences_end_after_start', violation_error_message='A silence ends after it starts.'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('state__in', ('running', 'released'))), fields=['heartbeat_at'], name='job_events_tasks_by_heartbeat'),
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=models.UniqueConstraint(fields=('attempt', 'external_id'), name='job_events_jobs_unique_external_id'),
        ),
        term_index('job_events_jobs_terms', 'job_events_jobs_job'),
    ]
