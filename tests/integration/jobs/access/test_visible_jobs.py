"""Visible jobs: the default rule, custom rules, and permissions."""

from http import HTTPStatus

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from jobs.models import Job
from jobs.selectors import visible_jobs
from tests.integration.jobs.conftest import Api

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def allow(user, *codenames):
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def logged_in(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def clerk(django_user_model):
    """A member of the staff without any permission."""
    return django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)


@pytest.fixture
def job(user, make_job):
    return make_job(owner=user, job_id="abc")


def statuses(user, method="get", paths=("", "events/", "stream/")):
    api = Api(logged_in(user))
    return {getattr(api, method)(f"jobs/abc/{path}").status_code for path in paths}


def test_staff_with_the_view_permission_sees_all_jobs(clerk, job):
    assert statuses(clerk) == {404}
    allow(clerk, "view_job")
    assert statuses(clerk) == {200}


def test_permission_requires_staff_status(other_user, job):
    """The permission is meant for the admin, which requires staff status."""
    allow(other_user, "view_job")
    assert statuses(other_user) == {404}


def test_view_permission_does_not_allow_changes(clerk, job):
    allow(clerk, "view_job")
    assert statuses(clerk, "post", ("cancel/", "retry/")) == {403}
    client, page = logged_in(clerk), reverse("job_events:detail", kwargs={"job_id": "abc"})
    html = client.get(page).content.decode()
    assert "cancel-form" not in html
    assert "retry-form" not in html
    assert client.post(page, {"action": "cancel"}).status_code == HTTPStatus.FORBIDDEN
    job.refresh_from_db()
    assert job.status == Job.Status.PENDING
    allow(clerk, "change_job")
    assert statuses(clerk, "post", ("cancel/", "retry/")) == {200}


def jobs_with_the_users_name(user):
    """A custom rule: users see the jobs whose title is their name."""
    return Job.objects.filter(title=user.get_username())


@pytest.mark.parametrize("rule", [jobs_with_the_users_name, f"{__name__}.jobs_with_the_users_name"])
def test_custom_rule(settings, user, other_user, staff, make_job, rule):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": rule}
    make_job(owner=user, job_id="abc", title="bert")
    assert statuses(other_user) == {200}
    assert statuses(user) == statuses(staff) == {404}


def test_rule_is_not_called_for_anonymous_users(settings, user, job):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": lambda _user: Job.objects.all()}
    assert visible_jobs(user).exists()
    user.is_active = False
    assert not visible_jobs(user).exists()
