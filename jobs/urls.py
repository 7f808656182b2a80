"""The pages and the API, for one `include()`."""

from django.urls import include, path

from jobs import pages_urls

app_name = "jobs"

urlpatterns = [
    path("jobs/", include(pages_urls.urlpatterns)),
    path("api/", include("jobs.api.urls")),
]
