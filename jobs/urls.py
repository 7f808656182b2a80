"""The pages and the API, for one `include()`."""

from django.urls import include, path

from jobs.pages import urls

app_name = "job_events"

urlpatterns = [
    path("jobs/", include(urls.urlpatterns)),
    path("api/", include("jobs.api.urls")),
]
