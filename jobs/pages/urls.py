"""Routes of the pages. The namespace is set where they are included, see `jobs.urls`."""

from django.contrib.auth.views import LogoutView
from django.urls import path, re_path, reverse_lazy

from jobs.pages.views import JobDetailPage, JobListPage, JobLoginPage, JobNewPage

urlpatterns = [
    path("", JobListPage.as_view(), name="list"),
    path("new/", JobNewPage.as_view(), name="new"),
    path("login/", JobLoginPage.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page=reverse_lazy("job_events:login")), name="logout"),
    # Its own path segment, so that a job may have the job_id "new".
    re_path(r"^job/(?P<job_id>[A-Za-z0-9_-]{1,64})/\Z", JobDetailPage.as_view(), name="detail"),
]
