"""Jobs of the showcase: an agent, a Celery chain, a thread, a question and a long job."""

import time
from threading import Thread
from typing import Any

from celery import chain, shared_task
from django.db import connection

from events.error_report import error_traceback
from events.integrations.celery import JobTask
from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.publisher import get_publisher
from jobs import services
from tests.support.showcase_agent import research_graph

RETRIED: dict[str, Any] = {
    "base": JobTask,
    "bind": True,
    "autoretry_for": (ConnectionError,),
    "max_retries": 2,
    "default_retry_delay": 1,
}


@shared_task(base=JobTask, bind=True)
def market_research(self, job_id: str, question: str, denied: bool) -> dict[str, Any]:
    state = {"question": question, "denied": denied, "findings": []}
    record = RecordOptions(prompts=True, tool_inputs=True)
    handler = create_redis_callback_handler(job_id, self.publisher, record=record)
    result = research_graph().invoke(state, {"callbacks": [handler]})
    return {"url": result["url"], "sources": 25, "report": result["report"]}


class GatewayTimeout(ConnectionError):
    """The payment provider does not answer."""


def charge_orders(job_id: str, **_payload: Any) -> None:
    chain(import_orders.si(job_id), transform.s(job_id), charge.s(job_id)).delay()


@shared_task(**RETRIED)
def import_orders(self, job_id: str) -> list[int]:
    self.progress(5, "Connecting to sftp.example.org")
    time.sleep(0.4)
    if self.request.retries == 0:
        raise ConnectionError("sftp.example.org:22: connection reset by peer")
    for part in range(1, 4):
        time.sleep(0.25)
        self.progress(5 + 8 * part, f"Imported orders-{part}.csv")
    return list(range(2034, 2064))


@shared_task(**RETRIED)
def transform(self, orders: list[int], job_id: str) -> list[dict[str, Any]]:
    self.progress(33, f"Converting the currency of {len(orders)} orders")
    time.sleep(4.2)
    self.progress(60, f"Converted {len(orders)} orders")
    return [{"invoice": f"INV-{order}", "cents": order * 61} for order in orders]


@shared_task(**RETRIED)
def charge(self, invoices: list[dict[str, Any]], job_id: str) -> int:
    for count, invoice in enumerate(invoices[:8]):
        post_charge(invoice)
        self.progress(60 + 2 * count, f"Charged {invoice['invoice']}")
    return len(invoices)


def post_charge(invoice: dict[str, Any]) -> None:
    time.sleep(0.08)
    if invoice["invoice"] == "INV-2041":
        raise GatewayTimeout(
            f"504 from https://payments.example.org/v1/charges for {invoice['invoice']},"
            f" {invoice['cents'] / 100:.2f} EUR"
        )


def nightly_backup(job_id: str, **_payload: Any) -> None:
    Thread(target=_backup, args=(job_id,), name="nightly-backup").start()


def _backup(job_id: str) -> None:
    try:
        services.job_start(job_id=job_id)
        _back_up(job_id)
    except OSError as error:
        _log(job_id, "error", f"{error}\n{error_traceback(error)}")
        services.job_fail(job_id=job_id, error=error)
    finally:
        connection.close()


def _back_up(job_id: str) -> None:
    publisher = get_publisher()
    for phase, seconds, progress, lines in (
        ("dump_database", 0.9, 25, ["\x1b[32mok\x1b[0m orders      1,204,331 rows",
                                    "\x1b[32mok\x1b[0m customers     88,012 rows"]),
        ("compress", 3.6, 62, ["zstd -19 --threads 1: \x1b[1m8.4 GB → 1.9 GB\x1b[0m"]),
        ("upload", 0.7, 71, ["PUT s3://backups/2026-11-26.zst part 1 of 4"]),
    ):  # fmt: skip
        publisher.publish_event(job_id, {"event_type": "phase_update", "phase": phase})
        for line in lines:
            time.sleep(seconds / len(lines))
            _log(job_id, "info", line)
        services.job_progress(job_id=job_id, progress=progress, message=f"{phase} is done")
    _log(job_id, "warning", "\x1b[33mwarning\x1b[0m 1.2 GB of 50 GB are free in the bucket")
    time.sleep(0.3)
    raise OSError(28, "No space left in the bucket s3://backups: quota of 50 GB exceeded")


def _log(job_id: str, level: str, message: str) -> None:
    event = {"event_type": "log", "level": level, "message": message}
    get_publisher().publish_event(job_id, event)


@shared_task(base=JobTask, bind=True)
def newsletter(self, job_id: str) -> str:
    self.progress(80, "The draft is ready")
    draft = {
        "subject": "Your battery passport, explained",
        "audience": {"list": "customers-de", "recipients": 18_402, "excluded": ["unsubscribed"]},
        "body": "Dear customer,\n\nfrom February 2027 every new battery has a passport. Yours is"
        " ready now: scan the code on the inverter.\n\nKind regards\nThe service team",
        "send_at": "2026-11-27T08:00:00+01:00",
    }
    prompt = {"text": "Send this newsletter to 18,402 customers?", "draft": draft}
    return str(self.ask(prompt, choices=["send", "revise", "discard"], name="approval"))


@shared_task(base=JobTask, bind=True)
def sync_contacts(self, job_id: str) -> None:
    """Run until the job is cancelled."""
    for page in range(1, 10_000):
        self.check_cancelled()
        message = f"Fetched page {page} of 120"
        self.progress(min(page / 1.2, 42), message)
        time.sleep(1.5)
