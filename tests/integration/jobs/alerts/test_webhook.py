"""Webhooks: signature, one deadline, refused addresses, TLS, no secrets in errors."""

import json
import shutil
import socket
import subprocess
import tempfile
from base64 import b64encode
from pathlib import Path
from time import sleep

import pytest
import standardwebhooks

from jobs.alerts.channels import exchange
from jobs.alerts.channels.exchange import is_public, post
from jobs.alerts.deliverer import Deliverer
from jobs.exceptions import DeliveryFailed
from jobs.models import AlertDelivery
from tests.integration.jobs.alerts.receivers import SECRET, Receiver, make_due, make_message
from tests.support.need import need

pytestmark = pytest.mark.django_db(transaction=True)

NPM_PACKAGE = "standardwebhooks@1.0.0"
NPM_SCRIPT = """
const { Webhook } = require("standardwebhooks");
const { secret, headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(new Webhook(secret).verify(body, headers)));
"""
PRIVATE = [
    "127.0.0.1",
    "localhost",
    "0.0.0.0",
    "0",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
]


def delivered():
    """Deliver what is due; return the delivery."""
    assert Deliverer(single_pass=True).step() == 1
    return AlertDelivery.objects.get()


@pytest.fixture
def signed(channels, receiver):
    """A delivery as it was received, and its message."""
    channels(hook=receiver.channel())
    message = make_message("hook", rule="Fehler ü", state="resolved")
    assert delivered().delivered_at
    ((path, headers, body),) = receiver.requests
    return message, path, headers, body


def test_request(signed):
    message, path, headers, body = signed
    assert path == "/hooks/path-of-secret?key=query-of-secret"
    assert headers["content-type"] == "application/json"
    data = json.loads(body)
    assert set(data) == {"type", "timestamp", "data"}
    assert data["type"] == "alert.resolved"
    assert data["timestamp"] == message.created_at.isoformat()
    assert data["data"] == message.body


def test_signature_is_verified_by_the_library_of_pypi(signed):
    message, _path, headers, body = signed
    assert standardwebhooks.Webhook(SECRET).verify(body, headers)["data"] == message.body
    assert headers["webhook-id"] == str(message.pk)
    other = "whsec_" + b64encode(b"x" * 24).decode()
    for secret, content in ((other, body), (SECRET, body + b" ")):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(secret).verify(content, headers)


def test_signature_is_verified_by_the_library_of_npm(signed, npm_folder):
    message, _path, headers, body = signed
    given = json.dumps({"secret": SECRET, "headers": headers, "body": body.decode()})
    command = ["node", "-e", NPM_SCRIPT]
    done = subprocess.run(
        command, cwd=npm_folder, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"] == message.body


@pytest.fixture
def npm_folder(request):
    """A folder with the package of npm, which later runs use again."""
    need(request, shutil.which("node") and shutil.which("npm"), "node and npm")
    folder = Path(tempfile.gettempdir()) / f"job-events-{NPM_PACKAGE}"
    if not (folder / "node_modules" / "standardwebhooks").exists():
        with tempfile.TemporaryDirectory() as new:
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", new]
            command = ["npm", "install", *options, NPM_PACKAGE]
            done = subprocess.run(command, cwd=new, capture_output=True, check=False)
            need(request, done.returncode == 0, f"{NPM_PACKAGE} from npm")
            shutil.copytree(new, folder, dirs_exist_ok=True)
    return folder


def test_repeated_attempts_have_the_same_id_and_body(channels, receiver):
    channels(hook=receiver.channel())
    receiver.status = 503
    message = make_message("hook")
    delivered()
    receiver.status = 200
    make_due()
    assert delivered().delivered_at
    (_, first, first_body), (_, second, second_body) = receiver.requests
    assert first["webhook-id"] == second["webhook-id"] == str(message.pk)
    assert first_body == second_body
    standardwebhooks.Webhook(SECRET).verify(second_body, second)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(channels, receiver, status):
    channels(hook=receiver.channel())
    receiver.status = status
    make_message("hook")
    error = f"The receiver responds with HTTP {status}. Redirects are not followed."
    assert delivered().error == error
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("host", PRIVATE)
def test_addresses_that_are_not_public_are_refused(receiver, channels, host):
    url = f"http://{host}:{receiver.port}/"
    channels(hook=receiver.channel(url=url, allow_private=False))
    make_message("hook")
    assert "has no public address" in delivered().error
    assert receiver.requests == []


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.fixture
def resolver(monkeypatch):
    """Let a name resolve to addresses of this machine; the first is public."""
    names = []
    monkeypatch.setattr(exchange, "is_public", lambda address: address == "127.0.0.1")

    def resolve(*answers):
        real = socket.getaddrinfo
        remaining = list(answers)

        def getaddrinfo(host, port, **options):
            names.append(host)
            found = remaining.pop(0)
            return [each for address in found for each in real(address, port, **options)]

        monkeypatch.setattr(exchange.socket, "getaddrinfo", getaddrinfo)
        return names

    return resolve


@pytest.mark.parametrize(
    "answers", [[["127.0.0.1"], ["127.0.0.2"]], [["127.0.0.2", "127.0.0.1", "127.0.0.2"]]]
)
def test_the_connection_is_made_to_the_checked_address(receiver, resolver, answers):
    private = Receiver("127.0.0.2", port=receiver.port)
    names = resolver(*answers)
    with private.running():
        assert post(f"http://hooks.test:{receiver.port}/", b"", {}, allow_private=False) == 204
    assert names == ["hooks.test"]
    assert len(receiver.requests) == 1
    assert private.requests == []
    assert receiver.requests[0][1]["host"] == f"hooks.test:{receiver.port}"


def test_name_that_resolves_to_a_private_address_later(receiver, resolver):
    resolver(["127.0.0.1"], ["127.0.0.2"])
    url = f"http://hooks.test:{receiver.port}/"
    assert post(url, b"", {}, allow_private=False) == 204
    with pytest.raises(DeliveryFailed, match="no public address"):
        post(url, b"", {}, allow_private=False)


def make_certificate(folder, name):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("name", ["hooks.test", "other.test"])
@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificate(tmp_path, monkeypatch, channels, resolver, name, is_trusted):
    certificate = make_certificate(tmp_path, name)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    resolver(["127.0.0.1"])
    receiver = Receiver()
    channels(hook=receiver.channel(url=f"https://hooks.test:{receiver.port}/"))
    make_message("hook")
    with receiver.running(certificate):
        delivery = delivered()
    if is_trusted and name == "hooks.test":
        assert delivery.delivered_at
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in delivery.error
        assert receiver.requests == []
    if is_trusted and name == "other.test":
        assert "hooks.test" in delivery.error


def trickle(connection):
    """Send a response a few bytes at a time, for ever."""
    connection.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.write(b"X: y\r\n")
        connection.flush()
        sleep(0.02)


def trickle_status(connection):
    while True:
        connection.write(b"H")
        connection.flush()
        sleep(0.02)


@pytest.mark.timeout(30, func_only=True)
@pytest.mark.parametrize("respond", [trickle, trickle_status, lambda _connection: sleep(3)])
def test_receiver_that_does_not_complete_a_response(channels, receiver, monkeypatch, respond):
    monkeypatch.setattr(exchange, "EXCHANGE_SECONDS", 0.5)
    receiver.respond = respond
    channels(hook=receiver.channel())
    make_message("hook")
    assert delivered().error == "No response within 0.5 s."


def test_receiver_that_reads_nothing(monkeypatch):
    monkeypatch.setattr(exchange, "EXCHANGE_SECONDS", 0.5)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for body in (b"", bytes(32 * 1024 * 1024)):
            with pytest.raises(DeliveryFailed, match=r"No response within 0.5 s."):
                post(url, body, {}, allow_private=True)


def test_receiver_that_is_dead(channels):
    receiver = Receiver()
    channels(hook=receiver.channel())
    make_message("hook")
    assert "Connection refused" in delivered().error


@pytest.mark.parametrize(
    "response", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200" + bytes(70_000)]
)
def test_other_protocols(channels, receiver, response):
    receiver.respond = lambda connection: connection.write(response)
    channels(hook=receiver.channel())
    make_message("hook")
    delivery = delivered()
    assert delivery.error
    assert len(delivery.error) < 600


def test_errors_and_logs_contain_no_secrets(channels, receiver, caplog):
    caplog.set_level(0)
    secrets = SECRET.removeprefix("whsec_"), "path-of-secret", "query-of-secret"
    echo = " ".join((SECRET, receiver.url, *secrets)).encode()
    receiver.respond = lambda connection: connection.write(b"HTTP/1.1 " + echo + b"\r\n\r\n")
    channels(hook=receiver.channel())
    make_message("hook")
    error = delivered().error
    assert error.startswith("BadStatusLine: ")
    for secret in secrets:
        assert secret not in error
        assert secret not in caplog.text
