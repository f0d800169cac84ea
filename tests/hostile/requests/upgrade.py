"""Upgrade and WebSocket: refused, or removed and served as plain HTTP/1.1."""

from table import answered, get, head, passed, refused

RULE = "http.md 3.5; RFC 6455 4.2.1"
BODY = "http.md 3.1.4"
OTHER = "http.md 3.5: unknown upgrades are removed"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
BASE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY)
LINES = ("Sec-WebSocket-Version: 13", KEY)
FORWARDED = get(*LINES, "Connection: upgrade", "Upgrade: websocket")


def without(name, *more):
    return get(*(line for line in BASE if not line.startswith(name)), *more)


CASES = [
    passed("WebSocket that the upstream does not want", get(*BASE), RULE, seen=FORWARDED),
    passed("WebSocket in odd case", get("connection: UPGRADE", "upgrade: WebSocket", *LINES), RULE, seen=FORWARDED),
    passed("WebSocket among others", get("Connection: keep-alive, Upgrade", "Upgrade: websocket", *LINES), RULE, seen=FORWARDED),
    *[answered(f"version {value}", without("Sec-WebSocket-Version", f"Sec-WebSocket-Version: {value}"), 426, RULE)
      for value in ("12", "8", "14", "013", "13, 8", "x", "", "13.0")],
    answered("no version", without("Sec-WebSocket-Version"), 426, RULE),
    answered("two versions", get(*BASE, "Sec-WebSocket-Version: 13"), 426, RULE),
    *[refused(f"key {value!r}", without("Sec-WebSocket-Key", f"Sec-WebSocket-Key: {value}"), 400, RULE) for value in (
        "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQ=!",
        "dGhlIHNhbXBsZSBub25 ZQ==", "====", "dGhlIHNhbXBsZSBub25jZSEh", "dGhlIHNhbXBsZSBub2-jZQ==")],
    refused("no key", without("Sec-WebSocket-Key"), 400, RULE),
    refused("two keys", get(*BASE, KEY), 400, RULE),
    refused("a body with a length", get(*BASE, "Content-Length: 5") + "hello", 400, BODY),
    refused("a chunked body", get(*BASE, "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, BODY),
    passed("a body of length 0", get(*BASE, "Content-Length: 0"), BODY,
           seen=get(*LINES, "Content-Length: 0", "Connection: upgrade", "Upgrade: websocket")),
    refused("another upgrade with a body", head("POST /x HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: foo",
                                                "Content-Length: 5", body="hello"), 400, BODY),
    refused("h2c with a body", head("POST /x HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                                    "HTTP2-Settings: AAMAAABk", "Content-Length: 5", body="hello"), 400, BODY),
    passed("h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), OTHER, seen=get()),
    passed("unknown", get("Connection: Upgrade", "Upgrade: foo/2"), OTHER, seen=get()),
    passed("WebSocket without Connection", get("Upgrade: websocket", *LINES), OTHER, seen=get(*LINES)),
    passed("Connection without Upgrade", get("Connection: Upgrade", *LINES), OTHER, seen=get(*LINES)),
    passed("WebSocket by POST", head("POST /x HTTP/1.1", "Host: a", *BASE), OTHER,
           seen=head("POST /x HTTP/1.1", "Host: a", *LINES, "Content-Length: 0")),
    passed("WebSocket in HTTP/1.0", head("GET /x HTTP/1.0", "Host: a", *BASE), OTHER, seen=get(*LINES), closed=True),
    passed("bytes behind a WebSocket that is not wanted are the next request", get(*BASE) + get(target="/two"), RULE,
           seen=[FORWARDED, get(target="/two")]),
]
