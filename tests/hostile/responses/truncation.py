"""Answers that end early: never a clean end at the client."""

from table import bad, cut, whole

HEAD = "http.md 3.2, early EOF; details.md 1"
BODY = "http.md 3.2, early EOF; http.md 3, preamble"
OK = "HTTP/1.1 200 OK\r\n"
FULL = OK + "Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + "Transfer-Encoding: chunked\r\n\r\n"
EVENTS = OK + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

CASES = [
    *[bad(f"head cut at {n}, {end}", FULL[:n], HEAD, end=end) for end in ("close", "reset")
      for n in (1, 4, 5, 8, 9, 12, 13, 15, 16, 17, 25, 33, 36)],
    bad("nothing, POST", "", HEAD, end="close", method="POST", fields=[("Content-Length", "0")]),
    bad("nothing, GET", "", HEAD, end="close"),
    bad("reset at once", "", HEAD, end="reset", method="POST", fields=[("Content-Length", "0")]),
    *[cut(f"length, {n} of 5 bytes, {version}, {end}", FULL[:len(FULL) - 5 + n], BODY, end=end, version=version, body="hello")
      for n in (0, 1, 4) for version in ("HTTP/1.1", "HTTP/1.0") for end in ("close", "reset")],
    *[cut(f"chunks: {rest!r}, {version}", CHUNKED + rest, BODY, version=version, body="hello!") for version in ("HTTP/1.1", "HTTP/1.0")
      for rest in ("", "5", "5\r", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n", "5\r\nhello\r\n0",
                   "5\r\nhello\r\n0\r", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\n\r", "5\r\nhello\r\n0\r\nX-T: 1",
                   "5\r\nhello\r\n0\r\nX-T: 1\r\n", "5;ext", "ffff\r\nhello!")],
    *[cut(f"chunks: {rest!r}, reset", CHUNKED + rest, BODY, end="reset", body="hello!")
      for rest in ("", "5\r\n", "5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n")],
    *[cut(f"until close, reset, {version}", OK + "\r\nhello", BODY, end="reset", version=version, body="hello")
      for version in ("HTTP/1.1", "HTTP/1.0")],
    cut("length of 2^63-1", OK + "Content-Length: 9223372036854775807\r\n\r\nhello", BODY, body="hello"),
    cut("a status of 404", "HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nhel", BODY, status=404, body="hello"),
    cut("a status of 500", "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nhel", BODY, status=500, body="hello"),
    cut("POST", FULL[:-1], BODY, method="POST", fields=[("Content-Length", "0")], body="hello"),
    *[cut(f"events: {rest!r}", EVENTS + rest, "http.md 3.2, SSE", body="data: one\n\n", event=True) for rest in (
        "b\r\ndata: one\n\n\r\n", "b\r\ndata: one\n\n\r\n0\r\n", "b\r\ndata: o", "16\r\ndata: one\n\n")],
    whole("events that end", EVENTS + "b\r\ndata: one\n\n\r\n0\r\n\r\n", "http.md 3.2, SSE", body="data: one\n\n"),
]
