"""An HTTP/1.1 client on bare sockets that hides nothing: exact bytes out, exact bytes in, and whether an answer was
complete."""

import base64
import hashlib
import json
import os
import socket
import struct

from waiting import DEADLINE

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Response:
    """A status, its fields in order, and the body with how it ended."""

    def __init__(self, version, status, reason, fields):
        self.version, self.status, self.reason, self.fields = version, status, reason, fields
        self.body = b""
        self.trailers = []
        self.interim = []
        self.complete = False  # the body ended as its framing says
        self.until_close = False

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name):
        found = self.values(name)
        assert len(found) <= 1, f"{name} stands there {len(found)} times: {found}"
        return found[0] if found else None

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()

    @property
    def code(self):
        """error.code of our own error bodies."""
        return self.json["error"]["code"]

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:300]!r} complete={self.complete}>"


def parse_fields(block):
    fields = []
    for line in block.split(b"\r\n"):
        assert b"\n" not in line and b"\r" not in line, f"bare line end in {line!r}"
        name, colon, value = line.partition(b":")
        assert colon and name and name == name.strip(), f"malformed field {line!r}"
        fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return fields


class Closed(Exception):
    """The peer closed or reset before what was asked for came."""


class Connection:
    """One client connection."""

    def __init__(self, port, host="127.0.0.1", tls=None, server_name=None, unix=None, timeout=None,
                 source=None):
        if unix:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(unix))
        else:
            self.sock = socket.create_connection((host, port), timeout=DEADLINE,
                                                 source_address=(source, 0) if source else None)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(timeout or DEADLINE)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name or host)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data)

    def request(self, method, target, fields=(), body=None, host="test", version="HTTP/1.1"):
        """Sends a request; Content-Length is added for a body."""
        lines = [f"{method} {target} {version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += [f"{name}: {value}" for name, value in (fields.items() if isinstance(fields, dict) else fields)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def fill(self):
        try:
            data = self.sock.recv(1 << 16)
        except (ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise AssertionError(f"nothing came; so far {self.pending[:500]!r}") from error
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of file")
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

    def read_some(self):
        """Whatever is there, at least one byte."""
        if not self.pending:
            self.fill()
        found, self.pending = self.pending, b""
        return found

    def read_head(self):
        block = self.read_until(b"\r\n\r\n")
        line, _, rest = block.partition(b"\r\n")
        parts = line.split(b" ", 2)
        assert len(parts) == 3 and parts[0] in (b"HTTP/1.1", b"HTTP/1.0"), f"no status line: {line!r}"
        assert len(parts[1]) == 3 and parts[1].isdigit(), f"no status line: {line!r}"
        return Response(parts[0].decode(), int(parts[1]), parts[2].decode(), parse_fields(rest) if rest else [])

    def read_response(self, method="GET", sink=None):
        """The next final response; `sink(bytes)` takes the body instead of keeping it."""
        interim = []
        response = self.read_head()
        while 100 <= response.status < 200 and response.status != 101:
            interim.append(response)
            response = self.read_head()
        response.interim = interim
        try:
            self.read_body(response, method, sink)
        except Closed:
            response.complete = response.until_close
        return response

    def read_body(self, response, method="GET", sink=None):
        lengths, codings = response.values("Content-Length"), response.values("Transfer-Encoding")
        assert len(lengths) <= 1 and len(codings) <= 1 and not (lengths and codings), response
        if method == "HEAD" or response.status in (101, 204, 304):
            assert not (codings or (lengths and response.status == 204)), response
            response.complete = True
            return
        keep = bytearray()
        sink = sink or keep.extend
        try:
            if codings:
                assert codings[0].lower() == "chunked", response
                self._read_chunks(response, sink)
            elif lengths:
                self._read_length(int(lengths[0]), sink)
            else:
                response.until_close = True
                while True:
                    sink(self.read_some())
            response.complete = True
        finally:
            response.body = bytes(keep)

    def _read_length(self, left, sink):
        while left:
            data = self.read_some()
            self.pending = data[left:]
            data = data[:left]
            left -= len(data)
            sink(data)

    def _read_chunks(self, response, sink):
        while True:
            size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
            if size == 0:
                break
            self._read_length(size, sink)
            assert self.read_exactly(2) == b"\r\n"
        while line := self.read_until(b"\r\n"):
            response.trailers += parse_fields(line)

    def is_closed(self):
        """Waits until the peer has closed; false when it sends more instead."""
        if self.pending:
            return False
        try:
            self.fill()
        except Closed:
            return True
        return False

    # ---- WebSocket

    def upgrade(self, target, host="test", fields=(), key=None):
        """Sends a WebSocket handshake and gives the answer's head."""
        key = key or base64.b64encode(os.urandom(16)).decode()
        self.request("GET", target, [
            ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key), *fields], host=host)
        response = self.read_head()
        if response.status == 101:
            assert response.value("Sec-WebSocket-Accept") == websocket_accept(key)
        else:
            self.read_body(response)
        return response

    def send_frame(self, opcode, payload, mask=True):
        self.send(websocket_frame(opcode, payload, mask))

    def read_frame(self):
        return read_frame(self.read_exactly)


def websocket_accept(key):
    return base64.b64encode(hashlib.sha1(key.encode() + WEBSOCKET_GUID).digest()).decode()


def websocket_frame(opcode, payload, mask):
    size = len(payload)
    head = bytes([0x80 | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    stream = key * (size // 4 + 1)
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(stream[:size], "big")).to_bytes(size, "big")
    return head + key + masked


def read_frame(read_exactly):
    """(opcode, payload) of one frame."""
    first, second = read_exactly(2)
    size = second & 0x7F
    if size == 126:
        size = struct.unpack("!H", read_exactly(2))[0]
    elif size == 127:
        size = struct.unpack("!Q", read_exactly(8))[0]
    key = read_exactly(4) if second & 0x80 else b""
    payload = read_exactly(size)
    if key:
        stream = key * (size // 4 + 1)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(stream[:size], "big")).to_bytes(size, "big")
    return first & 0x0F, payload
