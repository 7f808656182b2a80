"""Settings of the site of the soak test."""

from config.settings import *  # noqa: F403
from config.settings import JOB_EVENTS as SITE

JOB_EVENTS = {**SITE, "REDIS_TIMEOUT": 5.0, "STREAM_TAIL": 200, "SEND_TIMEOUT": 5.0}
