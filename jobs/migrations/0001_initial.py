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
                ('terms', jobs.fields.JobTermsField(default='', editable=False, help_text='Indexed words.', verbose_name='terms')),
                ('owner', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='job_events_jobs', to=settings.AUTH_USER_MODEL, verbose_name='owner')),
            ],
            options={
                'verbose_name': 'job',
                'verbose_name_plural': 'jobs',
                'ordering': ('-created_at', '-id'),
                'permissions': (('publish_events', 'Can publish job events through the API'),),
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
        migrations.AddConstraint(
            model_name='inputrequest',
            constraint=models.UniqueConstraint(fields=('job', 'attempt', 'name'), name='job_events_jobs_unique_input_name'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('job', 'number'), name='job_events_jobs_unique_number'),
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
