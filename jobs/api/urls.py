"""The routes of the API, shown here below `/api/`."""

from django.urls import path

from jobs.api.openapi import views as schema_views
from jobs.api.views import events, export, inputs, jobs, live

urlpatterns = [
    path("jobs/", jobs.JobListView.as_view(), name="api-job-list"),
    path(
        "jobs/<str:job_id>/events/export/",
        export.JobEventExportView.as_view(),
        name="api-job-events-export",
    ),
    # Not below jobs/, where a job may be called so.
    path("job-counts/", jobs.JobCountsView.as_view(), name="api-job-counts"),
    path("jobs/<str:job_id>/", jobs.JobDetailView.as_view(), name="api-job-detail"),
    path("jobs/<str:job_id>/cancel/", jobs.JobCancelView.as_view(), name="api-job-cancel"),
    path("jobs/<str:job_id>/retry/", jobs.JobRetryView.as_view(), name="api-job-retry"),
    path("jobs/<str:job_id>/inputs/", inputs.JobInputsView.as_view(), name="api-job-inputs"),
    path("jobs/<str:job_id>/ticket/", jobs.JobTicketView.as_view(), name="api-job-ticket"),
    path("jobs/<str:job_id>/events/", events.JobEventsView.as_view(), name="api-job-events"),
    path(
        "jobs/<str:job_id>/events/stream/",
        live.JobEventStreamView.as_view(),
        name="api-job-events-stream",
    ),
    path(
        "jobs/<str:job_id>/events/poll/",
        live.JobEventPollView.as_view(),
        name="api-job-events-poll",
    ),
    path("events/", events.EventSearchView.as_view(), name="api-events"),
    path("events/stream/", live.EventStreamView.as_view(), name="api-events-stream"),
    path("jobs/<str:job_id>/stream/", events.JobStreamView.as_view(), name="api-job-stream"),
    path("schema/", schema_views.SchemaView.as_view(), name="api-schema"),
    path("docs/", schema_views.ApiDocsView.as_view(), name="api-docs"),
]
