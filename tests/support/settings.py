"""Settings of the tests and tools: those of the site, with a key, for plain HTTP."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "key-of-the-tests-0123456789-abcdefghijklmnopqrstuvw")
os.environ.setdefault("DJANGO_DEBUG", "1")

from config.settings import *  # noqa: F403 - the settings read the environment
from config.settings import JOB_EVENTS as SITE
from config.settings import LOGGING as SITE_LOGGING

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A limit would report in one test how many lines of an earlier one it suppressed.
LOGGING = {**SITE_LOGGING, "filters": {"rate": {"()": "logging.Filter"}}}
# Most tests are not about who may start what.
JOB_EVENTS = {**SITE, "MAY_START": lambda *_: True, "JOBS_WITHOUT_RUNNER": True}
