"""Fields that end here: those that Connection names, hop-by-hop ones, and those that only we may say."""

from table import chunked, get, head, passed, post, refused

NAMED = "http.md 3.3; details.md 12, Connection; RFC 9110 7.6.1"
HOP = "http.md 3.3, hop by hop"
OURS = "http.md 3.3, what is added"
VIA = "http.md 3.3, Via"


def dropped(name, *fields, keeps=(), rule=NAMED, closed=False):
    return passed(name, get(*fields), rule, seen=get(*keeps), closed=closed)


CASES = [
    # ---- Connection
    *[refused(f"Connection: {value}", get(f"Connection: {value}"), 400, NAMED) for value in (
        "Host", "host", "HOST", "close, Host", "Host, close", "Content-Length", "Transfer-Encoding", "Authorization",
        "X-API-Key", "x-api-key", "keep-alive,authorization", ",,Host", "X-A,\tHost")],
    refused("Connection names Host in a second field", get("Connection: close", "Connection: Host"), 400, NAMED),
    refused("Connection names Content-Length of a body", post("Connection: Content-Length", "Content-Length: 5", body="hello"),
            400, NAMED),
    refused("Connection names Transfer-Encoding of a body", chunked("0\r\n\r\n", "Connection: transfer-encoding"), 400, NAMED),
    dropped("Via named: ours is there all the same", "Connection: Via", "Via: 1.1 other"),
    dropped("a named field goes", "X-A: 1", "Connection: X-A"),
    dropped("a named field goes, whatever its case", "x-a: 1", "Connection: X-A"),
    dropped("a named field goes, named before", "Connection: x-a", "X-A: 1"),
    dropped("every one of a named field goes", "X-A: 1", "X-B: 2", "X-A: 3", "Connection: X-A", keeps=["X-B: 2"]),
    dropped("several named fields go", "X-A: 1", "X-B: 2", "X-C: 3", "Connection: X-A, X-C", keeps=["X-B: 2"]),
    dropped("named in two fields", "Connection: X-A", "X-A: 1", "Connection: X-B", "X-B: 2"),
    dropped("named between empty elements", "Connection: ,, X-A ,,", "X-A: 1"),
    dropped("named with TABs", "Connection:\tX-A\t,\tX-B", "X-A: 1", "X-B: 2"),
    dropped("named and close", "Connection: X-A, close", "X-A: 1", closed=True),
    dropped("Cookie named", "Cookie: a=1", "Connection: Cookie"),
    dropped("Cache-Control named", "Cache-Control: no-cache", "Connection: Cache-Control"),
    dropped("Content-Type named", "Content-Type: text/plain", "Connection: Content-Type"),
    dropped("a name that is not there", "Connection: X-A", "X-B: 1", keeps=["X-B: 1"]),
    dropped("a prefix of a name is no name", "Connection: X-", "X-A: 1", keeps=["X-A: 1"]),
    dropped("a quoted name is no name", 'Connection: "X-A"', "X-B: 1", keeps=["X-B: 1"]),
    dropped("X-Forwarded-For named: ours is there all the same", "Connection: X-Forwarded-For", "X-Forwarded-For: 6.6.6.6"),
    dropped("X-Request-ID named: ours is there all the same", "Connection: X-Request-ID"),
    dropped("empty Connection", "Connection:"),
    dropped("close", "Connection: close", closed=True),
    dropped("CLOSE", "Connection: CLOSE", closed=True),
    dropped("close in a list", "Connection: foo,close ,bar", closed=True),
    dropped("close in a second field", "Connection: keep-alive", "Connection: close", closed=True),
    dropped("keep-alive", "Connection: keep-alive"),
    dropped("closed is not close", "Connection: closed"),
    # ---- hop by hop
    *[dropped(f"{line} ends here", line, rule=HOP) for line in (
        "Keep-Alive: timeout=5", "Proxy-Connection: close", "Proxy-Authenticate: Basic", "Proxy-Authorization: Basic eDp5",
        "Proxy-Authentication-Info: x", "TE: gzip", "TE: deflate;q=0.5", "Trailer: X-A", "Upgrade: foo/1", "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "keep-alive: 1", "KEEP-ALIVE: 1")],
    *[passed(f"{line} asks for trailers", get(line), HOP, seen=get("Connection: TE", "TE: trailers")) for line in (
        "TE: trailers", "TE: Trailers", "TE: gzip, trailers")],
    passed("TE: trailers named by Connection", get("Connection: TE", "TE: trailers"), HOP,
           seen=get("Connection: TE", "TE: trailers")),
    passed("Trailer of a chunked body ends here", chunked("0\r\nX-T: 1\r\n\r\n", "Trailer: X-T"), HOP, seen=chunked("0\r\n\r\n")),
    # ---- ours
    *[dropped(f"{line} is replaced", line, rule=OURS) for line in (
        "X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil",
        "X-Forwarded-Prefix: /evil", "X-Hestia-Error-Source: upstream", "X-Hestia-Anything: 1", "x-hestia-x: 1")],
    dropped("X-Forwarded-For twice is replaced", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 7.7.7.7", rule=OURS),
    *[passed(f"X-Request-ID {value!r} stays", get(f"X-Request-ID: {value}"), OURS, seen=get(f"X-Request-ID: {value}"))
      for value in ("abcdefgh", "A.b_c-9x", "x" * 64)],
    *[dropped(f"X-Request-ID {value!r} is replaced", f"X-Request-ID: {value}", rule=OURS) for value in (
        "a b c d e f", "x" * 65, "abcdefg\xe9", "abcdefgh;", "<script>", "")],
    passed("Via grows", get("Via: 1.0 other"), VIA, seen=get("Via: 1.0 other, 1.1 hestia")),
    passed("Via of two fields grows", get("Via: 1.0 a", "Via: 1.1 b"), VIA, seen=get("Via: 1.0 a, 1.1 b, 1.1 hestia")),
    passed("Via with ourselves once", get("Via: 1.1 hestia"), VIA, seen=get("Via: 1.1 hestia, 1.1 hestia")),
    passed("HTTP/1.0 keep-alive is not forwarded", head("GET /x HTTP/1.0", "Host: a", "Connection: keep-alive",
                                                        "Keep-Alive: 300"), HOP, seen=get()),
]
