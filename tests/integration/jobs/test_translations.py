"""Errors in the language of the request, of the handshake or of the project, and English logs."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import translation

from events.live import rejection
from events.translation import translated
from jobs import inputs, services
from jobs.alerts.conditions import Observation, occurrences
from jobs.alerts.deliverer import Deliverer
from jobs.alerts.rules import definition_of
from jobs.exceptions import InvalidTransition
from jobs.models import Job
from tests.integration.jobs.alerts.receivers import make_message
from tests.integration.jobs.asgi import Request, Socket, cookie_of

pytestmark = pytest.mark.django_db(transaction=True)

CHINESE, GERMAN = "zh-CN,zh;q=0.9", "de"
ENGLISH, FRENCH = "en", "fr,en;q=0.5"
SELECTED = {CHINESE: "zh-hans", GERMAN: "de", ENGLISH: "en", FRENCH: "en"}
# Identifiers, formats and values, which no language translates.
UNTRANSLATED = re.compile(
    r"'[^']*'|[a-z]+(?:[_.][a-z]+)+|<\w+>|\?job=\S+|[A-Z]-Z|a-z|events/poll/\S+"
    r"|\b(?:ISO|JSON|ASCII|NUL|ID|Redis|WSGI|ASGI|GET|PUT|abc|other|asks|done|old|anna|since|until"
    r"|limit|status|asc|desc|after|before|data|event|order|search|format|terminate|payload|title"
    r"|value|pending|running|completed|failed|cancelled|colour|cursor|ordering|owner|timestamp|wait"
    r"|action|subscribe|unsubscribe|ticket|true|false|uvicorn|application|job|T)\b",
    re.ASCII,
)


def english_words(text: str) -> list[str]:
    """Return the Latin words of a Chinese text that are not identifiers or values."""
    return re.findall(r"[A-Za-z]{2,}", UNTRANSLATED.sub(" ", text))


@pytest.fixture(autouse=True)
def _no_language():
    cache.clear()
    yield
    cache.clear()
    translation.deactivate()  # LocaleMiddleware has set that of the thread


@pytest.fixture
def jobs(user, make_job):
    """Jobs of anna: pending, running with an answered and an open question, completed."""
    user.user_permissions.add(
        *Permission.objects.filter(codename__in=("publish_events", "add_job"))
    )
    make_job(owner=user, job_id="abc")
    make_job("completed", owner=user, job_id="done")
    make_job("running", owner=user, job_id="asks")
    inputs.input_request(job_id="asks", name="old", prompt="?")
    inputs.input_give(job_id="asks", name="old", value=1, by=user)
    inputs.input_request(job_id="asks", name="open", prompt="?", choices=["yes", "no"])


# Method, path, body, status, and the German text, or a part of it.
REQUESTS = [
    ("get", "jobs/?colour=x", None, 400, "Unbekannter Parameter. Bekannte Parameter: "),
    ("get", "jobs/?limit=0", None, 400, "limit: Muss eine Ganzzahl von 1 bis 200 sein."),
    ("get", "jobs/?limit=1&limit=2", None, 400, "limit: Darf nur einmal vorkommen."),
    ("get", "jobs/?status=x", None, 400, "status: Erlaubt: einer der Werte pending, running,"),
    ("get", "jobs/?status=failed&cursor=x", None, 400, "cursor: Erlaubt: ein Cursor aus"),
    ("get", "jobs/abc/events/?since=x", None, 400, "since: Erlaubt: eine Zeit nach ISO 8601"),
    ("get", "jobs/abc/events/?after=x", None, 400, "after: Ein Cursor ist eine Ereignis-ID"),
    ("get", "jobs/abc/events/poll/?wait=99", None, 400, "wait: Muss eine Zahl von 0 bis 30 sein."),
    ("get", "events/?cursor=x", None, 400, "Das ist kein Cursor einer Suchergebnisseite"),
    ("get", f"events/?{'event_type=a&' * 21}", None, 400, "Höchstens 20 Werte sind erlaubt."),
    ("get", "jobs/abc/events/?data.=1", None, 400, "Ein Pfad muss 1 bis"),
    ("get", "events/stream/", None, 400, "job: Geben Sie mindestens einen Job an"),
    ("get", "jobs/a b/", None, 400, "Eine job_id besteht aus 1 bis 64 der Zeichen"),
    ("get", "jobs/other/", None, 404, "Die job_id other ist nicht verfügbar."),
    ("get", "jobs/abc/events/stream/", None, 501, "Live-Streaming benötigt einen ASGI-Server"),
    ("get", "jobs/abc/events/poll/?ticket=x", None, 403, "Das Ticket gilt nicht für diesen Job"),
    ("put", "jobs/", {}, 405, "Methode"),
    ("post", "jobs/", b"{", 400, "Der Rumpf ist kein JSON: unerwartetes Ende der Daten (Zeile 1"),
    ("post", "jobs/", {"colour": 1}, 400, "colour: Unbekanntes Feld. Bekannte Felder: task_type"),
    ("post", "jobs/", {}, 400, "task_type: Dieses Feld"),
    ("post", "jobs/", {"task_type": "a b"}, 400, "Ein task_type besteht aus 1 bis 100"),
    ("post", "jobs/", {"task_type": "quick", "payload": 1}, 400, "payload: Muss ein JSON-Objekt"),
    ("post", "jobs/done/cancel/", {}, 409, "Er ist abgeschlossen, nicht ausstehend oder laufend."),
    ("post", "jobs/abc/retry/", {}, 409, "ist ausstehend, nicht fehlgeschlagen oder abgebrochen."),
    ("post", "jobs/abc/cancel/", {"terminate": "x"}, 400, "terminate: Muss true oder false sein."),
    ("post", "jobs/asks/inputs/", {"name": "x", "value": 1}, 404, "hat keine Eingabeanfrage 'x'."),
    ("post", "jobs/asks/inputs/", {"name": "old", "value": 2}, 409, "wurde von anna beantwortet."),
    ("post", "jobs/asks/inputs/", {"name": "open", "value": 2}, 400, "value: ist einer der Werte"),
    ("post", "jobs/abc/events/", [], 400, "Senden Sie 1 bis 1000 Ereignisse. Angegeben: 0."),
    ("post", "jobs/abc/events/", [1], 400, "Ereignis 0 muss ein Objekt sein. Angegeben: 1."),
    ("post", "jobs/abc/events/", {"event_type": ""}, 400, "event_type muss eine Zeichenkette aus"),
    ("post", "jobs/abc/events/", {"timestamp": "x"}, 400, "timestamp muss ein Datum mit Uhrzeit"),
    ("post", "jobs/abc/events/", {"x": "\0"}, 400, "Das Ereignis enthält NUL-Zeichen (Stelle: x)."),
    ("post", "jobs/abc/events/", {"x": "y" * 300_000}, 400, "; die Grenze liegt bei 262144."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "german"),
    REQUESTS,
    ids=[f"{method}-{number}" for number, (method, *_) in enumerate(REQUESTS)],
)
def test_errors_of_requests(api, jobs, method, path, body, status, german):
    def detail(language):
        data = body if isinstance(body, bytes) else json.dumps(body)
        content = b"" if body is None else data
        send, headers = getattr(api.client, method), {"accept-language": language}
        path_and_query = f"/api/{path}"
        response = send(path_and_query, content, content_type="application/json", headers=headers)
        assert response.status_code == status
        assert response["Content-Language"] == SELECTED[language]
        assert "Accept-Language" in response["Vary"]
        return response.json()["detail"]

    english, chinese = detail(ENGLISH), detail(CHINESE)
    assert german in detail(GERMAN)
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert english_words(chinese) == []
    assert detail(FRENCH) == english


def test_missing_login(anonymous_api):
    for language, text in (
        (CHINESE, "身份认证信息未提供。"),
        (GERMAN, "Anmeldedaten fehlen."),
        (ENGLISH, "Authentication credentials were not provided."),
    ):
        response = anonymous_api.client.get("/api/jobs/", headers={"accept-language": language})
        assert response.json()["detail"] == text


def test_task_type_without_a_runner(api, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {}, "JOBS_WITHOUT_RUNNER": False}
    response = api.post("jobs/", {"task_type": "x"}, **{"accept-language": CHINESE})
    assert response.json()["detail"] == "task_type: 允许的值：无（RUNNERS 为空）。"


def test_permission(api, user, make_job):
    make_job(owner=user, job_id="abc")
    response = api.post("jobs/abc/events/", {}, **{"accept-language": CHINESE})
    assert response.json()["detail"] == "发布事件需要权限 job_events_jobs.publish_events。"


def test_unavailable_log(api, jobs, redis_down, caplog):
    response = api.post("jobs/abc/events/", {}, **{"accept-language": CHINESE})
    assert response.status_code == 503
    assert response.json()["detail"] == "事件日志不可用：Redis 没有响应。"
    assert caplog.records
    assert not re.search(r"[\u4e00-\u9fff]", str([vars(each) for each in caplog.records]))


def test_rate_limit(api, jobs, settings):
    rates = {"job_events_publish": "1/hour"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    headers = {"accept-language": CHINESE}
    assert api.post("jobs/abc/events/", {}, **headers).status_code == 201
    response = api.post("jobs/abc/events/", {}, **headers)
    assert response.status_code == 429
    assert english_words(response.json()["detail"]) == []


def test_error_on_a_page(api, jobs):
    job = Job.objects.get(job_id="done")
    headers = {"accept-language": CHINESE}
    page = api.client.post(job.page_url, {"action": "cancel"}, headers=headers, follow=True)
    assert "作业 done 无法取消：当前状态为已完成，而不是等待中或运行中。" in page.text


def test_texts_of_services_are_english_until_they_are_shown(jobs):
    with translation.override("zh-hans"):
        with pytest.raises(InvalidTransition) as caught:
            services.job_start(job_id="done")
        shown = translated(caught.value)
    english = "Job done cannot be started: it is completed, not pending."
    assert str(caught.value) == english
    assert shown == "作业 done 无法启动：当前状态为已完成，而不是等待中。"
    assert translated(caught.value) == english


def test_schema_is_english(api):
    def schema(language):
        return api.get("schema/", **{"accept-language": language}).json()

    assert schema(CHINESE) == schema(ENGLISH)


def test_language_of_a_request_is_not_that_of_another_thread(jobs, user):
    client = Client()
    client.force_login(user)

    def details(language):
        headers = {"accept-language": language}
        return {client.get("/api/jobs/?x=1", headers=headers).json()["detail"] for _ in range(20)}

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(details, (CHINESE, GERMAN, ENGLISH)))
    assert [len(each) for each in found] == [1, 1, 1]
    assert [each.pop().split(": ", 1)[1][:3] for each in found] == ["未知参", "Unb", "Unk"]


async def test_language_of_a_request_is_not_that_of_another_task(jobs, user):
    cookie = await cookie_of(user)
    languages = [CHINESE, GERMAN, ENGLISH] * 5
    path = "/api/jobs/?x=1"
    requests = [
        Request(path=path, cookie=cookie, **{"accept-language": each}) for each in languages
    ]
    statuses = await asyncio.gather(*(each.status() for each in requests))
    assert set(statuses) == {400}
    starts = [json.loads(each.body)["detail"].split(": ", 1)[1][:3] for each in requests]
    assert starts == ["未知参", "Unb", "Unk"] * 5
    assert translation.get_language() == "en"


async def open_socket(path, cookie, language):
    headers = [
        (b"origin", b"http://localhost"),
        (b"cookie", cookie.encode()),
        (b"accept-language", language.encode()),
    ]
    socket = Socket(path, headers)
    socket.scope["extensions"] = {"websocket.http.response": {}}
    await socket.send_input({"type": "websocket.connect"})
    return socket


ANSWERS = {
    '{"action": "x"}': "收到的值",
    '{"action": "subscribe"}': "subscribe 的字段为：job_id, after（可选）, ticket（可选）。",
    '{"action": "subscribe", "job_id": "other"}': "job_id other 不可用。",
    '{"action": "subscribe", "job_id": "abc", "after": "x"}': "游标应为事件 ID",
    '{"action": "subscribe", "job_id": "abc", "ticket": "x"}': "票据对此作业无效",
}


async def test_errors_on_sockets(jobs, user):
    cookie = await cookie_of(user)
    sockets = [
        await open_socket("/ws/events/", cookie, each) for each in (ENGLISH, CHINESE, GERMAN)
    ]
    for socket in sockets:
        assert (await socket.receive_output())["type"] == "websocket.accept"
    for message, chinese in ANSWERS.items():
        for socket in sockets:
            await socket.send(text=message)
        found = [(await socket.receive())["detail"] for socket in sockets]
        assert chinese in found[1]
        assert english_words(found[1]) == []
        assert len(set(found)) == 3
    for socket in sockets:
        await socket.disconnect()


@pytest.mark.parametrize(
    ("path", "chinese"),
    [
        ("/ws/jobs/other/", "job_id other 不可用。"),
        ("/ws/jobs/abc/?after=x", "游标应为事件 ID"),
        ("/ws/jobs/abc/?replay=1&speed=x", "speed: 必须是 0.01 到"),
        ("/ws/jobs/abc/?ticket=x", "票据对此作业无效、已过期或已被撤销。请重新申请。"),
    ],
)
async def test_errors_of_handshakes(jobs, user, path, chinese):
    socket = await open_socket(path, await cookie_of(user), CHINESE)
    await socket.receive_output()
    body = json.loads((await socket.receive_output())["body"])
    assert chinese in body["detail"]


async def test_handshake_without_locale_middleware(jobs, user, settings):
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "locale" not in each]
    socket = await open_socket("/ws/jobs/other/", await cookie_of(user), CHINESE)
    await socket.receive_output()
    body = json.loads((await socket.receive_output())["body"])
    assert body["detail"] == "The job_id other is not available."


async def test_server_without_a_free_thread():
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"accept-language", b"zh-hans")]}
    await rejection.send_unavailable(scope, send)
    assert json.loads(sent[1]["body"])["detail"] == "数据库没有响应。"
    assert translation.get_language() == "en"


def test_alert_message_is_in_the_language_of_the_project(settings):
    settings.LANGUAGE_CODE = "zh-hans"
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "ALERT_CHANNELS": {"ops": {"kind": "email", "to": ["ops@example.org"]}},
    }
    make_message("ops", rule="failures", count=2, firing=3)
    assert Deliverer(single_pass=True).step() == 1
    (message,) = mail.outbox
    assert message.subject == "触发中：failures，2 条告警"
    for text in ("（", "自 ", "此规则当前触发中的告警数：3", "消息："):
        assert text in message.body


def test_summary_of_an_alert(make_job, settings):
    rule = definition_of("stuck", {"kind": "no_first_event", "seconds": 1})
    make_job(job_id="abc")
    Job.objects.update(created_at="2026-01-01T00:00:00Z")
    observation = Observation(Job.objects.get().created_at.replace(year=2027))
    with translation.override("de"):
        (found,) = occurrences(rule, observation)
    assert found.summary == "Job abc (manual) hat seit 1 s kein Ereignis seiner Arbeit."


def test_errors_of_alert_rules_in_the_admin(client, staff):
    client.force_login(staff)
    fields = {"name": "r", "kind": "lag", "parameters": '{"seconds": 0}', "for_seconds": 0}
    page = client.post(
        "/admin/job_events_jobs/alertrule/add/", fields, headers={"accept-language": CHINESE}
    )
    assert "&#x27;seconds&#x27; 必须是大于 0 且不超过 2592000 的秒数。" in page.text
