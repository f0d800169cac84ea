#!/usr/bin/env python3
"""Resident memory of the gateway per exchange: 1 GiB up and down, stalled readers, 9,000 idle SSE streams.

Every body is checked by its SHA-256. Exit status 1 when a body differs or a bound does not hold. See README.md.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import os
import pathlib
import resource
import socket
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import gateways

MIB = 1 << 20
PATTERN = os.urandom(MIB)
EXCHANGE_BOUND_KIB = 256
IDLE_BOUND_KIB = 32

CONFIG = """\
server:
  listen: ["127.0.0.1:{port}"]
monitoring: {{log_level: WARNING}}
services:
  bench:
    base_url: "http://127.0.0.1:{service}"
    idle_timeout_ms: 0
    queue_size: 20000
"""


def digest(mebibytes):
    """SHA-256 of the pattern repeated."""
    sha = hashlib.sha256()
    for _ in range(mebibytes):
        sha.update(PATTERN)
    return sha.hexdigest()


# ---- the service behind the gateway, in a process of its own ----


async def answer_upload(reader, writer, length):
    sha = hashlib.sha256()
    while length > 0:
        data = await reader.read(min(length, MIB))
        if not data:
            return
        sha.update(data)
        length -= len(data)
    body = sha.hexdigest().encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def answer_download(writer, mebibytes):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (mebibytes * MIB))
    for _ in range(mebibytes):
        writer.write(PATTERN)
        await writer.drain()


async def answer_idle(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"b\r\ndata: 1\r\n\r\n\r\n")
    await reader.read(1)  # until the gateway leaves


async def serve_connection(reader, writer):
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            path = head.split(" ", 2)[1]
            if path.startswith("/upload"):
                length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
                await answer_upload(reader, writer, length)
            elif path.startswith("/download/"):
                await answer_download(writer, int(path.rsplit("/", 1)[1]))
            else:
                await answer_idle(reader, writer)
                break
            await writer.drain()
    writer.close()


def serve(port):
    async def main():
        server = await asyncio.start_server(serve_connection, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    raise_descriptor_limit()
    asyncio.run(main())


# ---- the clients ----


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connect(port, request):
    connection = socket.create_connection(("127.0.0.1", port), 60)
    connection.sendall(request.encode())
    return connection


def head_of(method, path, extra=""):
    return f"{method} /services/bench{path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n"


def read_answer(connection):
    """Status, SHA-256 of the body and the body's first bytes; the answer must have a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return 0, "", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    left = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) - len(body)
    sha = hashlib.sha256(body)
    room = bytearray(MIB)
    while left > 0:
        n = connection.recv_into(room, min(left, MIB))
        if n == 0:
            return 0, "", b""
        sha.update(memoryview(room)[:n])
        left -= n
    return int(head.split(b" ", 2)[1]), sha.hexdigest(), body


def upload(port, mebibytes, wanted):
    connection = connect(port, head_of("POST", "/upload", f"Content-Length: {mebibytes * MIB}\r\n"))
    for _ in range(mebibytes):
        connection.sendall(PATTERN)
    status, _, body = read_answer(connection)
    connection.close()
    return status == 200 and body.decode() == wanted


def download(port, mebibytes, wanted, stall=0.0):
    connection = connect(port, head_of("GET", f"/download/{mebibytes}"))
    time.sleep(stall)
    status, sha, _ = read_answer(connection)
    connection.close()
    return status == 200 and sha == wanted


def in_parallel(count, function, *arguments):
    """How many of the calls returned true."""
    good = []

    def call():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if function(*arguments):
                good.append(1)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return len(good)


def rss_kib(pid, field="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def measure(pid, name, count, function, *arguments):
    """Runs the exchanges and takes the highest resident memory meanwhile, by the kernel's own mark."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # the mark starts at the present size
    before = rss_kib(pid)
    began = time.monotonic()
    good = in_parallel(count, function, *arguments)
    peak = rss_kib(pid, "VmHWM")
    result = {
        "test": name,
        "exchanges": count,
        "good": good,
        "seconds": round(time.monotonic() - began, 2),
        "rss_before_kib": before,
        "rss_peak_kib": peak,
        "kib_per_exchange": round((peak - before) / count, 1),
        "bound_kib": EXCHANGE_BOUND_KIB,
    }
    print(json.dumps(result), flush=True)
    return good == count and result["kib_per_exchange"] <= EXCHANGE_BOUND_KIB


def open_streams(port, count):
    """Opens the streams in batches; returns those that gave their first event."""
    streams = []
    request = head_of("GET", "/idle")
    for start in range(0, count, 256):
        batch = [connect(port, request) for _ in range(min(256, count - start))]
        for stream in batch:
            data = b""
            with contextlib.suppress(OSError):
                while b"data: 1" not in data:
                    more = stream.recv(4096)
                    if not more:
                        break
                    data += more
            if b"data: 1" in data:
                streams.append(stream)
            else:
                stream.close()
    return streams


def measure_idle(pid, port, count):
    before = rss_kib(pid)
    streams = open_streams(port, count)
    time.sleep(2)  # whatever the gateway gives back when nothing happens, it may
    held = rss_kib(pid)
    for stream in streams:
        stream.close()
    time.sleep(1)
    result = {
        "test": "idle SSE streams",
        "exchanges": count,
        "good": len(streams),
        "rss_before_kib": before,
        "rss_holding_kib": held,
        "rss_after_kib": rss_kib(pid),
        "kib_per_exchange": round((held - before) / max(1, len(streams)), 1),
        "bound_kib": IDLE_BOUND_KIB,
    }
    print(json.dumps(result), flush=True)
    return len(streams) == count and result["kib_per_exchange"] <= IDLE_BOUND_KIB


def run(options, directory):
    port, service = gateways.free_port(), gateways.free_port()
    config = directory / "hestia.yml"
    config.write_text(CONFIG.format(port=port, service=service))
    backend = multiprocessing.Process(target=serve, args=(service,), daemon=True)
    backend.start()
    try:
        with gateways.running([options.hestia, "serve", "-c", str(config)], directory, port) as process:
            return measure_all(options, process.pid, port)
    finally:
        backend.kill()
        backend.join()


def measure_all(options, pid, port):
    big, small = options.mebibytes, max(1, options.mebibytes // 16)
    wanted_big, wanted_small, wanted_one = digest(big), digest(small), digest(1)
    if in_parallel(32, download, port, 1, wanted_one) != 32:  # also brings every worker to its working size
        print("memory: the first exchanges through the gateway failed", file=sys.stderr)
        return False
    good = [
        measure(pid, f"one upload of {big} MiB", 1, upload, port, big, wanted_big),
        measure(pid, f"one download of {big} MiB", 1, download, port, big, wanted_big),
        measure(pid, f"16 uploads of {small} MiB", 16, upload, port, small, wanted_small),
        measure(pid, f"16 downloads of {small} MiB", 16, download, port, small, wanted_small),
        measure(pid, "64 downloads of 8 MiB, readers stalled for 1 s", 64, download, port, 8, digest(8), 1.0),
        measure_idle(pid, port, options.streams),
    ]
    return all(good)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hestia", default=str(gateways.BUILD / "hestia"), help="the binary (build/hestia)")
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the large bodies")
    parser.add_argument("--streams", type=int, default=9000, help="idle SSE streams")
    options = parser.parse_args()
    options.hestia = os.path.abspath(options.hestia)
    if not os.access(options.hestia, os.X_OK):
        parser.error(f"{options.hestia} is missing: ./run --build makes it")
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="hestia-bench-") as directory:
        good = run(options, pathlib.Path(directory))
    if not good:
        print("memory: a body was wrong or a bound does not hold", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
