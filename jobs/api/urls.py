"""Routes of the API; a project may include them under any prefix and namespace, see `jobs.urls`."""

from django.urls import include, path

from jobs.access.page_policy import restricted
from jobs.api.openapi.views import ApiDocsView, SchemaView
from jobs.api.views import events, jobs, live, statistics

job_patterns = [
    path("", jobs.JobDetailView.as_view(), name="api-job-detail"),
    path("cancel/", jobs.JobCancelView.as_view(), name="api-job-cancel"),
    path("retry/", jobs.JobRetryView.as_view(), name="api-job-retry"),
    path("inputs/", jobs.JobInputsView.as_view(), name="api-job-inputs"),
    path("ticket/", live.JobTicketView.as_view(), name="api-job-ticket"),
    path("stream/", events.JobStreamView.as_view(), name="api-job-stream"),
    path("events/", events.JobEventsView.as_view(), name="api-job-events"),
    path("events/export/", events.JobEventExportView.as_view(), name="api-job-events-export"),
    path("events/stream/", live.JobEventStreamView.as_view(), name="api-job-events-stream"),
    path("events/poll/", live.JobEventPollView.as_view(), name="api-job-events-poll"),
]

urlpatterns = [
    path("jobs/", jobs.JobListView.as_view(), name="api-job-list"),
    path("jobs/<str:job_id>/", include(job_patterns)),
    # Not below jobs/: a job may have the id "counts".
    path("job-counts/", jobs.JobCountsView.as_view(), name="api-job-counts"),
    path("statistics/", statistics.StatisticsView.as_view(), name="api-statistics"),
    path("events/", events.EventSearchView.as_view(), name="api-events"),
    path("events/stream/", live.EventStreamView.as_view(), name="api-events-stream"),
    path("schema/", SchemaView.as_view(), name="api-schema"),
    path("docs/", restricted(ApiDocsView.as_view()), name="api-docs"),
]
