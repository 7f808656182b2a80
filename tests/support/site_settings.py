"""Settings of the deployed site with a fast password hasher and a runner for manual jobs."""

from config.settings import *  # noqa: F403
from config.settings import JOB_EVENTS as SITE

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tests publish the events of these jobs. The pages show the result view of the demo.
BY_HAND = {
    "run": "tests.support.runners.leave_pending",
    "result_template": "job_events_demo/result.html",
}
JOB_EVENTS = {
    **SITE,
    "RUNNERS": {**SITE["RUNNERS"], "by_hand": BY_HAND},
    # Most tests are not about who may start what.
    "MAY_START": lambda *_: True,
    "JOBS_WITHOUT_RUNNER": True,
}
