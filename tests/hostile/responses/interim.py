"""Interim answers, and 101."""

from table import bad, whole

RULE = "http.md 3.4, 1xx from upstream"
FLOOD = "http.md 7, interim count"
SWITCH = "http.md 3.4, 101; http.md 3.5"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE, EARLY = "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n"
LINK = EARLY + "Link: </a>; rel=preload\r\n\r\n"
HINT = (103, {"Link": "</a>; rel=preload"})
SWITCHING = "HTTP/1.1 101 Switching Protocols\r\n"
ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASKED = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
         ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


def switch(*fields):
    return SWITCHING + "".join(f"{field}\r\n" for field in fields) + "\r\n"


CASES = [
    whole("100 that nobody waits for", CONTINUE + OK, RULE, body="ok"),
    whole("102 is dropped", "HTTP/1.1 102 Processing\r\n\r\n" + OK, RULE, body="ok"),
    whole("199 is dropped", "HTTP/1.1 199 Odd\r\n\r\n" + OK, RULE, body="ok"),
    whole("103 is relayed", LINK + OK, RULE, body="ok", interim=[HINT]),
    whole("103 twice", LINK + LINK + OK, RULE, body="ok", interim=[HINT, HINT]),
    whole("103 is not for HTTP/1.0", LINK + OK, RULE, version="HTTP/1.0", body="ok"),
    whole("103 with a length: it has no body", EARLY + "Content-Length: 5\r\n\r\n" + OK, "http.md 3.2", body="ok",
          interim=[(103, {})]),
    whole("103 with chunks: it has no body", EARLY + "Transfer-Encoding: chunked\r\n\r\n" + OK, "http.md 3.2", body="ok",
          interim=[(103, {})]),
    whole("103 with fields of the connection", EARLY + "Connection: X-A\r\nX-A: 1\r\nKeep-Alive: 5\r\nX-B: 2\r\n\r\n" + OK,
          "http.md 3.3", body="ok", interim=[(103, {"X-B": "2"})]),
    whole("100, 102 and 103", CONTINUE + "HTTP/1.1 102 P\r\n\r\n" + LINK + OK, RULE, body="ok", interim=[HINT]),
    *[whole(f"{n} of 100", CONTINUE * n + OK, FLOOD, body="ok") for n in (15, 16)],
    *[bad(f"{n} of 100", CONTINUE * n + OK, FLOOD) for n in (17, 1000)],
    *[whole(f"{n} of 103", LINK * n + OK, FLOOD, body="ok", interim=[HINT] * n) for n in (15, 16)],
    bad("17 of 103", LINK * 17 + OK, FLOOD, interim=[HINT] * 16),
    bad("17 mixed", (CONTINUE + "HTTP/1.1 102 P\r\n\r\n") * 8 + CONTINUE + OK, FLOOD),
    bad("nothing behind 100", CONTINUE, "http.md 3.2, early EOF", end="close", method="POST", fields=[("Content-Length", "0")]),
    bad("nothing behind 103", LINK, "http.md 3.2, early EOF", end="close", method="POST", fields=[("Content-Length", "0")],
        interim=[HINT]),
    bad("garbage behind 100", CONTINUE + "garbage\r\n\r\n", "details.md 12, an upstream's malformed head"),
    bad("garbage behind 103", LINK + "garbage\r\n\r\n", "details.md 12, an upstream's malformed head", interim=[HINT]),
    bad("malformed 100", "HTTP/1.1 100 Continue\r\nX A: 1\r\n\r\n" + OK, "details.md 12, an upstream's malformed head"),
    bad("malformed 103", EARLY + "Link: a\0b\r\n\r\n" + OK, "details.md 12, an upstream's malformed head"),
    bad("a body behind 103", EARLY + "Content-Length: 5\r\n\r\nhello" + OK, "http.md 3.2", interim=[(103, {})]),
    bad("099", "HTTP/1.1 099 Low\r\n\r\n" + OK, "details.md 12, status"),
    # ---- 101
    bad("101 unasked", switch() + OK, SWITCH),
    bad("101 unasked, WebSocket", switch("Connection: Upgrade", "Upgrade: websocket", ACCEPT), SWITCH),
    bad("101 unasked, h2c", switch("Connection: Upgrade", "Upgrade: h2c"), SWITCH),
    bad("101 unasked, behind 103", LINK + switch(), SWITCH, interim=[HINT]),
    bad("101 to an upgrade that was removed", switch("Connection: Upgrade", "Upgrade: foo"), SWITCH,
        fields=[("Connection", "Upgrade"), ("Upgrade", "foo")]),
    *[bad(f"101 {name}", switch(*fields), SWITCH, fields=ASKED) for name, fields in (
        ("without fields", ()), ("without Accept", ("Connection: Upgrade", "Upgrade: websocket")),
        ("with a wrong Accept", ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        ("with an empty Accept", ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept:")),
        ("with Accept in capitals", ("Connection: Upgrade", "Upgrade: websocket", ACCEPT[:22] + ACCEPT[22:].upper())),
        ("with two Accepts", ("Connection: Upgrade", "Upgrade: websocket", ACCEPT, ACCEPT)),
        ("without Connection", ("Upgrade: websocket", ACCEPT)), ("without Upgrade", ("Connection: Upgrade", ACCEPT)),
        ("to another protocol", ("Connection: Upgrade", "Upgrade: h2c", ACCEPT)),
        ("to two protocols", ("Connection: Upgrade", "Upgrade: websocket, h2c", ACCEPT)))],
    whole("200 to an upgrade", OK, SWITCH, fields=ASKED, body="ok"),
    whole("403 to an upgrade", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", SWITCH, fields=ASKED, status=403, body="no"),
]
