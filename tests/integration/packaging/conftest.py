"""The built wheel, and virtual environments with the wheel."""

import os
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events.testing.redis_server import throwaway_redis
from tests.support.site import ROOT

DEPENDENCIES = sysconfig.get_path("purelib")


def run(*command: object, **options: Any) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


class Environment:
    """A virtual environment with the dependencies of the tests, but without the editable install.

    Python does not process the `.pth` files of a directory that a `.pth` file adds.
    """

    def __init__(self, directory: Path) -> None:
        venv.create(directory, with_pip=True, symlinks=True)
        self.python = directory / "bin" / "python"
        (self.packages,) = directory.glob("lib/python*/site-packages")
        self._link = self.packages / "dependencies.pth"
        self._link.write_text(DEPENDENCIES)

    def pip(self, *arguments: object) -> None:
        """Run pip without access to the editable install."""
        self._link.unlink()
        run(self.python, "-m", "pip", "--quiet", *arguments)
        self._link.write_text(DEPENDENCIES)

    def install(self, *requirements: object) -> None:
        self.pip("install", "--no-deps", *requirements)

    def execute(self, directory: Path, *arguments: object, **variables: str) -> str:
        """Run Python in a project; return stdout and stderr."""
        excluded = ("DJANGO", "PYTEST", "PYTHONPATH", "DATABASE_URL")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(excluded)}
        options: dict[str, Any] = {"cwd": directory, "env": {**kept, **variables}}
        command = [str(self.python), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        return f"{result.stdout}{result.stderr}"


@pytest.fixture(scope="package")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the commands of the README in an environment without anything else."""
    assert "pip install build && python -m build --wheel " in (ROOT / "README.md").read_text()
    out, builder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("builder")
    venv.create(builder, with_pip=True, symlinks=True)
    python = builder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--wheel", "--outdir", out, ROOT)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="package")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, which tests do not change."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.install(wheel)
    return environment


@pytest.fixture
def redis_url() -> Iterator[str]:
    with throwaway_redis() as url:
        yield url


def write(directory: Path, files: dict[str, str]) -> Path:
    """Write a project, with an `__init__.py` in each folder of a module."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        for parent in path.relative_to(directory).parents[:-1]:
            if path.suffix == ".py":
                (directory / parent / "__init__.py").touch()
    return directory
