"""Routes of the pages, the API and the metrics, for one `include()`."""

from django.urls import include, path

from jobs.api.views.metrics import MetricsView

app_name = "job_events"

urlpatterns = [
    path("jobs/", include("jobs.pages.urls")),
    path("api/", include("jobs.api.urls")),
    path("metrics", MetricsView.as_view(), name="metrics"),
]
