"""Admin of rules, alerts, silences and messages."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from jobs.models import Alert, AlertMessage, AlertRule, Silence
from tests.integration.jobs.alerts.support import messages

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

MODELS = ("alertrule", "alert", "silence", "alertmessage")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def admin(client, staff):
    client.force_login(staff)
    return client


def url(model, page="changelist", *args):
    return reverse(f"admin:job_events_jobs_{model}_{page}", args=args)


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def rule_form(**fields):
    given = {"name": "mine", "enabled": "on", "kind": "lag", "parameters": "{}", "for_seconds": "0"}
    return {**given, **fields}


def test_rule_is_added(admin, stage):
    stage.configure(ALERT_CHANNELS={"ops": {"kind": "email", "to": ["a@example.org"]}})
    data = rule_form(parameters='{"seconds": 5}', task_type="a", channels=["ops"])
    assert admin.post(url("alertrule", "add"), data).status_code == 302
    rule = AlertRule.objects.get()
    assert (rule.kind, rule.parameters, rule.channels) == ("lag", {"seconds": 5}, ["ops"])
    page = text(admin.get(url("alertrule", "change", rule.pk)))
    assert "redis_memory: share" in page
    assert "ops" in page
    assert (
        admin.post(url("alertrule", "change", rule.pk), rule_form(channels=[])).status_code == 302
    )
    assert AlertRule.objects.get().channels == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parameters": '{"second": 5}'}, "Unknown parameters: second. The parameters of"),
        ({"parameters": '{"seconds": 0}'}, "must be seconds, above 0"),
        ({"parameters": "[]"}, "Unknown parameters"),
        ({"parameters": '{"kind": "event"}'}, "is a field, not a parameter"),
        ({"parameters": "{"}, "Enter a valid JSON"),
        ({"kind": "nothing"}, "Select a valid choice"),
        ({"channels": ["pager"]}, "Select a valid choice"),
        ({"for_seconds": "100000"}, "must be seconds, 0 to 86400"),
    ],
    ids=str,
)
def test_invalid_rule(admin, fields, message):
    assert message in text(admin.post(url("alertrule", "add"), rule_form(**fields)))
    assert not AlertRule.objects.exists()


def test_setting_wins(admin, stage):
    stage.configure(ALERT_RULES={"mine": {"kind": "lag"}})
    rule = AlertRule.objects.create(name="mine", kind="stuck_job")
    page = text(admin.get(url("alertrule")))
    assert "The setting ALERT_RULES defines further rules: mine." in page
    assert 'alt="False"' in page
    page = text(admin.get(url("alertrule", "change", rule.pk)))
    assert "has a rule mine, which replaces this one" in page


@pytest.fixture
def history(stage):
    """Messages about firing and resolved alerts."""
    stage.configure(ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0)
    stage.subjects = {"a": 1.0, SCRIPT: 2.0}
    stage.evaluate()
    stage.subjects = {"a": 1.0}
    stage.evaluate(after=5)
    assert [each[1:] for each in messages()] == [("firing", 2), ("resolved", 1)]


def test_history(admin, history):
    page = text(admin.get(url("alert")))
    assert "a is 1.0" in page
    assert SCRIPT not in page
    assert "1 result" in text(admin.get(url("alert"), {"state__exact": "resolved"}))
    assert "2 results" in text(admin.get(url("alert"), {"rule": "fake"}))
    assert "1 result" in text(admin.get(url("alert"), {"q": "a"}))
    alert = Alert.objects.get(state="firing")
    page = text(admin.get(url("alert", "change", alert.pk)))
    assert f"{url('silence', 'add')}?rule=fake&amp;subject=a" in page
    assert 'name="_save"' not in page


def test_messages(admin, history):
    page = text(admin.get(url("alertmessage")))
    assert "signal: not delivered yet" in page
    message = AlertMessage.objects.first()
    message.deliveries.update(next_at=None, error="refused", attempts=10)
    assert "signal: given up" in text(admin.get(url("alertmessage")))
    page = text(admin.get(url("alertmessage", "change", message.pk)))
    assert "refused" in page
    assert SCRIPT not in page
    message.deliveries.update(delivered_at=timezone.now())
    assert "signal: delivered" in text(admin.get(url("alertmessage")))


@pytest.mark.parametrize("model", ["alert", "alertmessage"])
def test_history_is_read_only(admin, history, model):
    pk = {"alert": Alert, "alertmessage": AlertMessage}[model].objects.first().pk
    assert admin.get(url(model, "add")).status_code == 403
    assert admin.post(url(model, "change", pk), {}).status_code == 403
    assert admin.post(url(model, "delete", pk), {"post": "yes"}).status_code == 403


def silence_form(starts_at, ends_at, **fields):
    times = {}
    for name, time in (("starts_at", starts_at), ("ends_at", ends_at)):
        local = timezone.localtime(time)
        times |= {f"{name}_0": f"{local:%Y-%m-%d}", f"{name}_1": f"{local:%H:%M:%S}"}
    return {"rule": "fake", "subject": "", "comment": "Upgrade", **times, **fields}


def test_silence(admin, staff):
    page = text(admin.get(f"{url('silence', 'add')}?rule=fake&subject=a"))
    assert 'value="fake"' in page
    now = timezone.now()
    data = silence_form(now, now + timedelta(hours=1))
    assert admin.post(url("silence", "add"), data).status_code == 302
    silence = Silence.objects.get()
    assert silence.created_by == staff
    assert "Upgrade" in text(admin.get(url("silence")))
    data = silence_form(now, now - timedelta(hours=1))
    page = text(admin.post(url("silence", "change", silence.pk), data))
    assert "A silence ends after it starts." in page


def test_permissions(client, django_user_model, history):
    user = django_user_model.objects.create_user("carl", password="carl", is_staff=True)
    client.force_login(user)
    assert [client.get(url(model)).status_code for model in MODELS] == [403] * 4
    for model in MODELS:
        user.user_permissions.add(Permission.objects.get(codename=f"view_{model}"))
    assert [client.get(url(model)).status_code for model in MODELS] == [200] * 4
    assert client.get(url("silence", "add")).status_code == 403
    assert client.get(url("alertrule", "add")).status_code == 403


@pytest.mark.parametrize("value", ["NaN", "Infinity", r'"\u0000"', r'"\ud800"', "[" * 5000])
def test_parameters_that_no_database_stores(admin, stage, value):
    parameters = f'{{"event_type": "error", "equals": {{"a": {value}}}}}'
    data = rule_form(kind="event", parameters=parameters)
    assert "Enter a valid JSON" in text(admin.post(url("alertrule", "add"), data))
    assert not AlertRule.objects.exists()
