"""Parser of client messages."""

import pytest
from rest_framework.exceptions import ValidationError

from events.exceptions import InvalidJobId
from jobs.exceptions import BadMessage
from jobs.live.protocol import MULTIPLEX_ACTIONS, REPLAY_ACTIONS, parse_message, replay_speed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"action": "subscribe", "job_id": "a"}', ("subscribe", "a", "0", None, 1)),
        (
            '{"ticket": "t", "after": "1-2", "job_id": "a", "action": "subscribe"}',
            ("subscribe", "a", "1-2", "t", 1),
        ),
        ('{"action": "unsubscribe", "job_id": "a"}', ("unsubscribe", "a", "0", None, 1)),
        ('{"action": "subscribe_jobs"}', ("subscribe_jobs", "", "0", None, 1)),
    ],
)
def test_messages_of_the_multiplex_socket(text, message):
    assert parse_message(text, MULTIPLEX_ACTIONS) == message


def test_messages_of_a_replay():
    assert parse_message('{"action": "pause"}', REPLAY_ACTIONS).action == "pause"
    speed = parse_message('{"action": "speed", "speed": 2.5}', REPLAY_ACTIONS)
    assert speed.parse_speed() == 2.5
    seek = parse_message('{"action": "seek", "after": "1-2"}', REPLAY_ACTIONS)
    assert seek.after == "1-2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "one of: subscribe, unsubscribe, subscribe_jobs, unsubscribe_jobs. Given: None."),
        ("x", "Given: 'x'."),
        ("[]", "Given: '[]'."),
        ('{"action": "pause"}', "one of: subscribe,"),
        (
            '{"action": "subscribe", "since": 0}',
            "The fields of subscribe are: job_id, after (optional), ticket (optional)."
            " Given: ['since'].",
        ),
        (
            '{"action": "subscribe_jobs", "job_id": "a"}',
            "The fields of subscribe_jobs are: none. Given: ['job_id'].",
        ),
        ('{"action": "subscribe", "job_id": "a", "ticket": null}', "A ticket is a string."),
    ],
)
def test_error_names_allowed_and_given_values(text, expected):
    with pytest.raises(BadMessage) as caught:
        parse_message(text, MULTIPLEX_ACTIONS)
    assert expected in str(caught.value)


def test_invalid_values():
    with pytest.raises(InvalidJobId):
        parse_message('{"action": "subscribe", "job_id": "a/b"}', MULTIPLEX_ACTIONS)
    message = parse_message(
        '{"action": "subscribe", "job_id": "a", "after": "$"}', MULTIPLEX_ACTIONS
    )
    assert message.job_id == "a"  # used in the error message of the socket
    with pytest.raises(ValidationError):
        parse_message('{"action": "speed", "speed": 0}', REPLAY_ACTIONS).parse_speed()


def test_speed_of_a_query():
    assert replay_speed({}) is None
    assert replay_speed({"replay": ["1"]}) == 1
    assert replay_speed({"replay": ["1"], "speed": ["4"]}) == 4
    for query in ({"replay": ["yes"]}, {"speed": ["4"]}, {"replay": ["1"], "speed": ["x"]}):
        with pytest.raises(ValidationError):
            replay_speed(query)
