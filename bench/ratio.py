"""Pairs of measurements: machines are noisy, so only ratios within one run mean anything."""

from collections.abc import Callable
from statistics import median
from time import perf_counter


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def compare(
    claim: str, ours: Callable[[], object], baseline: Callable[[], object], pairs: int = 15
) -> float:
    """Print and return how many times as long the baseline takes as ours, the median of pairs.

    The two are run in turn, and which goes first alternates; the first pair is not counted.
    """
    ratios = []
    for number in range(pairs + 1):
        if number % 2:
            mine = seconds(ours)
            theirs = seconds(baseline)
        else:
            theirs = seconds(baseline)
            mine = seconds(ours)
        ratios.append(theirs / mine)
    counted = sorted(ratios[1:])
    value = median(counted)
    print(f"{claim}: {value:.2f} (from {counted[0]:.2f} to {counted[-1]:.2f} in {pairs} pairs)")
    return value
