"""Waiting for something to become true, with a deadline; never for time to pass."""

import os
import threading
import time

# Everything is slower under valgrind; deadlines stretch, nothing else changes.
SCALE = 10 if os.environ.get("HESTIA_VALGRIND") else 1
DEADLINE = 20 * SCALE

_pause = threading.Event()


def eventually(condition, what="condition", seconds=None):
    """The first true value of condition(), asked every 10 ms."""
    end = time.monotonic() + (seconds * SCALE if seconds else DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never came true: {what}")
        _pause.wait(0.01)


def opened(event, what="event"):
    """Waits for a threading.Event."""
    assert event.wait(DEADLINE), f"never happened: {what}"


def mostly_within(bound, measure):
    """What `measure` returns, in seconds: the middle one of five is within the bound, as the machine has other things to do; and
    as it may stall for longer than that takes, of one of five such series."""
    for _ in range(5):
        series = sorted(measure() for _ in range(5))
        if series[2] <= bound:
            return
    raise AssertionError(f"{series}, not mostly within {bound} s")
