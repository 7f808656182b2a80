"""A job asks, and is answered once."""

import pytest
from django.db import transaction

from events.history import read_events
from jobs import inputs, services
from jobs.exceptions import (
    AlreadyAnswered,
    InputNotFound,
    InvalidJob,
    InvalidTransition,
    StaleAttempt,
)
from jobs.models import InputRequest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def job(user):
    job = services.job_create(job_id="abc", task_type="manual", owner=user)
    return services.job_start(job_id=job.job_id)


def ask(name="sure", prompt="Sure?", **more):
    return inputs.input_request(job_id="abc", name=name, prompt=prompt, **more)


def give(value, name="sure", by=None):
    return inputs.input_give(job_id="abc", name=name, value=value, by=by)


def said():
    told = [event.data for event in read_events("abc")]
    return [event for event in told if event["event_type"].startswith("input_")]


def test_both_are_events_of_the_log(job, user):
    ask(choices=["yes", "no"])
    answered = give("yes", by=user)
    assert (answered.value, answered.answered_by) == ("yes", "anna")
    asked, received = said()
    assert (asked["name"], asked["prompt"], asked["choices"]) == ("sure", "Sure?", ["yes", "no"])
    assert (received["name"], received["value"], received["by"]) == ("sure", "yes", "anna")
    assert {asked["job_status"], received["job_status"]} == {"running"}


def test_what_is_asked_again_is_asked_once(job):
    assert ask().pk == ask(prompt="Really?").pk
    assert [event["prompt"] for event in said()] == ["Sure?"]


def test_the_same_answer_may_come_again_and_no_other(job, user, other_user):
    ask()
    give({"a": 1}, by=user)
    assert give({"a": 1}, by=user).value == {"a": 1}
    for value, who in (({"a": 2}, user), ({"a": 1}, other_user)):
        with pytest.raises(AlreadyAnswered, match="answered by anna"):
            give(value, by=who)
    assert len(said()) == 2


def test_nothing_is_an_answer_too(job):
    ask()
    assert give(None).answered_at is not None
    with pytest.raises(AlreadyAnswered):
        give("something")


@pytest.mark.parametrize("value", ["perhaps", None, 1, ["yes"], {"yes": 1}])
def test_one_of_the_choices(job, value):
    ask(choices=("yes", "no"))
    with pytest.raises(InvalidJob, match="is one of 'yes', 'no'"):
        give(value)
    assert InputRequest.objects.get().answered_at is None


def test_what_nobody_asked(job):
    with pytest.raises(InputNotFound, match="has no request for input 'sure'"):
        give("yes")


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 65, None, 5])
def test_a_bad_name(job, name):
    with pytest.raises(InvalidJob, match="name: is 1 to 64"):
        ask(name=name)


@pytest.mark.parametrize("choices", ["yes", [""], [None], ["x"] * 101, [5], [["a"]]])
def test_bad_choices(job, choices):
    with pytest.raises(InvalidJob, match="choices"):
        ask(choices=choices)
    assert said() == []


@pytest.mark.parametrize("prompt", [object(), float("nan"), "\x00", "x" * 300_000])
def test_a_bad_prompt(job, prompt):
    with pytest.raises(InvalidJob):
        ask(prompt=prompt)
    assert not InputRequest.objects.exists()


def test_a_job_that_does_not_run_asks_nothing(job):
    ask()
    services.job_cancel(job_id="abc")
    for step in (lambda: ask("other"), lambda: give("yes")):
        with pytest.raises(InvalidTransition, match="only a running job can"):
            step()


def test_another_attempt_asks_anew(job):
    ask()
    give("yes")
    services.job_fail(job_id="abc", error="oh")
    services.job_retry(job_id="abc")
    services.job_start(job_id="abc")
    with pytest.raises(InputNotFound):
        give("yes")
    with pytest.raises(StaleAttempt):
        ask(attempt=1)
    ask()
    assert [(each.attempt, each.value) for each in InputRequest.objects.all()] == [
        (1, "yes"),
        (2, None),
    ]


def test_rolled_back_it_was_never_asked(job):
    with transaction.atomic():
        ask()
        transaction.set_rollback(True)
    assert said() == []
    assert not InputRequest.objects.exists()
