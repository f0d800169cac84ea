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
