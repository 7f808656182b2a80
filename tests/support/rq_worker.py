"""RQ worker with Django set up: `python -m tests.support.rq_worker`."""

import os

import django
from redis import Redis
from rq import Worker

if __name__ == "__main__":
    django.setup()
    # The project's client has a shorter socket timeout than the worker's blocking commands.
    Worker(["default"], connection=Redis.from_url(os.environ["REDIS_URL"])).work()
