"""Registry of the steps that `manage.py process_events` runs, one loop each."""

from collections.abc import Callable
from typing import Final

from events.archive.archiver import Archiver
from events.outbox.relay import Relay
from events.processor.loop import Step

# Receives `single_pass`: True for `--once`.
StepFactory = Callable[[bool], Step]

_factories: Final[dict[str, StepFactory]] = {}


def register_step(name: str, factory: StepFactory) -> None:
    """Run a further step in a loop called `name`; called in an `AppConfig.ready`."""
    _factories[name] = factory


def build_steps(*, single_pass: bool = False) -> dict[str, Step]:
    """The steps of a process by the names of their loops; `single_pass` for `--once`."""
    registered = {name: factory(single_pass) for name, factory in _factories.items()}
    return {"relay": Relay().step, "archiver": Archiver().step, **registered}
