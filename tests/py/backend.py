"""An upstream that does exactly what a test tells it, byte by byte, and remembers exactly what it was sent."""

import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading

from ports import bound_socket
from waiting import DEADLINE, eventually
from wire import parse_fields, read_frame, websocket_accept, websocket_frame


class Request:
    """One request as it came."""

    def __init__(self, head, connection):
        self.head = head  # bytes up to the empty line
        line, _, rest = head.partition(b"\r\n")
        self.line = line.decode("latin-1")
        self.method, self.target, self.version = self.line.split(" ")
        self.fields = parse_fields(rest) if rest else []
        self.connection = connection  # number of the connection it came on
        self.body = b""
        self.trailers = []
        self.complete = False

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name):
        found = self.values(name)
        assert len(found) <= 1, f"{name} stands there {len(found)} times: {found}"
        return found[0] if found else None

    def __repr__(self):
        return f"<{self.line} {self.fields} {len(self.body)} bytes>"


class Gone(Exception):
    """The gateway closed the connection."""


class Peer:
    """One connection from the gateway; handlers write to it."""

    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.pending = b""
        self.closing = False
        self.lock = threading.Lock()

    def fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except (OSError, ssl.SSLError) as error:
            raise Gone(str(error)) from error
        if not data:
            raise Gone("end of file")
        self.pending += data

    def read_until(self, mark):
        while mark not in self.pending:
            self.fill()
        found, _, self.pending = self.pending.partition(mark)
        return found

    def read_exactly(self, count):
        while len(self.pending) < count:
            self.fill()
        found, self.pending = self.pending[:count], self.pending[count:]
        return found

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (OSError, ssl.SSLError) as error:
            raise Gone(str(error)) from error

    def respond(self, status=200, body=b"", fields=(), reason="OK"):
        """A plain response with Content-Length."""
        if isinstance(body, (dict, list)):
            body, fields = json.dumps(body).encode(), [("Content-Type", "application/json"), *fields]
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields),
                 f"Content-Length: {len(body)}"]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def begin_chunked(self, fields=(), status=200):
        lines = [f"HTTP/1.1 {status} OK", *(f"{name}: {value}" for name, value in fields),
                 "Transfer-Encoding: chunked"]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def close(self):
        """After this response."""
        self.closing = True

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closing = True
        self.sock.close()

    def body_parts(self, request):
        """The parts of the request's body as they come."""
        codings = request.values("Transfer-Encoding")
        if codings:
            assert codings == ["chunked"] and not request.values("Content-Length"), request
            while size := int(self.read_until(b"\r\n").partition(b";")[0], 16):
                yield self.read_exactly(size)
                assert self.read_exactly(2) == b"\r\n"
            while line := self.read_until(b"\r\n"):
                request.trailers += parse_fields(line)
        else:
            left = int(request.value("Content-Length") or 0)
            while left:
                if not self.pending:
                    self.fill()
                part, self.pending = self.pending[:left], self.pending[left:]
                left -= len(part)
                yield part
        request.complete = True

    def is_closed(self):
        """Waits until the gateway has closed this connection."""
        try:
            while True:
                self.fill()
        except Gone:
            return True


@contextlib.contextmanager
def deaf_listener():
    """The port of a listener that is full: it does not even answer a SYN."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def answer_ok(peer, request):
    peer.respond(200, b"ok", [("Content-Type", "text/plain")])


def answer_sha256(peer, request):
    """Reads the body without keeping it, and answers with its length and hash."""
    digest, size = hashlib.sha256(), 0
    for part in peer.body_parts(request):
        digest.update(part)
        size += len(part)
    peer.respond(200, {"size": size, "sha256": digest.hexdigest()})


answer_sha256.reads_body = True


def answer_websocket_echo(peer, request):
    """Accepts, then echoes every frame until a close frame or the end."""
    key = request.value("Sec-WebSocket-Key")
    peer.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              f"Sec-WebSocket-Accept: {websocket_accept(key)}\r\n\r\n".encode())
    peer.close()
    while True:
        opcode, payload = read_frame(peer.read_exactly)
        peer.send(websocket_frame(opcode, payload, mask=False))
        if opcode == 8:
            return


def raw(data, close=True):
    """A handler that sends these bytes and, usually, closes."""

    def answer(peer, request):
        peer.send(data)
        if close:
            peer.close()

    return answer


class Backend:
    """`handler(peer, request)` answers everything, unless `on(path, handler)` knows better."""

    def __init__(self, handler=answer_ok, tls=None, unix=None, port=None):
        self.handler = handler
        self.handlers = {}
        self.requests = []
        self.connections = 0
        self.peers = []
        self.changed = threading.Condition()
        self.errors = []
        self.tls = tls
        if unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(unix))
            self.port, self.url = None, f"unix:{unix}"
        else:
            self.listener = bound_socket(port)
            self.port = self.listener.getsockname()[1]
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.listener.listen(512)
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path, handler):
        """Answers requests for this path (without query)."""
        self.handlers[path] = handler
        return self

    def close(self):
        """Refuses new connections and ends the open ones."""
        self.open = False
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.changed:
            peers = list(self.peers)
        for peer in peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                number = self.connections
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        try:
            sock.settimeout(DEADLINE * 3)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            peer = Peer(sock, number)
            with self.changed:
                self.peers.append(peer)
            while not peer.closing:
                self._serve_one(peer)
        except (Gone, OSError):
            pass
        except Exception as error:  # a malformed request from the gateway: the test must see it
            self.errors.append(error)
            raise
        finally:
            sock.close()

    def _serve_one(self, peer):
        request = Request(peer.read_until(b"\r\n\r\n"), peer.number)
        handler = self.handlers.get(request.target.partition("?")[0], self.handler)
        if not getattr(handler, "reads_body", False) and not request.values("Upgrade"):
            request.body = b"".join(peer.body_parts(request))
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        handler(peer, request)

    def wait_requests(self, count):
        """The first `count` requests, when they have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, DEADLINE), (
                f"{len(self.requests)} requests came, not {count}")
            return self.requests[:count]

    @property
    def last(self):
        return self.requests[-1]

    def paths(self):
        return [request.target for request in self.requests]

    def wait_path(self, target):
        """The first request with that target."""
        return eventually(lambda: next((r for r in self.requests if r.target == target), None), f"request {target}")


def header_reader(handler):
    """Marks a handler that is called at the head, and reads the body itself."""
    handler.reads_body = True
    return handler
