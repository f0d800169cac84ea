"""Fake services (tests/py/fake/service.py) as the tests see them: a config entry, and a folder of signs and levers."""

import os
import sys
import threading
from pathlib import Path

from waiting import eventually

PROGRAM = Path(__file__).parent / "fake" / "service.py"


class Fake:
    """A fake service: `config()` for services.X, and what it has seen."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.options = [str(option) for option in options]

    def config(self, **more):
        return {
            "command": [sys.executable, "-S", str(PROGRAM), "--port", "${PORT}", "--folder", str(self.folder), *self.options],
            "base_url": "http://127.0.0.1:${PORT}",
            "health_url": "http://127.0.0.1:${PORT}/health",
            **more,
        }

    # ---- levers

    def allow(self, what):
        """Lets it listen, become ready, exit…: whatever it was told to wait for."""
        (self.folder / what).touch()

    def open_fifo(self, name):
        """Lets go of whoever waits there (and waits until somebody does)."""

        def opened():
            try:
                os.close(os.open(self.folder / name, os.O_WRONLY | os.O_NONBLOCK))
                return True
            except OSError:
                return False

        eventually(opened, f"somebody waits at {name}")

    def release(self):
        """Lets go of whoever waits in a FIFO at the end of a test."""
        for path in self.folder.glob("*.fifo"):
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                pass

    # ---- signs

    def lines(self, name):
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def pids(self):
        """One per start."""
        return [int(line) for line in self.lines("starts")]

    @property
    def starts(self):
        return len(self.pids)

    @property
    def requests(self):
        """Targets in the order in which they came, health checks aside."""
        return [line for line in self.lines("requests") if not line.startswith("/health")]

    def wait_starts(self, count):
        eventually(lambda: self.starts >= count, f"{count} starts of the fake service")
        return self.pids[count - 1]

    def wait_requests(self, count):
        eventually(lambda: len(self.requests) >= count, f"{count} requests at the fake service")
        return self.requests

    def wait_line(self, name):
        return eventually(lambda: (self.lines(name) or [None])[0], f"{name} of the fake service")


class Together:
    """Runs calls in threads of their own, and gives their results in the order in which they were made."""

    def __init__(self):
        self.threads, self.results, self.errors = [], [], []

    def call(self, function, *arguments, **options):
        index = len(self.results)
        self.results.append(None)

        def run():
            try:
                self.results[index] = function(*arguments, **options)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)
        return index

    def join(self):
        for thread in self.threads:
            thread.join(90)
            assert not thread.is_alive(), "a call did not end"
        if self.errors:
            raise self.errors[0]
        return self.results
