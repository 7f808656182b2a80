"""The pages and the API, for one `include()`."""

from django.urls import include, path

from jobs.pages import urls

app_name = "jobs"

urlpatterns = [
    path("jobs/", include(urls.urlpatterns)),
    path("api/", include("jobs.api.urls")),
]
