"""An upstream on one thread that keeps every byte it is sent and answers by script.

Whatever has come is read before anything is answered. An answer therefore proves that all that the gateway had sent
before it stands in the record: that nothing was forwarded is shown by the answer to a later request.
"""

import contextlib
import select
import selectors
import socket
import struct
import threading

from waiting import DEADLINE, eventually


def head_fields(head):
    """(lower-case name, value) of each field line behind the first line."""
    lines = head.split(b"\r\n")[1:]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


def chunks_length(data, at):
    """Where the chunked body that begins at `at` ends; None when it is not over."""
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at:end].partition(b";")[0], 16)
        at = end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        assert data[at + size:at + size + 2] == b"\r\n", f"a chunk does not end in CR LF: {data[at:at + size + 20]!r}"
        at += size + 2
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        if end == at:
            return end + 2
        at = end + 2


def request_length(data):
    """Length of the request at the start of data; None when it is not complete. Strict: the gateway may send nothing
    that could be read in two ways."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end]
    assert b"\n" not in head.replace(b"\r\n", b"") and b"\r" not in head.replace(b"\r\n", b""), f"bare CR or LF: {head!r}"
    fields = head_fields(head)
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    assert len(lengths) + len(codings) <= 1, f"ambiguous framing: {head!r}"
    if codings:
        assert codings == [b"chunked"], f"unknown coding: {head!r}"
        return chunks_length(data, end + 4)
    if lengths:
        assert lengths[0].isdigit(), f"malformed length: {head!r}"
        total = end + 4 + int(lengths[0])
        return total if len(data) >= total else None
    return end + 4


class Link:
    """One connection from the gateway."""

    def __init__(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.sock = sock
        self.data = b""
        self.parts = []  # of the answer, still to be sent
        self.end = "keep"
        self.closed = False  # by the gateway
        self.over = False  # by us or by the gateway

    def read(self):
        """Everything that is there."""
        while not self.over:
            try:
                data = self.sock.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.closed = self.over = True
                return
            self.data += data

    def send(self, data):
        while data:
            try:
                data = data[self.sock.send(data):]
            except BlockingIOError:
                select.select([], [self.sock], [], DEADLINE)

    def send_part(self):
        """The next part of the answer; behind the last one what its end is to be."""
        if not self.parts:
            return
        part = self.parts.pop(0)
        with contextlib.suppress(OSError):  # the gateway may have had enough
            for piece in [part] if isinstance(part, bytes) else part:
                self.send(piece)
        if self.parts or self.end == "keep":
            return
        if self.end == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.over = True


class Script:
    """How requests for one target are answered: `parts` one after the other, one at each release()."""

    def __init__(self, parts, end="keep", waits=True):
        self.parts, self.end, self.waits = parts, end, waits
        self.link = None  # the last connection that asked for it


def default_answer(request):
    """200; the body says which request it answers."""
    method, target, _ = request.partition(b"\r\n")[0].split(b" ")
    body = (method + b" " + target)[:60]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head if method == b"HEAD" else head + body


class Upstream:
    """`requests` are the complete requests, byte by byte; `halves()` those that were begun only."""

    def __init__(self):
        self.scripts = {}
        self.requests = []
        self.errors = []
        self.links = []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.wake, self.woken = socket.socketpair()
        self.ordered, self.done = [], threading.Event()
        self.changed = threading.Condition()  # of a script: somebody asked for it
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.open = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # ---- for the test's thread

    def order(self, action):
        """Lets the upstream's thread do it, and waits until that is done."""
        self.done.clear()
        self.ordered.append(action)
        self.wake.send(b"!")
        assert self.done.wait(DEADLINE), "the upstream's thread hangs"

    def wait_asked(self, scripts):
        """Every one of them has been asked for, each on a connection of its own."""
        with self.changed:
            assert self.changed.wait_for(lambda: all(script.link for script in scripts), DEADLINE), "requests are missing"

    def release(self):
        """Every answer under way gets its next part."""
        self.order(lambda: [link.send_part() for link in self.links])

    def take(self):
        """The complete requests since the last call."""
        taken = []

        def swap():
            taken.extend(self.requests)
            self.requests.clear()

        self.order(swap)
        return taken

    def halves(self):
        """What was begun on a connection that the gateway has not given up."""
        return [link.data for link in list(self.links) if link.data and not link.over]

    def wait_no_halves(self):
        eventually(lambda: not self.halves(), "the gateway gives up the half requests")

    def close(self):
        self.open = False
        self.wake.send(b"!")
        self.thread.join(DEADLINE)

    # ---- the upstream's thread

    def _run(self):
        while self.open:
            self._read_all(None)
            while self._read_all(0):
                pass
            for link in list(self.links):
                try:
                    self._answer(link)
                except Exception as error:
                    self.errors.append(error)
                    link.data, link.over = b"", True
                if link.over:
                    self._forget(link)
            self._obey()
        for link in self.links:
            link.sock.close()
        self.listener.close()

    def _obey(self):
        while self.ordered:
            self.ordered.pop(0)()
            for link in [link for link in self.links if link.over]:
                self._forget(link)
            self.done.set()

    def _read_all(self, timeout):
        """Whether anything had come."""
        ready = self.selector.select(timeout)
        for key, _ in ready:
            if key.fileobj is self.listener:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        link = Link(self.listener.accept()[0])
                        self.links.append(link)
                        self.selector.register(link.sock, selectors.EVENT_READ, link)
                        link.read()
            elif key.fileobj is self.woken:
                self.woken.recv(4096)
            elif not key.data.over:
                key.data.read()
            if key.data and key.data.over and key.fileobj in self.selector.get_map():
                self.selector.unregister(key.fileobj)
        return bool(ready)

    def _answer(self, link):
        while link.data and not link.parts:
            length = request_length(link.data)
            if length is None:
                return
            request, link.data = link.data[:length], link.data[length:]
            self.requests.append(request)
            target = request.partition(b"\r\n")[0].split(b" ")[1]
            script = self.scripts.get(target) or Script([default_answer(request)], waits=False)
            link.parts, link.end = list(script.parts), script.end
            if not script.waits or script.link:  # a second time: the gateway tries again on another connection
                link.send_part()
            with self.changed:
                script.link = link
                self.changed.notify_all()

    def _forget(self, link):
        if link not in self.links:
            return
        if link.sock in self.selector.get_map():
            self.selector.unregister(link.sock)
        link.sock.close()
        self.links.remove(link)
