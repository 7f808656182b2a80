"""The values of checkpoints are measured and compared."""

import mmap
import os
import socket

from tests.faults.soak.resources import connections_of, differences, memory_of


def test_differences():
    values = [(50, 10), (104, 40), (98, 44)]
    names = ("web MiB", "connections")
    checkpoints = [dict(zip(names, each, strict=True)) for each in values]
    found = {name: round(value, 2) for name, value in differences(checkpoints).items()}
    assert found == {"web MiB": 0.06, "connections": 0.1}
    assert differences(checkpoints[:1]) == {"web MiB": 0.0, "connections": 0.0}


def test_connections_and_memory_of_a_process():
    before = connections_of(os.getpid())
    with socket.socket():
        assert connections_of(os.getpid()) == before + 1
    size = memory_of(os.getpid())
    with mmap.mmap(-1, 2**25) as block:  # not of the heap, which may be resident already
        block.write(b"x" * len(block))
        assert memory_of(os.getpid()) >= size + len(block) // 2
