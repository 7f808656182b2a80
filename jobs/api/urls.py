"""The routes of the API, shown here below `/api/`."""

from django.urls import path

from jobs.api import event_views, export_views, input_views, live_views, views
from jobs.api.schema import views as schema_views

urlpatterns = [
    path("jobs/", views.JobListView.as_view(), name="api-job-list"),
    path(
        "jobs/<str:job_id>/events/export/",
        export_views.JobEventExportView.as_view(),
        name="api-job-events-export",
    ),
    # Not below jobs/, where a job may be called so.
    path("job-counts/", views.JobCountsView.as_view(), name="api-job-counts"),
    path("jobs/<str:job_id>/", views.JobDetailView.as_view(), name="api-job-detail"),
    path("jobs/<str:job_id>/cancel/", views.JobCancelView.as_view(), name="api-job-cancel"),
    path("jobs/<str:job_id>/retry/", views.JobRetryView.as_view(), name="api-job-retry"),
    path("jobs/<str:job_id>/inputs/", input_views.JobInputsView.as_view(), name="api-job-inputs"),
    path("jobs/<str:job_id>/ticket/", views.JobTicketView.as_view(), name="api-job-ticket"),
    path("jobs/<str:job_id>/events/", event_views.JobEventsView.as_view(), name="api-job-events"),
    path(
        "jobs/<str:job_id>/events/stream/",
        live_views.JobEventStreamView.as_view(),
        name="api-job-events-stream",
    ),
    path(
        "jobs/<str:job_id>/events/poll/",
        live_views.JobEventPollView.as_view(),
        name="api-job-events-poll",
    ),
    path("events/", event_views.EventSearchView.as_view(), name="api-events"),
    path("events/stream/", live_views.EventStreamView.as_view(), name="api-events-stream"),
    path("jobs/<str:job_id>/stream/", event_views.JobStreamView.as_view(), name="api-job-stream"),
    path("schema/", schema_views.SchemaView.as_view(), name="api-schema"),
    path("docs/", schema_views.ApiDocsView.as_view(), name="api-docs"),
]
