"""Secrets are recognized by format and by key, in linear time; other text is unchanged."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.redaction import REDACTED, Redactor

REDACTOR = Redactor()

# Text and the part that must not remain. Concatenated, so that secret scanners ignore them.
SECRETS = {
    "openai": ("sk-" + "proj-Ab12Cd34Ef56Gh78Ij90", "Ab12Cd34"),
    "anthropic": ("sk-ant-" + "api03-Ab12Cd34_Ef56Gh78-Ij90", "Ab12Cd34"),
    "short openai": ("sk-" + "test-4f9a8b7c", "4f9a8b7c"),
    "google": ("AIza" + "SyA1234567890abcdefghijklmnopqrstuv", "SyA12345"),
    "aws": ("AKIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7"),
    "aws secret": (
        "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "wJalrXUtn",
    ),
    "github": ("ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789", "abcdefgh"),
    "github fine": ("github_pat_" + "11ABCDEFG0abcdefghij_klmnop", "11ABCDEF"),
    "slack": ("xoxb-" + "123456789012-abcdefGHIJ", "123456789012"),
    "stripe": ("sk_live_" + "51Habcdefghijkl", "51Habcde"),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl", "c2lnbmF0"),
    "bearer": ("Authorization: Bearer abc.def-123", "abc.def"),
    "bare bearer": ("sent Bearer abcdef123456 along", "abcdef"),
    "basic": ("{'Authorization': 'Basic dXNlcjpwYXNz', 'Host': 'x'}", "dXNlcjpw"),
    "header pair": ("[(b'authorization', b'Token zzyyxx')]", "zzyyxx"),
    "cookie": ("Cookie: sessionid=abc123; csrftoken=def", "abc123"),
    "pem": (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAAKCAQ\n-----END RSA PRIVATE KEY-----",
        "MIIEow",
    ),
    "pem without its end": ("-----BEGIN PRIVATE KEY-----\nMIIEow\nAAKCAQ", "AAKCAQ"),
    "url": ("postgres://bob:hunter2@db.example:5432/x", "hunter2"),
    "url with @ in it": ("redis://:hun@ter2@cache:6379", "ter2"),
    "url with / in it": ("redis://:hun/ter2?x@cache:6379", "ter2"),
    "assigned": ("password=hunter2", "hunter2"),
    "assigned, spaced": ("DB_PASSWORD = 'correct horse'", "horse"),
    "annotated": ('password: str = "hunter2"', "hunter2"),
    "json": ('{"api_key": "correct horse", "a": 1}', "horse"),
    "json in json": ('{\\"client_secret\\": \\"correct horse\\"}', "horse"),
    "query": ("https://x.example/?page=1&token=hunter2&b=1", "hunter2"),
    "option": ("curl --token hunter2 x", "hunter2"),
    "sentence": ("my password is hunter2!", "hunter2"),
    "sentence with a colon": ("The API key is: hunter2", "hunter2"),
    "groq": ("gsk_" + "abcdEFGH1234abcdEFGH1234", "abcdEFGH"),
    "xai": ("xai-" + "abcdEFGH1234abcdEFGH1234", "abcdEFGH"),
    "tavily": ("tvly-" + "dev-abcdEFGH1234abcdEFGH1234", "abcdEFGH"),
    "langsmith": ("lsv2_pt_" + "0123456789abcdef0123456789abcdef_0123456789", "6789abcd"),
    "google secret": ("GOCSPX-" + "abcdefgh12345678ABCDEFGH", "abcdefgh"),
    "telegram": ("/bot123456789:AA" + "HdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe", "HdqTcv"),
    "azure": ("AccountName=x;AccountKey=abcdEFGHijkmnopqr1234==;Suffix=y", "abcdEFGH"),
    "azure signature": ("https://x.example/c?sv=20&sig=abcdEFGHijkmnopqr%3D", "abcdEFGH"),
    "with a quote in it": ('{"password": "corr\\"horse", "a": 1}', "horse"),
    "bytes": ("{b'password': b'corr horse'}", "horse"),
    "other header pair": ("[(b'host', b'x'), (b'x-api-key', b'corr horse')]", "horse"),
    "header pair of JSON": ('[["X-Auth-Token", "corr horse"], ["host", "x"]]', "horse"),
    "in a list": ('{"password": ["correct", "horse"], "a": 1}', "horse"),
    "in a list, indented": ('{\n    "secrets": [\n        "correct",\n  "horse"\n]}', "horse"),
    "in a mapping": ('{"credentials": {"user": {"a": 1}, "b": "horse"}, "a": 1}', "horse"),
    "headers with lists": ("{'set-cookie': ['sessionid=horse; Path=/']}", "horse"),
    "common word as a key": ('{"auth": "horse"}', "horse"),
    "jwt by its key": ('{"jwt": "horse"}', "horse"),
    "e-mail": ("Write to anna.b+c@example.co.uk.", "anna"),
    "e-mail in a URL": ("?to=anna%40example.com", "anna"),
}  # fmt: skip

INNOCENT = [
    "total_tokens: 5, max_tokens=6, tokens: 7",
    "basic understanding of Basic Principles",
    "The password is required, and the secret of tea is water.",
    "a bearer of news; the token went on",
    "@decorator at 10:30, a@b, user@localhost",
    "sk-learn and task-based work",
    "https://example.com/a:b?c=d@e",
    "http://example.com:8000/a@b, http://[::1]:80/@x, http://h:80/?to=a@b",
    "react@18.2.0, lodash@4.17.21.",
    "pypi-publish-workflow, hf_transfer_enabled_option, npm_config_registry_url",
    '{"token": null}, password=None, def f(password: str = None)',
    "my_sig=zyxwvutsrqponmlkj, in [1] and {2}, the author: Bob",
    "fields = ('name', 'password', 'place')",
    "192.168.0.1 and +49 30 123456",
    "11111111-2222-4333-8444-555555555555",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_replaced(name):
    text, secret = SECRETS[name]
    shown = REDACTOR.text(f"Look: {text} and so on")
    assert secret not in shown
    assert REDACTED in shown
    assert shown.startswith("Look: ")
    assert REDACTOR.text(shown) == shown


@pytest.mark.parametrize("text", INNOCENT)
def test_other_text_is_unchanged(text):
    assert REDACTOR.text(text) == text


def test_text_around_a_secret_is_unchanged():
    text = "mail anna@example.com, then connect to redis://:pw@cache:6379/0 (password=x)."
    assert REDACTOR.text(text) == (
        "mail [redacted], then connect to redis://[redacted]@cache:6379/0 (password=[redacted])."
    )


@pytest.mark.parametrize(
    "key",
    ["password", "Authorization", "apiKey", "OPENAI_API_KEY", "X-Api-Key", "client_secret", "token",
     "refreshToken", "accesstoken", "Set-Cookie", "proxy-authorization", "private_key", "APIKey",
     "password_hash", "secret_value", "credentials"],
)  # fmt: skip
def test_values_of_secret_keys_are_replaced(key):
    assert REDACTOR.value({key: "x", "n": [{key: {"deep": 1}}]}) == {
        key: REDACTED,
        "n": [{key: REDACTED}],
    }


@pytest.mark.parametrize(
    "key", ["tokens", "total_tokens", "max_tokens", "token_count", "author", "keyboard", "key", ""]
)
def test_values_of_other_keys_are_unchanged(key):
    assert REDACTOR.value({key: 5}) == {key: 5}


def test_empty_values_of_secret_keys_are_unchanged():
    assert REDACTOR.value({"password": None, "token": False}) == {"password": None, "token": False}


def test_headers_as_pairs_and_secrets_in_keys():
    assert REDACTOR.value([["cookie", "a"], ["accept", "b"]]) == [
        ["cookie", REDACTED],
        ["accept", "b"],
    ]
    assert REDACTOR.value({"anna@example.com": 1}) == {REDACTED: 1}


def test_custom_patterns_keys_and_function():
    redactor = Redactor(
        patterns=[r"EMP-\d+", re.compile("(?i)project x")],
        keys=["Badge-No"],
        also=lambda text: text.replace("Berlin", "somewhere"),
    )
    given_value = {"badge_no": 7, "text": "EMP-123 on PROJECT X in Berlin, anna@example.com"}
    assert redactor.value(given_value) == {
        "badge_no": REDACTED,
        "text": "[redacted] on [redacted] in somewhere, [redacted]",
    }


def test_custom_keys_in_text():
    redactor = Redactor(keys=["badge-no"])
    text = '{"Badge_No": "B 17", "badge_nos": 1} {\'badge-no\': 7} Person(badge_no=\'B 17\', n=1)'
    assert redactor.text(text) == (
        '{"Badge_No": [redacted], "badge_nos": 1} {\'badge-no\': [redacted]}'
        " Person(badge_no=[redacted], n=1)"
    )
    streamed = '{"a": 1, "badge_no": '
    assert streamed[redactor.safe_prefix_length(streamed) :] == '"badge_no": '
    streamed += '"B 17'
    assert streamed[redactor.safe_prefix_length(streamed) :] == 'badge_no": "B 17'


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("The quick brown", "brown"),
        ("The quick brown ", ""),
        ("so my password is ", "password is "),
        ("so my password is hun", "password is hun"),
        ("so my password is: ", "password is: "),
        ('so {"password": "correct horse ', 'password": "correct horse '),
        ("so Authorization: Bearer ", "Authorization: Bearer "),
        ("so Bearer ", "Bearer "),
        ("the API ", "API "),
        ("see -----BEGIN RSA PRIVATE ", "-----BEGIN RSA PRIVATE "),
        ("see -----BEGIN RSA PRIVATE KEY-----\nMII\n", "-----BEGIN RSA PRIVATE KEY-----\nMII\n"),
        ("茶を飲みます", ""),
    ],
)
def test_safe_prefix_excludes_incomplete_secrets(text, held):
    assert text[REDACTOR.safe_prefix_length(text) :] == held


def test_unsafe_part_of_a_long_word_is_limited():
    assert 0 < REDACTOR.safe_prefix_length("x" * 100_000) < 100_000


@given(
    st.lists(st.sampled_from([*(text for text, _ in SECRETS.values()), *INNOCENT]), min_size=1),
    st.lists(st.integers(1, 40), min_size=1),
)
@settings(max_examples=150, deadline=None)
def test_no_secret_remains_in_streamed_text(sentences, sizes):
    """The safe prefix is redacted and sent, the rest waits for further text."""
    text, sent, held, at, turn = "\n".join(sentences), [], "", 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        held, at, turn = held + text[at : at + size], at + size, turn + 1
        end = REDACTOR.safe_prefix_length(held)
        sent.append(REDACTOR.text(held[:end]))
        held = held[end:]
    shown = "".join([*sent, REDACTOR.text(held)])
    assert not [s for t, s in SECRETS.values() if t in sentences and s in shown]


HOSTILE = {
    "letters": "a", "addresses": "a@", "dots": "a.", "urls": "://a@", "keys": "sk-", "jwts": "eyJ.",
    "assignments": "password=", "quotes": 'password="', "words": "password ", "pems":
    "-----BEGIN RSA PRIVATE KEY-----", "headers": "authorization: ", "bearers": "bearer a",
    "lists": 'password=["', "mappings": 'secret={"a":', "pairs": "('token',", "versions": "a@1.",
    "backslashes": 'token="' + "\\" * 999, "spaces": " ", "dashes": "-", "capitals": "A",
}  # fmt: skip


@pytest.mark.extended
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_megabyte_of_hostile_text_takes_linear_time(name):
    """Backtracking at each character would take hours."""
    text = (HOSTILE[name] * 1_000_000)[:1_000_000]
    shown = REDACTOR.text(text)
    assert (REDACTED in shown) == (shown != text)
    assert REDACTOR.safe_prefix_length(text) <= len(text)
