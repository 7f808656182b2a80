"""`make setup` reports missing requirements; `make check-source` checks the source rules."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def make(tmp_path: Path, python: str, *more: str) -> str:
    command = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", *more]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    return result.stdout


@pytest.fixture
def stub(tmp_path):
    """Create a fake Python executable from a shell script."""

    def stub(body: str) -> str:
        path = tmp_path / "python-stub"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return stub


def test_missing_python(tmp_path):
    assert "There is no nosuchpython here. Install Python 3.11 or later" in make(
        tmp_path, "nosuchpython"
    )


def test_old_python(tmp_path, stub):
    old = stub('case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    assert "Python 3.9.2 is too old: 3.11 or later is needed" in make(tmp_path, old)


def test_python_without_venv(tmp_path, stub):
    bare = stub('case "$1" in -m) exit 1;; *) echo "Python 3.11.2";; esac')
    assert "sudo apt install python3-venv" in make(tmp_path, bare)


def test_failed_installation(tmp_path, stub):
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("pip", "python"):
        (binaries / name).write_text("#!/bin/sh\necho 'error: command gcc failed'; exit 1\n")
        (binaries / name).chmod(0o755)
    output = make(tmp_path, stub('echo "Python 3.11.2"'))
    assert "The installation failed; pip says why above." in output
    assert "sudo apt install build-essential python3-dev" in output


@pytest.fixture
def repository(tmp_path):
    """A repository with only the Makefile and an app."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "types.py").write_text('"""Types."""\n')
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def check_source(repository: Path) -> tuple[int, str]:
    subprocess.run(["git", "add", "-A"], cwd=repository, check=True)
    result = subprocess.run(
        ["make", "-s", "check-source"], cwd=repository, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout


def test_valid_source_is_accepted(repository):
    assert check_source(repository) == (0, "")


@pytest.mark.parametrize("name", ["events/types.py", "docs.md", "page.html", "events/append.lua"])
def test_banned_word_is_rejected(repository, name):
    (repository / name).write_text("Some" + "body reads this.\n")
    code, output = check_source(repository)
    assert code != 0
    assert output.startswith(f"{name}:1:")


def test_module_over_400_lines_is_rejected(repository):
    (repository / "events" / "types.py").write_text("x = 1\n" * 401)
    code, output = check_source(repository)
    assert code != 0
    assert "events/types.py has 401 lines" in output
