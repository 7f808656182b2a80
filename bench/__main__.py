"""Runs every benchmark: `python -m bench`."""

from bench import history, publishing

if __name__ == "__main__":
    publishing.main()
    history.main()
