"""`python -m tests.faults.soak`: see the package."""

import argparse
import secrets
import sys

from tests.faults.soak.run import Plan, report, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--events", type=int, default=25_000)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument(
        "--spacing", type=float, default=8.0, help="the most seconds between two faults"
    )
    parser.add_argument("--keep", action="store_true", help="keep the notes of all processes")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    plan = Plan(seed, given.events, given.faults, given.database, given.spacing, keep=given.keep)
    print(f"soak: seed {seed}, {given.events} events, {given.faults} faults, {given.database}")
    outcome = soak(plan, tell=lambda line: print(line, flush=True))
    for line in report(outcome):
        print(line)
    return 1 if outcome.result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
