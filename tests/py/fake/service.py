"""A service for Hestia to start, good or bad as its options say. It keeps its signs in --folder: `starts` (a pid per
start), `requests` (a target per request), `environment`. Levers are files that a test makes there."""

import argparse
import json
import os
import signal
import socket
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--folder", required=True)
parser.add_argument("--ready-when", help="503 on /health until this file exists")
parser.add_argument("--listen-when", help="does not listen before somebody writes into this FIFO")
parser.add_argument("--never-listen", action="store_true")
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--grandchild", action="store_true", help="leaves a process in the background")
parser.add_argument("--escapee", action="store_true", help="leaves a process in a session of its own")
parser.add_argument("--flood", type=int, default=0, help="writes so many KiB to standard output at once")
parser.add_argument("--exit", type=int, help="exits at once with that code")
parser.add_argument("--say", default="", help="writes this line to standard output first")
parser.add_argument("--complain", default="", help="writes this line to standard error first")
parser.add_argument("--slow-stop", help="after SIGTERM waits for somebody to write into this FIFO")
options = parser.parse_args()


def path(name):
    return os.path.join(options.folder, name)


def note(name, line):
    descriptor = os.open(path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


def wait_fifo(name):
    """Blocks until a test opens and closes the FIFO."""
    try:
        os.mkfifo(path(name))
    except FileExistsError:
        pass
    with open(path(name), "rb") as fifo:
        fifo.read()


def leave_behind(name, new_session):
    """A process that outlives its parent, unless its group, or its keeper, is killed."""
    pid = os.fork()
    if pid == 0:
        if new_session:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(name, str(os.getpid()))
        while True:
            signal.pause()


def on_term(number, frame):
    note("terms", str(os.getpid()))
    if options.ignore_term:
        return
    if options.slow_stop:
        threading.Thread(target=lambda: (wait_fifo(options.slow_stop), os._exit(0)), daemon=True).start()
        return
    os._exit(0)


def answer(connection, status, body, fields=()):
    head = [f"HTTP/1.1 {status} Fake", f"Content-Length: {len(body)}", *fields]
    connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)


def stream(connection):
    """Server-sent events, one now, the rest when stream.fifo is opened."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(3):
        event = f"data: {number}\n\n".encode()
        connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
        if number == 0:
            wait_fifo("stream.fifo")
    connection.sendall(b"0\r\n\r\n")


def serve_one(connection, target, body):
    bare = target.partition("?")[0]
    if bare == "/health":
        ready = options.ready_when is None or os.path.exists(path(options.ready_when))
        answer(connection, 200 if ready else 503, b"ok" if ready else b"loading")
    elif bare == "/env":
        answer(connection, 200, json.dumps(dict(os.environ)).encode(), ["Content-Type: application/json"])
    elif bare == "/pid":
        answer(connection, 200, str(os.getpid()).encode())
    elif bare == "/cwd":
        answer(connection, 200, os.getcwd().encode())
    elif bare == "/arguments":
        answer(connection, 200, json.dumps(sys.argv).encode(), ["Content-Type: application/json"])
    elif bare == "/hold":
        wait_fifo("hold.fifo")
        answer(connection, 200, b"held")
    elif bare == "/stream":
        stream(connection)
    elif bare == "/say":
        print(target.partition("?")[2], flush=True)
        answer(connection, 200, b"said")
    elif bare == "/crash":
        os._exit(3)
    else:
        answer(connection, 200, body or b"fake " + target.encode())


def serve(connection):
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            data = connection.recv(65536)
            if not data:
                return
            pending += data
        head, _, pending = pending.partition(b"\r\n\r\n")
        target = head.split(b" ", 2)[1].decode()
        size = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        while len(pending) < size:
            pending += connection.recv(65536)
        body, pending = pending[:size], pending[size:]
        note("requests", target)
        serve_one(connection, target, body)


def serve_quietly(connection):
    try:
        serve(connection)
    except OSError:
        pass
    connection.close()


signal.signal(signal.SIGTERM, on_term)
note("starts", str(os.getpid()))
if options.say:
    print(options.say, flush=True)
if options.complain:
    print(options.complain, file=sys.stderr, flush=True)
if options.flood:
    line = b"flood " * 170 + b"...\n"
    for _ in range(options.flood):
        os.write(1, line)
    note("flooded", "yes")
if options.exit is not None:
    sys.exit(options.exit)
if options.grandchild:
    leave_behind("grandchild", new_session=False)
if options.escapee:
    leave_behind("escapee", new_session=True)
if options.listen_when:
    wait_fifo(options.listen_when)
if options.never_listen:
    while True:
        signal.pause()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", options.port))
listener.listen(512)
note("listening", str(listener.getsockname()[1]))
while True:
    try:
        accepted, _ = listener.accept()
    except InterruptedError:
        continue
    threading.Thread(target=serve_quietly, args=(accepted,), daemon=True).start()
