"""A worker of RQ with Django set up: `python -m tests.support.rq_worker`."""

import os

import django
from redis import Redis
from rq import Worker

if __name__ == "__main__":
    django.setup()
    # A client of its own: it waits for longer than the project's lets a command take.
    Worker(["default"], connection=Redis.from_url(os.environ["REDIS_URL"])).work()
