"""The package stands alone: it can be read, tested and copied without Django."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_it_imports_neither_django_nor_the_rest_of_the_project() -> None:
    program = (
        "import sys, jobs.writing.graphs, jobs.writing.chat\n"
        "own = ('django', 'redis', 'celery', 'events', 'config')\n"
        "print([name for name in sys.modules if name.split('.')[0] in own"
        " or name.startswith('jobs.') and not name.startswith('jobs.writing')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
