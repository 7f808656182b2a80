"""Requests for input and their answers."""

from decimal import Decimal

import pytest
from django.db import transaction
from django.utils.translation import gettext_lazy

from events.history import read_events
from jobs import inputs, services
from jobs.exceptions import (
    AlreadyAnswered,
    InputNotFound,
    InvalidJob,
    InvalidTransition,
    StaleAttempt,
)
from jobs.models import InputRequest, Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def job(user):
    job = services.job_create(job_id="abc", task_type="manual", owner=user)
    return services.job_start(job_id=job.job_id)


def request_input(name="sure", prompt="Sure?", **fields):
    return inputs.input_request(job_id="abc", name=name, prompt=prompt, **fields)


def give(value, name="sure", by=None):
    return inputs.input_give(job_id="abc", name=name, value=value, by=by)


def test_answer_to_an_earlier_attempt_is_refused(job):
    request_input(prompt="Send draft 1?")
    services.job_fail(job_id="abc", error="x")
    services.job_retry(job_id="abc", dispatch=False)
    services.job_start(job_id="abc")
    request_input(prompt="Send draft 2?")
    with pytest.raises(StaleAttempt):
        inputs.input_give(job_id="abc", name="sure", value="yes", attempt=1)
    assert Job.objects.get().inputs.get(attempt=2).answered_at is None
    answered = inputs.input_give(job_id="abc", name="sure", value="yes", attempt=2)
    assert answered.prompt == "Send draft 2?"


def input_events():
    events = [event.data for event in read_events("abc")]
    return [event for event in events if event["event_type"].startswith("input_")]


def test_request_and_answer_are_published(job, user):
    request_input(choices=["yes", "no"])
    answered = give("yes", by=user)
    assert (answered.value, answered.answered_by) == ("yes", "anna")
    requested, answered = input_events()
    assert (requested["name"], requested["prompt"], requested["choices"]) == (
        "sure",
        "Sure?",
        ["yes", "no"],
    )
    assert (answered["name"], answered["value"], answered["by"]) == ("sure", "yes", "anna")
    assert {requested["job_status"], answered["job_status"]} == {"running"}


def test_repeated_request_is_published_once(job):
    assert request_input().pk == request_input(prompt="Really?").pk
    assert [event["prompt"] for event in input_events()] == ["Sure?"]


def test_only_same_answer_may_be_repeated(job, user, other_user):
    request_input()
    give({"a": 1}, by=user)
    assert give({"a": 1}, by=user).value == {"a": 1}
    for value, other in (({"a": 2}, user), ({"a": 1}, other_user)):
        with pytest.raises(AlreadyAnswered, match="answered by anna"):
            give(value, by=other)
    assert len(input_events()) == 2


def test_null_is_an_answer(job):
    request_input()
    assert give(None).answered_at is not None
    with pytest.raises(AlreadyAnswered):
        give("something")


@pytest.mark.parametrize("value", ["perhaps", None, 1, ["yes"], {"yes": 1}])
def test_answer_must_be_a_choice(job, value):
    request_input(choices=("yes", "no"))
    with pytest.raises(InvalidJob, match="is one of 'yes', 'no'"):
        give(value)
    assert InputRequest.objects.get().answered_at is None


def test_unknown_request(job):
    with pytest.raises(InputNotFound, match="has no request for input 'sure'"):
        give("yes")


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 65, None, 5])
def test_invalid_name(job, name):
    with pytest.raises(InvalidJob, match="name: is 1 to 64"):
        request_input(name=name)


@pytest.mark.parametrize("choices", ["yes", [""], [None], ["x"] * 101, [5], [["a"]]])
def test_invalid_choices(job, choices):
    with pytest.raises(InvalidJob, match="choices"):
        request_input(choices=choices)
    assert input_events() == []


@pytest.mark.parametrize(
    ("prompt", "form"),
    [
        (object(), {"$type": "object"}),
        ({"loss": float("nan"), "of": (Decimal(1),)}, {"loss": "NaN", "of": ["1"]}),
        ("\x00", "\ufffd"),
        ({2, 1}, [1, 2]),
        (None, None),
    ],
)
def test_prompt_of_any_type(job, prompt, form):
    assert request_input(prompt=prompt).prompt == InputRequest.objects.get().prompt == form
    assert input_events()[-1]["prompt"] == form


def test_event_shortens_a_long_prompt(job):
    prompt = {"text": "x" * 300_000, "question": "Send it?", "images": ["iVBO" + "Ab1+" * 90_000]}
    request_input(prompt=prompt)
    assert InputRequest.objects.get().prompt == prompt
    found = input_events()[-1]["prompt"]
    assert (found["question"], found["images"]) == ("Send it?", ["[360,004 bytes of base64]"])
    assert found["text"].endswith("more characters]")


def test_choices_are_texts_of_any_type(job):
    request = request_input(choices=[gettext_lazy("Yes"), Job.Status.FAILED])
    assert request.choices == ["Yes", "failed"]


def test_only_running_job_has_requests(job):
    request_input()
    services.job_cancel(job_id="abc")
    for call in (lambda: request_input("other"), lambda: give("yes")):
        with pytest.raises(InvalidTransition, match="cannot be given input: it is cancelled"):
            call()


def test_requests_belong_to_their_attempt(job):
    request_input()
    give("yes")
    services.job_fail(job_id="abc", error="oh")
    services.job_retry(job_id="abc")
    services.job_start(job_id="abc")
    with pytest.raises(InputNotFound):
        give("yes")
    with pytest.raises(StaleAttempt):
        request_input(attempt=1)
    request_input()
    assert [(each.attempt, each.value) for each in InputRequest.objects.all()] == [
        (1, "yes"),
        (2, None),
    ]


def test_rolled_back_request_is_not_published(job):
    with transaction.atomic():
        request_input()
        transaction.set_rollback(True)
    assert input_events() == []
    assert not InputRequest.objects.exists()
