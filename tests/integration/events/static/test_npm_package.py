"""The folder of the browser client is a package for npm; node imports it as one."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.site import ROOT

FOLDER = ROOT / "events" / "static" / "job_events"
PACKAGE = json.loads((FOLDER / "package.json").read_text())
FILES = {path.name for pattern in PACKAGE["files"] for path in FOLDER.glob(pattern)}
NODE = shutil.which("node")

# Each call throws a TypeError with this text.
INVALID = {
    "watchJob()": "Given: undefined.",
    "watchJob('a b')": 'a job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -. Given: "a b"',
    "watchJob('a', 7)": "the options must be an object",
    "watchJob('a', { onevent() {} })": "unknown option onevent. The options are onEvent, ",
    "watchJob('a', { onEvent: 5 })": "onEvent must be a function. Given: 5.",
    "watchJob('a', { ticket: 't' })": 'ticket must be a function. Given: "t".',
    "watchJob('a', { baseUrl: '/api/jobs' })": 'baseUrl must be a URL that ends in "/"',
    "watchJob('a', { after: '-' })": "after must be a cursor",
    "watchJob('a', { transports: [] })": "transports must be an array of transports. Given: [].",
    "watchJobs({ onEvent() {} })": "unknown option onEvent. The options are onJob, ",
}


def test_fields() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (PACKAGE["name"], PACKAGE["version"]) == (project["name"], project["version"])
    assert (PACKAGE["type"], PACKAGE["license"]) == ("module", project["license"])
    targets = {PACKAGE["types"], *PACKAGE["sideEffects"]}
    for target in PACKAGE["exports"].values():
        targets |= {*target.values()} if isinstance(target, dict) else {target}
    assert {Path(target).name for target in targets} <= FILES


def test_files_import_each_other_only() -> None:
    for name in FILES:
        pattern = r'(?:from|import) ?\(?"\./(.+?)"'
        assert {*re.findall(pattern, (FOLDER / name).read_text())} <= FILES, name


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_node_imports_the_package_and_invalid_arguments_throw(tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / PACKAGE["name"]).symlink_to(FOLDER)
    script = f'import {{ watchJob, watchJobs }} from "{PACKAGE["name"]}";\nconst found = [];\n'
    for call in INVALID:
        script += f"try {{ {call}; }} catch (error) {{ found.push(String(error)); }}\n"
    (tmp_path / "run.mjs").write_text(script + "console.log(JSON.stringify(found));")
    done = subprocess.run(
        [NODE or "node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for (call, expected), text in zip(INVALID.items(), found, strict=True):
        assert text.startswith("TypeError: watchJob"), call
        assert expected in text
