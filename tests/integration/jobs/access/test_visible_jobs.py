"""Which jobs a user sees, and what may be done to them: by default, and by a rule of one's own."""

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
    """Somebody on the staff, without any permission."""
    return django_user_model.objects.create_user("clerk", password="clerk", is_staff=True)


@pytest.fixture
def job(user, make_job):
    return make_job(owner=user, job_id="abc")


def statuses(user, method="get", paths=("", "events/", "stream/")):
    api = Api(logged_in(user))
    return {getattr(api, method)(f"jobs/abc/{path}").status_code for path in paths}


def test_the_staff_sees_all_with_the_permission_to_view(clerk, job):
    assert statuses(clerk) == {404}
    allow(clerk, "view_job")
    assert statuses(clerk) == {200}


def test_the_permission_alone_is_not_enough(other_user, job):
    """It is the admin's, for which one has to be of the staff."""
    allow(other_user, "view_job")
    assert statuses(other_user) == {404}


def test_who_only_sees_a_job_does_not_change_it(clerk, job):
    allow(clerk, "view_job")
    assert statuses(clerk, "post", ("cancel/", "retry/")) == {403}
    client, page = logged_in(clerk), reverse("job_events:detail", kwargs={"job_id": "abc"})
    assert '<div class="actions" hidden>' in client.get(page).content.decode()
    assert client.post(page, {"action": "cancel"}).status_code == HTTPStatus.FORBIDDEN
    job.refresh_from_db()
    assert job.status == Job.Status.PENDING
    allow(clerk, "change_job")
    assert statuses(clerk, "post", ("cancel/", "retry/")) == {200}


def titled(user):
    """A rule of a project's own: what is called after somebody is shown to them."""
    return Job.objects.filter(title=user.get_username())


@pytest.mark.parametrize("rule", [titled, f"{__name__}.titled"])
def test_a_rule_of_ones_own(settings, user, other_user, staff, make_job, rule):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": rule}
    make_job(owner=user, job_id="abc", title="bert")
    assert statuses(other_user) == {200}
    assert statuses(user) == statuses(staff) == {404}


def test_whoever_is_nobody_is_not_asked_about(settings, user, job):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": lambda _user: Job.objects.all()}
    assert visible_jobs(user).exists()
    user.is_active = False
    assert not visible_jobs(user).exists()
