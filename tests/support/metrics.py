"""Values of exposed metrics."""

from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from events.metrics import render

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples_of(text: str) -> dict[Sample, float]:
    """Return the samples of an exposition by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value_of(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels, among others."""
    return sum(
        value
        for (each, of), value in samples_of(text).items()
        if each == f"job_events_{name}" and labels.items() <= dict(of).items()
    )


def exposed(name: str, **labels: str) -> float:
    """Return a value of this process."""
    return value_of(render(with_collectors=False)[0].decode(), name, **labels)


def increase(name: str, **labels: str) -> Callable[[], float]:
    """Return a function that returns by how much a value of this process has increased since."""
    before = exposed(name, **labels)
    return lambda: exposed(name, **labels) - before
