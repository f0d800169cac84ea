#!/usr/bin/env python3
"""How long the gateway takes to start with a million rows in its ledger, all of the last day and of a strategy with day limits.

The gateway makes the database itself; this program fills it while the gateway is down. Exit status 1 when a start takes
longer than --bound-ms or when the counters were not rebuilt from the rows. See README.md.
"""

import argparse
import contextlib
import functools
import hashlib
import http.client
import json
import os
import pathlib
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import gateways

CONFIG = """\
server:
  listen: ["127.0.0.1:{port}"]
  drain_seconds: 1
monitoring: {{log_level: INFO}}
routing: {{health_check: {{enabled: false}}}}
providers:
  - {{name: first, base_url: "http://127.0.0.1:9/v1", api_key: sk-none, models: [bench-model]}}
clients:
  - {{id: bench, name: Bench, strategy_id: bench, key: "sha256:{digest}"}}
strategies:
  - id: bench
    name: Bench
    allowed_models: {{selected_all: true}}
    rate_limits:
      - {{limit_type: requests, value: {rows}, time_window: day}}
      - {{limit_type: total_tokens, value: 1000000000000, time_window: day}}
      - {{limit_type: cost, value: 1000000, time_window: day}}
storage: {{path: "{database}"}}
"""

SPAN_US = 23 * 3600 * 1_000_000  # the rows end within so long before now: none leaves the day during the bench
DURATION_US = 800_000
OUTCOME_OK = 1  # as the gateway writes it
PAGE_VERSION, PAGE_ROWS = 1, 2048


# In the order in which a row has their numbers.
NAMES = {
    "client": "bench",
    "strategy": "bench",
    "model": "bench-model",
    "endpoint": "/v1/chat/completions",
    "provider": "first",
    "sent_model": "bench-model",
}


class Gateway:
    """One process of the gateway. Knows how long it took until it said that it had started."""

    def __init__(self, command, directory, limit):
        environment = {**os.environ, "XDG_STATE_HOME": str(directory), "HOME": str(directory)}
        began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=gateways.pin_and_tie(None),
        )
        watchdog = threading.Timer(limit, self.process.kill)
        watchdog.start()
        self.lines = []
        self.start_ms = None
        for line in self.process.stdout:
            self.lines.append(line)
            if b'"gateway_start"' in line:
                self.start_ms = round((time.monotonic() - began) * 1000, 1)
                break
        watchdog.cancel()
        threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()
        if self.start_ms is None:
            self.process.wait()
            raise SystemExit("store: the gateway did not start:\n" + b"".join(self.lines[-5:]).decode(errors="replace"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        gateways.stop(self.process)


def table_columns(database, table):
    """(name, declared type) of those that the row must give."""
    return [(row[1], row[2].upper()) for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "row"]


def number_of(database, table, column, value):
    """The number of a text (or of a boot) that rows refer to; a column besides is a day."""
    row = database.execute(f"SELECT id FROM {table} WHERE {column} = ?", (value,)).fetchone()
    if row:
        return row[0]
    more = [name for name, _ in table_columns(database, table) if name not in ("id", column)]
    today = int(time.time()) // 86400
    names = ", ".join([column, *more])
    marks = ", ".join("?" * (1 + len(more)))
    return database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", (value, *[today for _ in more])).lastrowid


@functools.lru_cache(4096)
def number(value):
    """7 bits a byte, the least first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def difference(value):
    return number(value << 1 if value >= 0 else (-value << 1) - 1)


def crc32c_of_two_bytes(value):
    for _ in range(16):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


def crc32c(data, table=tuple(map(crc32c_of_two_bytes, range(65536)))):
    crc = 0xFFFFFFFF
    for (word,) in struct.iter_unpack("<H", data[: len(data) & ~1]):
        crc = crc >> 16 ^ table[(crc ^ word) & 0xFFFF]
    for byte in data[len(data) & ~1 :]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def row_of(names, n, ended, base, dice):
    """One settled exchange as it stands in a page (src/store/page.c)."""
    request_id = f"{dice.getrandbits(128):032x}".encode()
    numbers = [OUTCOME_OK << 2, 0, n + 1, *names, 200 + n % 100, 50 + n % 50, 60_000_000, 0, 0, 200_000, 200, 0]
    row = b"".join((bytes([len(request_id)]), request_id, difference(ended - base), number(DURATION_US), difference(0), *map(number, numbers)))
    return struct.pack("<H", len(row)) + row


def pages_of(names, boot, count, now_us):
    """`count` settled exchanges, oldest first, as rows of `request_pages`."""
    dice = random.Random(1)
    for first in range(0, count, PAGE_ROWS):
        ends = [now_us - SPAN_US + SPAN_US * n // count for n in range(first, min(first + PAGE_ROWS, count))]
        rows = b"".join(row_of(names, first + i, ended, ends[0], dice) for i, ended in enumerate(ends))
        page = struct.pack("<IIIqq", PAGE_VERSION, len(ends), len(rows), boot, ends[0]) + rows
        yield boot, ends[0], ends[-1], len(ends), struct.pack("<I", crc32c(page)) + page


def fill(path, count):
    """Writes the rows with the schema that the gateway has made."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        names = [number_of(database, "names", "name", text) for text in NAMES.values()]
        boot = number_of(database, "boots", "boot", 4711)
        database.executemany(
            "INSERT INTO request_pages (boot, first_us, last_us, count, data) VALUES (?, ?, ?, ?, ?)",
            pages_of(names, boot, count, int(time.time() * 1e6)),
        )
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def ask(port):
    """The status of a completion. All requests of the day are used up, so it must be 429."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"model": "bench-model", "messages": [{"role": "user", "content": "Anybody home?"}]})
    fields = {"Authorization": f"Bearer {gateways.CLIENT_KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, fields)
    status = connection.getresponse().status
    connection.close()
    return status


def measure(options, directory):
    port, path = gateways.free_port(), directory / "books.db"
    config = directory / "hestia.yml"
    digest = hashlib.sha256(gateways.CLIENT_KEY.encode()).hexdigest()
    config.write_text(CONFIG.format(port=port, digest=digest, rows=options.rows, database=path))
    command = [options.hestia, "serve", "-c", str(config)]
    limit = max(30, options.bound_ms / 100)
    first = Gateway(command, directory, limit)
    first.stop()
    if not path.exists():
        raise SystemExit("store: the gateway made no database at storage.path: this build keeps no books")
    began = time.monotonic()
    fill(path, options.rows)
    result = {"rows": options.rows, "empty_ms": first.start_ms, "filled_in_s": round(time.monotonic() - began, 1)}
    result["database_mib"] = round(path.stat().st_size / 2**20, 1)
    starts, statuses = [], []
    for _ in range(options.rounds):
        gateway = Gateway(command, directory, limit)
        try:
            starts.append(gateway.start_ms)
            statuses.append(ask(port))
        finally:
            gateway.stop()
    return {**result, "start_ms": starts, "worst_ms": max(starts), "statuses": statuses, "bound_ms": options.bound_ms}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hestia", default=str(gateways.BUILD / "hestia"), help="the binary (build/hestia)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="starts with the full ledger")
    parser.add_argument("--bound-ms", type=float, default=2000, help="allowed for a start")
    options = parser.parse_args()
    options.hestia = os.path.abspath(options.hestia)
    if not os.access(options.hestia, os.X_OK):
        parser.error(f"{options.hestia} is missing: ./run --build makes it")
    with tempfile.TemporaryDirectory(prefix="hestia-bench-") as directory:
        result = measure(options, pathlib.Path(directory))
    print(json.dumps(result), flush=True)
    wrong = []
    if result["worst_ms"] > options.bound_ms:
        wrong.append(f"a start took {result['worst_ms']} ms, {options.bound_ms:g} allowed")
    if result["statuses"] != [429] * options.rounds:
        wrong.append(f"with the day's requests used up the answers were {result['statuses']} instead of 429")
    for sentence in wrong:
        print("store:", sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
