"""The snippets of the README and the documents run unchanged against the Redis of the tests."""

import os
import re
import runpy
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import rq
import yaml
from asgiref.sync import sync_to_async
from celery import shared_task
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core.management import get_commands
from django.db.models import F
from django.urls import path
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from config.celery import app
from events.archive.archiver import Archiver
from events.exceptions import RedisUnavailable
from events.history import aread_events, read_events
from events.integrations.celery import JobTask
from events.integrations.uvicorn import OPTIONS
from events.producer import sender
from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs import inputs, services
from jobs.alerts.channels.webhook import signed_headers
from jobs.alerts.rules import active_rules
from jobs.checks import check_settings
from jobs.management.commands.send_test_alert import sample_message
from jobs.models import InputRequest, Job
from jobs.selectors import visible_jobs
from jobs.signals import alert_changed
from tests.support import rq_adapter
from tests.support.followed import followed_tasks
from tests.support.queue_tasks import FRAMEWORK
from tests.support.site import ROOT
from tests.support.spans import ended_spans

DOCUMENTS = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md"))]
TRANSLATIONS = [path for path in DOCUMENTS if path.name.endswith(".zh-CN.md")]


def snippets(path: Path, language: str = "python") -> dict[str, str]:
    """Return the fenced blocks of a document by the comment above them, or by their number."""
    pattern = rf"(?:<!-- (\S+) -->\n)?```{language}\n(.*?)```"
    found = re.findall(pattern, path.read_text(), re.DOTALL)
    return {name or str(number): code for number, (name, code) in enumerate(found)}


def replace_redis_url(code: str, url: str) -> str:
    assert "redis://localhost:6379" in code
    return code.replace("redis://localhost:6379", url)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_compile(document):
    for name, code in snippets(document).items():
        compile(code, f"{document.name}:{name}", "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_exist(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", TRANSLATIONS, ids=lambda path: path.name)
def test_translations_have_the_snippets_and_links_of_the_original(document):
    def parts(text):
        snippets = re.findall(r"(?:<!-- \S+ -->\n)?```.*?```", text, re.DOTALL)
        links = {link.replace(".zh-CN.md", ".md") for link in re.findall(r"\]\(([^)]+)\)", text)}
        return snippets, links

    original = document.with_name(document.name.replace(".zh-CN", ""))
    assert parts(document.read_text()) == parts(original.read_text())


@pytest.mark.django_db(transaction=True)
def test_publisher_snippet_of_the_readme(client, admin_user):
    namespace: dict = {}
    exec(snippets(ROOT / "README.md")["0"], namespace)
    url = namespace["write_report"](admin_user)
    client.force_login(admin_user)
    assert "My report" in client.get(url).text
    events = [event.event_type for event in read_events(Job.objects.get().job_id)]
    assert events == ["job_created", "task_started", "thought", "task_completed"]


def test_commands_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert re.search(rf"^{target}: setup$", makefile, re.MULTILINE)
    assert get_commands()["demo"] == "config.demo"


def test_server_command_of_the_operations():
    (command,) = re.findall(
        r"```sh\nuvicorn (.*?)\n```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL
    )
    assert " ".join(OPTIONS) in " ".join(command.replace("\\\n", " ").split())
    namespace = ModuleType("worker")
    code = snippets(ROOT / "docs" / "operations.md")["gunicorn"].partition("\n\n\n")[2]
    exec("class UvicornWorker: pass\n" + code, namespace.__dict__)
    options = namespace.Worker.CONFIG_KWARGS
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in options.items()]
    assert " ".join(flags).replace("False", "false") == " ".join(OPTIONS)


@pytest.mark.parametrize(("language", "name"), [("ini", "systemd-web"), ("yaml", "compose")])
def test_server_options_of_deployments(language, name):
    code = snippets(ROOT / "docs" / "operations.md", language)[name]
    words = (
        code.split() if language == "ini" else yaml.safe_load(code)["services"]["web"]["command"]
    )
    assert " ".join(OPTIONS) in " ".join(words)


def test_form_of_a_runner(settings, client, admin_user):
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["report-form"], namespace)
    entry = {"run": lambda job_id, pages: None, "form": namespace["ReportForm"]}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"report": entry}}
    assert check_settings(None) == []
    client.force_login(admin_user)
    assert "A report with a number of pages." in client.get("/jobs/new/").text
    client.post("/jobs/new/", {"pages": "7"})
    job = Job.objects.get()
    assert (job.title, job.payload) == ("Report of 7 pages", {"pages": 7})


def test_alert_rules(settings):
    exec(snippets(ROOT / "docs" / "how-to.md")["alert-rules"], namespace := {})
    settings.JOB_EVENTS = namespace["JOB_EVENTS"]
    assert check_settings(None) == []
    assert not any(rule.error for rule in active_rules([]))


def test_alert_channels(settings, rf):
    code = snippets(ROOT / "docs" / "how-to.md")
    namespace: dict = {}
    exec(code["alert-channels"], namespace)
    settings.JOB_EVENTS = namespace["JOB_EVENTS"]
    assert check_settings(None) == []
    exec(code["alert-receiver"], namespace)
    message = snippets(ROOT / "docs" / "reference.md", "json")["alert-message"].encode()
    secret = settings.JOB_EVENTS["ALERT_CHANNELS"]["hook"]["secret"]
    for body, status in ((message, 204), (message + b" ", 400)):
        headers = signed_headers(secret, "1", message)
        request = rf.post("/", body, content_type=headers.pop("Content-Type"), headers=headers)
        assert namespace["receive"](request).status_code == status


def test_alert_signal(capsys):
    code = snippets(ROOT / "docs" / "how-to.md")["alert-signal"]
    exec(code, namespace := {})
    try:
        alert_changed.send(None, message=sample_message(), message_id="5")
    finally:
        alert_changed.disconnect(namespace["open_ticket"])
    assert capsys.readouterr().out.startswith("5 firing test ")


def urlconf(name):
    module = ModuleType("documented_urls")
    exec(snippets(ROOT / "docs" / "how-to.md")[name], module.__dict__)
    module.urlpatterns += [path("admin/", admin.site.urls)]
    return module


def test_api_without_the_pages(settings, client, admin_user):
    settings.ROOT_URLCONF = urlconf("api-only")
    settings.LOGIN_URL = "/accounts/login/"
    job = services.job_create(task_type="manual", owner=admin_user)
    assert client.get("/api/docs/")["Location"] == "/accounts/login/?next=/api/docs/"
    client.force_login(admin_user)
    for address in (
        "/api/jobs/",
        f"/api/jobs/{job.job_id}/",
        f"/api/jobs/{job.job_id}/events/",
        "/api/docs/",
        "/api/schema/",
        f"/admin/job_events_jobs/job/{job.pk}/change/",
    ):
        assert client.get(address).status_code == 200, address
    assert client.get("/jobs/").status_code == 404


def test_pages_and_api_at_paths_of_the_project(settings, client, admin_user):
    settings.ROOT_URLCONF = urlconf("own-paths")
    job = services.job_create(task_type="manual", owner=admin_user)
    client.force_login(admin_user)
    page = client.get(f"/orders/job/{job.job_id}/").text
    assert f'"jobUrl": "/rest/v1/jobs/{job.job_id}/"' in page
    assert client.get("/rest/v1/jobs/").status_code == 200


@pytest.mark.parametrize("title", ["My brand", "Job events"])
def test_brand_is_a_template(settings, client, admin_user, tmp_path, title):
    directory = tmp_path / "job_events_jobs"
    directory.mkdir()
    if title == "My brand":
        (directory / "_brand.html").write_text(title)
    engine = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    client.force_login(admin_user)
    page = client.get("/jobs/").text
    assert f"<title>Jobs · {title}</title>" in page
    assert f"</span>{title}</a>" in page


@pytest.fixture
def quickstart_project(tmp_path, redis_server):
    """A project created by the steps of the quickstart."""
    code = snippets(ROOT / "docs" / "quickstart.md")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("DJANGO")},
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": redis_server.url,
    }

    def run(*command: str) -> str:
        result = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    run("-m", "django", "startproject", "mysite", ".")
    site = tmp_path / "mysite"
    for module in ("settings", "urls"):
        with (site / f"{module}.py").open("a") as file:
            file.write(code[module])
    (site / "reports.py").write_text(code["reports"])
    (site / "asgi.py").write_text(code["asgi"])
    return run


@pytest.mark.extended
@pytest.mark.django_db(transaction=True)
def test_quickstart(quickstart_project):
    run = quickstart_project
    assert "no issues" in run("manage.py", "check")
    run("manage.py", "migrate")
    assert "no issues" in run("manage.py", "check", "--database", "default")
    script = (
        "import time\n"
        "from jobs import services\n"
        "services.job_create(task_type='report', job_id='r', payload={'pages': 2})\n"
        "from jobs.models import Job\n"
        "while not Job.objects.get().is_terminal: time.sleep(0.1)\n"
        "print(Job.objects.get().status, Job.objects.get().result)"
    )
    assert "completed {'pages': 2}" in run("manage.py", "shell", "-c", script)
    events = [event.event_type for event in read_events("r")]
    assert events == [
        "job_created", "task_started", "page_written", "task_progress", "page_written",
        "task_progress", "task_completed",
    ]  # fmt: skip
    run("-c", "import mysite.asgi; mysite.asgi.routes.application_mapping['websocket']")


def test_testing_snippets(quickstart_project, tmp_path):
    """They test the report of the quickstart, and replay its recording."""
    code = snippets(ROOT / "docs" / "how-to.md")
    recording = """
    job_events.record(job.job_id, "tests/recordings/report.ndjson")


"""
    tests = code["tests"] + recording + code["tests-replay"]
    (tmp_path / "test_reports.py").write_text(tests)
    (tmp_path / "conftest.py").write_text(code["tests-conftest"])
    options = ("-p", "no:randomly", "--ds", "mysite.settings")
    output = quickstart_project("-m", "pytest", *options, "test_reports.py")
    assert "2 passed" in output


def test_embedded_redis(tmp_path):
    code = snippets(ROOT / "docs" / "quickstart.md")["embedded"] + "\nredis.stop()\n"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.startswith("unix://"), result.stderr


@pytest.mark.django_db(transaction=True)
async def test_langgraph_snippets(redis_server):
    code = snippets(ROOT / "docs" / "how-to.md")
    graph = RunnableLambda(lambda question: question.upper())
    asynchronous: dict = {}
    exec(replace_redis_url(code["langgraph-async"], redis_server.url), asynchronous)
    assert await asynchronous["run"](graph, "abc", "why?") == "WHY?"
    synchronous: dict = {}
    exec(code["langgraph-sync"], synchronous)
    for name in ("langgraph-record", "langgraph-cancel"):
        other: dict = {}
        exec(code[name], other)
        assert await sync_to_async(other["run"])(graph, "other", "why?") == "WHY?"
    other["cancelled"].set()
    assert await sync_to_async(other["run"])(graph, "other", "why?") is None
    assert synchronous["run"](graph, "abc", "why?") == "WHY?"
    assert [e.event_type for e in await aread_events("abc")] == ["phase_update", "done"] * 2


@pytest.mark.django_db(transaction=True)
def test_outbox_snippet():
    class Bill:
        job_id, amount = "abc", 5

        def save(self):
            if not self.amount:
                raise ValueError("nothing to pay")

    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["outbox"], namespace)
    bill = Bill()
    namespace["pay"](bill)
    bill.amount = 0
    with pytest.raises(ValueError, match="nothing"):
        namespace["pay"](bill)
    assert [event.data["amount"] for event in read_events("abc")] == [5]


@pytest.mark.django_db(transaction=True)
def test_spans_snippet(monkeypatch):
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["spans"], namespace)
    run = SimpleNamespace(publisher=get_publisher())
    monkeypatch.setitem(namespace, "current_run", lambda: run)
    namespace["import_rows"]("abc", [SimpleNamespace(save=lambda: None)] * 2)
    log = [event.data for event in read_events("abc")]
    assert len(ended_spans(log)) == 3
    assert log[0]["data"]["rows"] == 2
    assert log[1]["data"]["parent_run_id"] == log[0]["data"]["run_id"]


@pytest.mark.django_db(transaction=True)
def test_retry_snippet():
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["retry"], namespace)
    event_id = namespace["publish"]("abc", {"n": 1})
    assert [event.id for event in read_events("abc")] == [event_id]


def fails_twice(send_commands):
    """Raise for the first two calls, which arrive in Redis."""
    results = []

    def send(*arguments):
        results.append(send_commands(*arguments))
        if len(results) <= 2:
            raise RedisUnavailable
        return results[-1]

    return send


@pytest.mark.django_db(transaction=True)
def test_retry_snippet_while_replies_are_lost(monkeypatch):
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["retry"], namespace)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    real = sender.send_commands
    monkeypatch.setattr(sender, "send_commands", fails_twice(real))
    event_id = namespace["publish"]("abc", {"n": 1})
    monkeypatch.setattr(sender, "send_commands", fails_twice(real))
    with pytest.raises(RedisUnavailable):
        namespace["publish"]("abc", {"n": 2}, attempts=1)
    assert [event.data["n"] for event in read_events("abc")] == [1, 2]
    assert read_events("abc")[0].id == event_id


@pytest.mark.django_db(transaction=True)
def test_idempotency_snippet():
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["idempotency"], namespace)
    payment = SimpleNamespace(pk=7, amount=5)
    assert len({namespace["report_payment"]("abc", payment) for _ in range(3)}) == 1
    assert len(read_events("abc")) == 1


@pytest.fixture
def eager_celery():
    """Run tasks in the process that sends them."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "task", "result"),
    [("celery", "convert", {"path": "a.odt.pdf"}), ("celery-decorated", "shrink", None)],
)
def test_celery_snippets(settings, eager_celery, name, task, result):
    namespace: dict = {"__name__": "documented"}
    exec(snippets(ROOT / "docs" / "how-to.md")[name], namespace)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"conversion": namespace[task]}}
    job = services.job_create(task_type="conversion", payload={"path": "a.odt"})
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", result)
    assert "task_progress" in [event.event_type for event in read_events(job.job_id)]


@pytest.mark.django_db(transaction=True)
def test_django_tasks_snippets(settings):
    code = snippets(ROOT / "docs" / "how-to.md")
    namespace: dict = {"__name__": "documented"}
    for name in ("django-tasks", "django-tasks-named"):
        exec(code[name].replace("from django.tasks", f"from {FRAMEWORK}"), namespace)
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "RUNNERS": {"conversion": namespace["convert"]},
    }
    with followed_tasks():
        job = services.job_create(task_type="conversion", payload={"path": "a.odt"})
        report = services.job_create(task_type="report")
        namespace["convert_report"].enqueue(report_id=report.job_id)
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", {"path": "a.odt.pdf"})
    assert "task_enqueued" in [event.event_type for event in read_events(job.job_id)]
    last = read_events(report.job_id)[-1].data
    assert (last["task_type"], last["job_status"]) == ("conversion", "running")


def test_adapter_of_the_how_to_equals_the_tested_adapter():
    code = snippets(ROOT / "docs" / "how-to.md")
    tested = (ROOT / "tests" / "support" / "rq_adapter.py").read_text()
    assert code["rq"] == tested.partition('"""\n\n')[2]


@pytest.mark.django_db(transaction=True)
def test_task_of_the_adapter(settings, monkeypatch):
    """The task is sent by a runner and executed like in a worker of RQ."""
    monkeypatch.setitem(sys.modules, "myapp.rq_adapter", rq_adapter)
    namespace: dict = {"__name__": "documented"}
    exec(snippets(ROOT / "docs" / "how-to.md")["rq-task"], namespace)
    monkeypatch.setitem(sys.modules, "documented", SimpleNamespace(**namespace))
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "RUNNERS": {"conversion": namespace["convert"]},
    }
    job = services.job_create(task_type="conversion", payload={"path": "a.odt"})
    rq.Queue(connection=get_redis()).jobs[0].perform()
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", {"path": "a.odt.pdf"})


@pytest.mark.django_db(transaction=True)
def test_input_snippet(eager_celery):
    namespace: dict = {"__name__": "documented"}
    exec(snippets(ROOT / "docs" / "how-to.md")["ask"], namespace)
    job = services.job_create(task_type="letters")
    namespace["invite"].delay(job.job_id, ["anna@example.org"])
    for name, value in (("input-1", "It is on Monday."), ("sure", "yes")):
        inputs.input_give(job_id=job.job_id, name=name, value=value)
    job.refresh_from_db()
    assert job.status == "completed"
    assert job.result == {"text": "It is on Monday.", "invited": ["anna@example.org"]}


@pytest.mark.django_db(transaction=True)
def test_graph_input_snippet(eager_celery):
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["langgraph-ask"], namespace)
    builder, checkpointer = StateGraph(dict), InMemorySaver()
    builder.add_node("ask", lambda _state: {"answer": interrupt({"text": "Sure?"})})
    builder.add_edge(START, "ask")

    @shared_task(base=JobTask, bind=True, name="documented.graph")
    def work(self, job_id):
        return namespace["run"](builder, checkpointer, {}, self)

    job = services.job_create(task_type="manual")
    work.delay(job.job_id)
    (request,) = InputRequest.objects.all()
    assert request.prompt == {"text": "Sure?"}
    inputs.input_give(job_id=job.job_id, name=request.name, value="yes")
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", {"answer": "yes"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broken", [False, True])
def test_snippet_for_workers_without_a_database(redis_server, broken):
    class Page:
        def convert(self):
            if broken:
                raise ValueError("no ink")

    namespace: dict = {}
    code = snippets(ROOT / "docs" / "how-to.md")["no-database"]
    exec(replace_redis_url(code, redis_server.url), namespace)
    job = services.job_create(task_type="conversion")
    with pytest.raises(ValueError, match="no ink") if broken else nullcontext():
        namespace["convert"](job.job_id, job.attempt, [Page(), Page()])
    while Archiver().step():
        pass
    job.refresh_from_db()
    expected = ("failed", None, "no ink") if broken else ("completed", {"pages": 2}, "")
    assert (job.status, job.result, job.error) == expected


@pytest.mark.django_db(transaction=True)
def test_signal_snippet():
    from jobs.signals import job_status_changed

    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["signals"], namespace)
    try:
        job = services.job_create(task_type="x")
        services.job_start(job_id=job.job_id)
    finally:
        job_status_changed.disconnect(namespace["record_status"])
    last = read_events(job.job_id)[-1]
    assert (last.event_type, last.data["reason"]) == ("bill_sent", "pending to running")


@pytest.mark.django_db
def test_visibility_snippet(settings, user, other_user):
    from django.contrib.auth.models import Group

    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["visible"], namespace)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "VISIBLE_JOBS": namespace["jobs_of_teams"]}
    job = services.job_create(task_type="x", owner=user)
    assert not visible_jobs(other_user).exists()
    for member in (user, other_user):
        member.groups.add(Group.objects.get_or_create(name="team")[0])
    assert visible_jobs(other_user).get() == job


def test_retention_snippet_is_a_valid_setting(settings):
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["retention"], namespace)
    settings.JOB_EVENTS = namespace["JOB_EVENTS"]
    assert check_settings(None) == []


@pytest.mark.django_db(transaction=True)
def test_deletion_snippet_deletes_old_jobs():
    namespace: dict = {}
    exec(snippets(ROOT / "docs" / "how-to.md")["delete"], namespace)
    for job_id in ("old", "new"):
        services.job_create(task_type="x", job_id=job_id)
        services.job_cancel(job_id=job_id)
    year = timedelta(days=366)
    old = Job.objects.filter(job_id="old")
    old.update(created_at=F("created_at") - year, finished_at=F("finished_at") - year)
    namespace["delete_old_jobs"]()
    assert Job.objects.get().job_id == "new"


@pytest.mark.django_db
def test_curl_snippet_publishes_an_event(client, user, may_publish):
    text = (ROOT / "docs" / "how-to.md").read_text()
    command = re.search(r"curl -u .*?'(?=\n```)", text, re.DOTALL)[0]
    headers = dict(re.findall(r"-H '([\w-]+): (.*?)'", command))
    services.job_create(task_type="x", owner=user, job_id="abc")
    client.force_login(user)
    kind = headers.pop("Content-Type")
    body = re.search(r"-d '(.*?)'", command)[1]
    path = "/api/jobs/abc/events/"
    assert path in command
    response = client.post(path, body, content_type=kind, headers=headers)
    assert response.status_code == 201
    assert read_events("abc")[-1].id == response.json()["ids"][0]


@pytest.fixture
def may_publish(user):
    user.user_permissions.add(Permission.objects.get(codename="publish_events"))


@pytest.mark.django_db
def test_entry_of_the_redis_cli_snippet_is_an_event(redis_client):
    text = (ROOT / "docs" / "how-to.md").read_text()
    data = re.search(r"XADD job_events:abc '\*' data '(\{.*?\})'", text)[1]
    redis_client.xadd("job_events:abc", {"data": data, "event_type": "hello"})
    (event,) = read_events("abc")
    assert event.event_type == "hello"


def test_settings_reference_is_generated_from_the_tables():
    text = (ROOT / "docs" / "reference.md").read_text()
    script = runpy.run_path(str(ROOT / "docs" / "generate_settings.py"))
    assert "| `KEEP_ALIVE` |" in text
    assert script["with_settings"](text) == text, "run docs/generate_settings.py"
