#!/usr/bin/env python3
"""How long the gateway takes to start with a million rows in its ledger, all of the last day and of a strategy with day limits.

The gateway makes the database itself; this program fills it while the gateway is down. Exit status 1 when a start takes
longer than --bound-ms or when the counters were not rebuilt from the rows. See README.md.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import signal
import sqlite3
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
HOUR_US = 3600 * 1_000_000
DURATION_US = 800_000
OUTCOME_OK = 1  # as the gateway writes it


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


def rows_of(columns, shared, count, now_us):
    """`count` settled exchanges, oldest first, as tuples in the order of the columns."""
    empty = [shared.get(name, {"TEXT": "", "BLOB": b""}.get(kind, 0)) for name, kind in columns]
    place = {name: i for i, (name, _) in enumerate(columns)}
    dice = random.Random(1)
    for n in range(count):
        ended = now_us - SPAN_US + SPAN_US * n // count
        row = list(empty)
        row[place["sequence"]] = n + 1
        row[place["ended_us"]] = ended
        row[place["at_us"]] = ended - DURATION_US
        row[place["request_id"]] = f"{dice.getrandbits(128):032x}"
        if "id_key" in place:
            row[place["id_key"]] = (ended // HOUR_US << 24) + dice.getrandbits(24)
        row[place["input_tokens"]] = 200 + n % 100
        row[place["output_tokens"]] = 50 + n % 50
        yield row


def fill(path, count):
    """Writes the rows with the schema that the gateway has made; columns that are not known here stay empty."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        shared = {name: number_of(database, "names", "name", text) for name, text in NAMES.items()}
        shared |= {
            "boot": number_of(database, "boots", "boot", 4711),
            "worker": 0,
            "cost": 60_000_000,
            "duration_us": DURATION_US,
            "first_byte_us": 200_000,
            "status": 200,
            "outcome": OUTCOME_OK,
        }
        columns = table_columns(database, "requests")
        names = ", ".join(name for name, _ in columns)
        marks = ", ".join("?" * len(columns))
        rows = rows_of(columns, shared, count, int(time.time() * 1e6))
        database.executemany(f"INSERT INTO requests ({names}) VALUES ({marks})", rows)
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
