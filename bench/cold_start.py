#!/usr/bin/env python3
"""300 simultaneous first requests to a process service that takes 2 s to load.

Reports how often the service was started, how many requests were answered, how long after the service became ready the
first answer arrived, whether requests left the queue in arrival order, and what the held requests cost in memory.
Exit status 1 when a bound of `check` does not hold. See README.md.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import selectors
import socket
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import gateways

CONFIG = """\
server:
  listen: ["127.0.0.1:{port}"]
monitoring: {{log_level: INFO}}
services:
  cold:
    base_url: "http://127.0.0.1:{service}"
    health_url: "http://127.0.0.1:{service}/health"
    command: [/bin/sh, "{script}"]
    queue_size: {queue}
    request_timeout_seconds: 60
    start_timeout_seconds: 60
    idle_timeout_ms: 0
"""

SCRIPT = """\
echo started >> "{starts}"
exec "{hestia}" mock-llm --listen 127.0.0.1:{service} --load-time {load_time}s
"""

BODY = b'{"messages":[{"role":"user","content":"Is anybody home?"}],"model":"demo","max_tokens":8}'


class ReadyWatch(threading.Thread):
    """Asks the service itself, every millisecond, whether it is ready."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.ready_at = None
        self.uncertainty = None  # seconds between the last "no" was asked and the first "yes" arrived
        self.ended = False

    def run(self):
        connection = None
        last_no = time.monotonic()
        while not self.ended:
            asked = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/health")
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    self.ready_at = time.monotonic()
                    self.uncertainty = self.ready_at - last_no
                    return
            except OSError:
                connection = None
            except http.client.HTTPException:
                connection = None
            last_no = asked
            time.sleep(0.001)


class Client:
    """One connection with one request; collects until the server closes."""

    def __init__(self, number, port):
        self.name = f"cold-{number:04}"
        self.received = b""
        self.answered_at = None
        self.socket = socket.create_connection(("127.0.0.1", port), 10)

    def send(self):
        head = (
            "POST /services/cold/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nX-Request-ID: {self.name}\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + BODY)
        self.socket.setblocking(False)

    def take(self):
        """True while more may come."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if data and self.answered_at is None:
            self.answered_at = time.monotonic()
        self.received += data
        return bool(data)

    def good(self):
        head, _, body = self.received.partition(b"\r\n\r\n")
        return head.startswith(b"HTTP/1.1 200") and b'"choices"' in body


def collect(clients, seconds):
    """Reads until every client has been answered or the time is up."""
    deadline = time.monotonic() + seconds
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    waiting = len(clients)
    while waiting and time.monotonic() < deadline:
        for key, _ in selector.select(0.1):
            if not key.data.take():
                selector.unregister(key.fileobj)
                key.data.socket.close()
                waiting -= 1
    selector.close()


def memory_kib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def log_events(path):
    events = []
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                events.append(event)
    return events


def seconds_of(timestamp):
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def displaced(arrived, left):
    """How many requests left the queue at another place than the one at which they had entered it.

    Sending order is not arrival order: the connections are spread over several workers, which read them at the same time.
    """
    return sum(a != b for a, b in zip(arrived, left)) + abs(len(arrived) - len(left))


def start_gateway_files(directory, options, port, service):
    starts = directory / "starts"
    script = directory / "start.sh"
    script.write_text(
        SCRIPT.format(starts=starts, hestia=options.hestia, service=service, load_time=options.load_time)
    )
    config = directory / "hestia.yml"
    config.write_text(CONFIG.format(port=port, service=service, script=script, queue=options.clients + 100))
    return config, starts


def run(options, directory):
    port, service = gateways.free_port(), gateways.free_port()
    config, starts = start_gateway_files(directory, options, port, service)
    watch = ReadyWatch(service)
    with gateways.running([options.hestia, "serve", "-c", str(config)], directory, port) as process:
        before = memory_kib(process.pid, "VmRSS")
        clients = [Client(n, port) for n in range(options.clients)]
        watch.start()
        began = time.monotonic()
        for client in clients:
            client.send()
        sent = time.monotonic()
        time.sleep(options.load_time / 2)
        held = memory_kib(process.pid, "VmRSS")
        collect(clients, options.load_time + 30)
        peak = memory_kib(process.pid, "VmHWM")
    watch.ended = True
    now_wall = time.time() - time.monotonic()
    answered = sorted(c.answered_at for c in clients if c.answered_at)
    events = log_events(directory / "output.log")
    ready_log = [e for e in events if e.get("event_type") == "service_ready"]
    arrived, left = (
        [e.get("request_id") for e in events if e.get("event_type") == event] for event in ("request_queued", "request_dequeued")
    )
    result = {
        "clients": options.clients,
        "load_time_s": options.load_time,
        "starts": len(starts.read_text().split()) if starts.exists() else 0,
        "answers_200": sum(c.good() for c in clients),
        "sending_took_ms": ms(sent - began),
        "first_answer_after_ready_ms": ms(answered[0] - watch.ready_at) if answered and watch.ready_at else None,
        "ready_known_to_ms": ms(watch.uncertainty) if watch.uncertainty else None,
        "last_answer_after_ready_ms": ms(answered[-1] - watch.ready_at) if answered and watch.ready_at else None,
        "dequeued": len(left),
        "out_of_order": displaced(arrived, left),
        "rss_before_kib": before,
        "rss_holding_kib": held,
        "rss_peak_kib": peak,
        "held_request_kib": round((held - before) / options.clients, 1),
    }
    if ready_log and answered:
        result["first_answer_after_service_ready_event_ms"] = ms(
            answered[0] + now_wall - seconds_of(ready_log[0]["timestamp"])
        )
    return result


def ms(seconds):
    return round(seconds * 1000, 2)


def check(result, bound_ms):
    """What does not hold, as sentences."""
    wrong = []
    if result["starts"] != 1:
        wrong.append(f"{result['starts']} starts instead of 1")
    if result["answers_200"] != result["clients"]:
        wrong.append(f"{result['answers_200']} good answers instead of {result['clients']}")
    first = result["first_answer_after_ready_ms"]
    if first is None or first > bound_ms:
        wrong.append(f"the first answer came {first} ms after ready, {bound_ms} allowed")
    if result["out_of_order"]:
        wrong.append(f"{result['out_of_order']} requests left the queue out of order")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hestia", default=str(gateways.BUILD / "hestia"), help="the binary (build/hestia)")
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--load-time", type=int, default=2, help="seconds the service loads")
    parser.add_argument("--bound-ms", type=float, default=30, help="allowed from ready to the first answer")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.hestia = os.path.abspath(options.hestia)
    if not os.access(options.hestia, os.X_OK):
        parser.error(f"{options.hestia} is missing: ./run --build makes it")
    wrong = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="hestia-bench-") as directory:
            result = run(options, pathlib.Path(directory))
        print(json.dumps(result), flush=True)
        wrong += check(result, options.bound_ms)
    for sentence in wrong:
        print("cold_start:", sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
