"""Command line of the soak test; see the package."""

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
        "--spacing", type=float, default=8.0, help="maximum seconds between two faults"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the notes and logs of all processes"
    )
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    plan = Plan(
        seed, options.events, options.faults, options.database, options.spacing, keep=options.keep
    )
    print(
        f"soak: seed {seed}, {options.events} events, {options.faults} faults, {options.database}"
    )
    outcome = soak(plan, log=lambda line: print(line, flush=True))
    for line in report(outcome):
        print(line)
    return 1 if outcome.result.defects else 0


if __name__ == "__main__":
    sys.exit(main())
