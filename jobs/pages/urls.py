"""The routes of the pages; `jobs.urls` includes them in the namespace `job_events`."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path, re_path, reverse_lazy

from jobs.pages.views import JobDetailView, JobListView, JobLoginView, JobNewView

urlpatterns = [
    path("", JobListView.as_view(), name="list"),
    path("new/", JobNewView.as_view(), name="new"),
    path("login/", JobLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page=reverse_lazy("job_events:login")), name="logout"),
    # Under a segment of their own, so that a job may be called "new".
    re_path(r"^job/(?P<job_id>[A-Za-z0-9_-]{1,64})/\Z", JobDetailView.as_view(), name="detail"),
]
