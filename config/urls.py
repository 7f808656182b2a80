"""URL configuration of the site."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="job_events:list")),
    path("admin/", admin.site.urls),
    path("", include("jobs.urls")),
]
