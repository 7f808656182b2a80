"""Links in alert messages."""

from jobs.alerts.links import job_link


def test_link_to_a_job(settings):
    settings.JOB_EVENTS = {}
    assert job_link("abc") == "/jobs/job/abc/"
    settings.JOB_EVENTS = {"SITE_URL": "https://jobs.example.org/"}
    assert job_link("abc") == "https://jobs.example.org/jobs/job/abc/"
    settings.ROOT_URLCONF = None
    assert job_link("abc") == ""
