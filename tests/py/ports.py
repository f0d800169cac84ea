"""Ports for tests: below the range from which the kernel gives ports away, and each runner has its own. So a port that a test
gives up stays free: nobody else answers there, and it can be bound again."""

import errno
import itertools
import os
import socket

FIRST, EACH, RUNNERS = 12000, 800, 10  # up to 19999; Hestia gives its services ports above
RUNNER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % RUNNERS
_numbers = itertools.cycle(range(FIRST + EACH * RUNNER, FIRST + EACH * (RUNNER + 1)))


def bound_socket(port=None):
    """A TCP socket on loopback: at that port, or the next that is free."""
    while True:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port or next(_numbers)))
            return one
        except OSError as error:
            one.close()
            if port or error.errno != errno.EADDRINUSE:
                raise


def unused_port():
    """Where nobody listens."""
    with bound_socket() as one:
        return one.getsockname()[1]
