"""SIGKILL of a process between any two statements of an evaluation of alert rules."""

from itertools import count

import pytest

ROLES = "tests.faults.processes.alert_roles"
# One alert has resolved and one fires; each change has one message with one delivery.
EXPECTED = {
    "alerts": [["a", "resolved"], ["b", "firing"]],
    "messages": [["firing", 1], ["firing", 1], ["resolved", 1]],
    "deliveries": 3,
}


def evaluate(world, **arguments):
    child = world.forks.run(f"{ROLES}:evaluate", **arguments)
    child.join()
    return child.values_of("done")


@pytest.mark.extended
@pytest.mark.timeout(300)
def test_process_is_killed_before_each_statement(world):
    for die_at in count(1):
        world.clean()
        assert evaluate(world, subjects=["a"], at=0)
        done = evaluate(world, subjects=["b"], at=60, die_at=die_at)
        assert evaluate(world, subjects=["b"], at=120)
        dump = world.forks.run(f"{ROLES}:dump").wait_for("dump")
        assert dump == EXPECTED, f"killed before statement {die_at}"
        if done:  # it has fewer statements
            break
    assert die_at > 10
