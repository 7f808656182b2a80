"""Imported by Python at its start: libfaketime 0.9.10 breaks `time.sleep`.

It subtracts the offset of the wall clock from the monotonic time of `clock_nanosleep`.
"""

import select
import time


def sleep(seconds):
    select.select([], [], [], seconds)


time.sleep = sleep
