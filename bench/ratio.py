"""Pairs of measurements: machines are noisy, so only ratios within one run mean anything."""

from collections.abc import Callable
from statistics import median
from time import perf_counter


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def nothing() -> None:
    """What there is to prepare, by default."""


def compare(
    claim: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    pairs: int = 15,
    prepare: Callable[[], object] = nothing,
) -> float:
    """Print and return how many times as long the baseline takes as ours, the median of pairs.

    The two are run in turn, and which goes first alternates; the first pair is not counted.
    What `prepare` does before each is not counted either.
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
