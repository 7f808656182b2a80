"""Routes of the pages and the API, for one `include()`."""

from django.urls import include, path

app_name = "job_events"

urlpatterns = [
    path("jobs/", include("jobs.pages.urls")),
    path("api/", include("jobs.api.urls")),
]
