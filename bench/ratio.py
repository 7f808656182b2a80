"""Compare run times in pairs. Only ratios within one run are meaningful on a noisy machine."""

from collections.abc import Callable
from statistics import median
from time import perf_counter


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def no_preparation() -> None:
    pass


def compare(
    claim: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    pairs: int = 15,
    prepare: Callable[[], object] = no_preparation,
) -> float:
    """Print and return the median ratio of the baseline's run time to ours.

    Each pair runs both; the order alternates. The first pair is a warm-up and not counted.
    `prepare` runs before each measurement, outside the measured time.
    """
    ratios = []
    for number in range(pairs + 1):
        took = {}
        for work in (ours, baseline) if number % 2 else (baseline, ours):
            prepare()
            took[work] = seconds(work)
        ratios.append(took[baseline] / took[ours])
    counted = sorted(ratios[1:])
    value = median(counted)
    print(f"{claim}: {value:.2f} (from {counted[0]:.2f} to {counted[-1]:.2f} in {pairs} pairs)")
    return value
