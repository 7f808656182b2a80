"""Routes of the pages. The namespace is set where they are included, see `jobs.urls`."""

from django.contrib.auth.views import LogoutView
from django.urls import path, re_path, reverse_lazy

from jobs.access.page_policy import restricted
from jobs.pages.job_detail import JobDetailPage
from jobs.pages.job_list import JobListPage
from jobs.pages.views import JobLoginPage, JobNewPage, MonitorPage

detail = restricted(JobDetailPage.as_view())
logout = restricted(LogoutView.as_view(next_page=reverse_lazy("job_events:login")))

urlpatterns = [
    path("", restricted(JobListPage.as_view()), name="list"),
    path("new/", restricted(JobNewPage.as_view()), name="new"),
    path("monitor/", restricted(MonitorPage.as_view()), name="monitor"),
    path("login/", restricted(JobLoginPage.as_view()), name="login"),
    path("logout/", logout, name="logout"),
    # Its own path segment, so that a job may have the job_id "new".
    re_path(r"^job/(?P<job_id>[A-Za-z0-9_-]{1,64})/\Z", detail, name="detail"),
]
