"""A worker of RQ with Django set up: `python -m tests.support.rq_worker`."""

import django
from rq import Worker

django.setup()

from events.connections import get_redis  # noqa: E402

if __name__ == "__main__":
    Worker(["default"], connection=get_redis()).work()
