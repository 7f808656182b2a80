"""Command line of the soak test; see the package."""

import argparse
import secrets
import sys

from tests.faults.soak.run import Plan, report, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument(
        "--keep", action="store_true", help="keep the notes and logs of all processes"
    )
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    plan = Plan(seed, options.minutes * 60, options.database, keep=options.keep)
    print(f"soak: seed {seed}, {options.minutes:g} minutes, {options.database}")
    outcome = soak(plan, log=lambda line: print(line, flush=True))
    for line in report(outcome):
        print(line)
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
