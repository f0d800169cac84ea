"""Delivers a case in three ways: whole, one byte at a time, and cut in two at every offset.

All ways of a case run side by side, each on a connection of its own, part by part. Between two parts stands a request
for /health: the gateway has one worker, so its answer means that the parts before it have been read, and the cut is one
for the gateway, too.
"""

import re

from gateway import Gateway
from upstream import Script, Upstream
from waiting import SCALE
from wire import Closed, Connection

SMALL = 300  # bytes: up to here every offset and every single byte; beyond it some offsets, and the bytes in one go
OFFSETS = 64
BODY_LIMIT = 20000  # server.limits.body

# What the gateway adds to every request: taken away before the bytes are compared, once each and only if it looks so.
ADDED = {
    b"X-Forwarded-For": rb"X-Forwarded-For: 127\.0\.0\.1\r\n",
    b"X-Forwarded-Proto": rb"X-Forwarded-Proto: http\r\n",
    b"X-Forwarded-Host": rb"X-Forwarded-Host: [^\r\n]+\r\n",
    b"Via": rb"Via: 1\.1 hestia\r\n",
    b"X-Request-ID": rb"X-Request-ID: req_[0-9a-f]{12}\r\n",
}


def offsets(n):
    if n <= SMALL:
        return list(range(1, n))
    step = n / OFFSETS
    # The ends are where most lines end.
    return sorted({*range(1, 40), *(int(step * i) for i in range(1, OFFSETS)), *range(n - 40, n)} - {0})


def ways(data):
    """name: parts. A part is bytes, or a list of bytes to be sent one after the other."""
    found = {"whole": [data]}
    if not data:
        return found
    single = [data[i:i + 1] for i in range(len(data))]
    found["one byte at a time"] = single if len(data) <= SMALL else [single]
    for at in offsets(len(data)):
        found[f"cut at {at}"] = [data[:at], data[at:]]
    return found


def send_part(connection, part):
    try:
        for piece in [part] if isinstance(part, bytes) else part:
            connection.send(piece)
    except OSError:
        pass  # refused already; the answer tells


class Line(Connection):
    """A client that remembers how the gateway ended the connection."""

    end = None

    def fill(self):
        try:
            super().fill()
        except Closed as closed:
            self.end = "end of file" if str(closed) == "end of file" else "reset"
            raise


def without_added(request, port):
    """The request's bytes as the client could have written them."""
    lines, mark, body = request.partition(b"\r\n\r\n")
    lines += b"\r\n"
    for name, pattern in ADDED.items():
        count = len(re.findall(rb"(?im)^" + name + rb":", lines))
        assert count == 1 or (count == 0 and name == b"X-Forwarded-Host"), f"{name} stands {count} times in {lines!r}"
        lines = re.sub(rb"(?m)^" + pattern, b"", lines, count=1)
    return lines.replace(b"Host: 127.0.0.1:%d\r\n" % port, b"Host: UPSTREAM\r\n") + b"\r\n" + body


class Rig:
    def __init__(self, folder):
        self.upstream = Upstream()
        self.gateway = Gateway(folder, {
            "server": {"workers": 1, "drain_seconds": 2, "default_service": "s", "limits": {"body": BODY_LIMIT, "keepalive_requests": 1000000000, "connection_age_seconds": 0},
                       # Nothing here tests them, and a loaded machine is slow.
                       "timeouts": {"head": "100s", "body_min_rate": 0}},
            "monitoring": {"log_level": "INFO"},
            "services": {"s": {"base_url": self.upstream.url, "idle_timeout_ms": 0}},
        }, env={"HESTIA_LOG_LEVEL": None})
        self.gateway.start("s")
        self.control = self.gateway.connect()
        self.count = 0

    def stop(self):
        self.control.close()
        self.gateway.stop()
        self.upstream.close()
        self.check_upstream()

    def check_upstream(self):
        """Complains once, about the case that did it."""
        errors, self.upstream.errors = self.upstream.errors, []
        assert not errors, f"the gateway sent something malformed: {errors}"

    def line(self):
        return Line(self.gateway.port, timeout=30 * SCALE)

    def barrier(self, target="/health"):
        """What was sent before has been read when this returns; with a target of the upstream, what was forwarded before
        stands in the record."""
        self.control.request("GET", target)
        response = self.control.read_response()
        assert response.status == 200, response

    # ---- requests

    def deliver(self, data):
        """{way: connection}, everything sent."""
        lines = {way: (self.line(), parts) for way, parts in ways(data).items()}
        self.send_rounds(list(lines.values()))
        return {way: line for way, (line, _) in lines.items()}

    def send_rounds(self, lines):
        for i in range(max(len(parts) for _, parts in lines)):
            if i:
                self.barrier()
            for line, parts in lines:
                if i < len(parts):
                    send_part(line, parts[i])

    def deliver_stages(self, stages):
        lines = self.deliver(stages[0])
        for stage in stages[1:]:
            for line in lines.values():
                interim = line.read_head()
                assert interim.status == 100, interim
            parts = list(ways(stage).values())
            # There may be more ways of the one than of the other.
            self.send_rounds([(line, parts[i % len(parts)]) for i, line in enumerate(lines.values())])
        return lines

    def take_seen(self):
        """The case's requests as the upstream saw them, without what is ours."""
        self.barrier("/barrier")
        self.check_upstream()
        return [without_added(request, self.upstream.port) for request in self.upstream.take()
                if not request.startswith((b"GET /barrier ", b"GET /after "))]

    def still_works(self, line):
        """The connection is in step: the next request on it gets its own answer."""
        line.request("GET", "/after", host="after")
        response = line.read_response()
        assert (response.status, response.body) == (200, b"GET /after"), response
        assert not line.pending, line.pending

    # ---- responses

    def exchange(self, case):
        """{way: (connection, script)}: the case's request has gone out on each, and the upstream has answered in full."""
        self.count += 1
        opened = {}
        for i, (way, parts) in enumerate(ways(case.data).items()):
            target = f"/r{self.count}/{i}"
            opened[way] = (self.line(), Script(parts, case.end))
            self.upstream.scripts[target.encode()] = opened[way][1]
            opened[way][0].request(case.method, target, case.request_fields, version=case.version)
        self.upstream.wait_asked([script for _, script in opened.values()])
        for _ in range(max(len(script.parts) for _, script in opened.values())):
            self.upstream.release()
            self.barrier()
        return opened
