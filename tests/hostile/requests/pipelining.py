"""Several requests in the same bytes."""

from table import chunked, get, head, passed, post, refused

RULE = "http.md 3.4, pipelining; RFC 9112 9.3.2"
ONE, TWO, THREE = (get(target=f"/{name}") for name in ("one", "two", "three"))
BODY = post("Content-Length: 5", body="hello", target="/body")
CHUNKS = post("Transfer-Encoding: chunked", body="5\r\nhello\r\n0\r\n\r\n", target="/chunks")
HEAD = head("HEAD /head HTTP/1.1", "Host: a")

CASES = [
    passed("two", ONE + TWO, RULE, seen=[ONE, TWO]),
    passed("three", ONE + TWO + THREE, RULE, seen=[ONE, TWO, THREE]),
    passed("ten", "".join(get(target=f"/{n}") for n in range(10)), RULE, seen=[get(target=f"/{n}") for n in range(10)]),
    passed("behind a body", BODY + TWO, RULE, seen=[BODY, TWO]),
    passed("behind chunks", CHUNKS + TWO, RULE, seen=[CHUNKS, TWO]),
    passed("behind a trailer", chunked("0\r\nX-T: 1\r\n\r\n") + TWO, RULE, seen=[chunked("0\r\n\r\n"), TWO]),
    passed("behind HEAD", HEAD + TWO, RULE, seen=[HEAD, TWO], methods=["HEAD", "GET"]),
    passed("bodies one after the other", BODY + CHUNKS + BODY, RULE, seen=[BODY, CHUNKS, BODY]),
    passed("an empty line between", ONE + "\r\n" + TWO, "details.md 12, empty lines", seen=[ONE, TWO]),
    passed("two empty lines between", ONE + "\r\n\r\n" + TWO, "details.md 12, empty lines", seen=[ONE, TWO]),
    refused("three empty lines between", ONE + "\r\n\r\n\r\n" + TWO, 400, "details.md 12, empty lines", before=[ONE]),
    passed("an empty line behind a body, as old browsers sent it", BODY + "\r\n" + TWO, "RFC 9112 2.2", seen=[BODY, TWO]),
    passed("behind HTTP/1.0 that keeps alive", head("GET /old HTTP/1.0", "Host: a", "Connection: keep-alive") + TWO, RULE,
           seen=[get(target="/old"), TWO]),
    *[refused(f"second is broken: {name}", ONE + broken + THREE, status, RULE, before=[ONE]) for name, broken, status in (
        ("no Host", "GET /two HTTP/1.1\r\n\r\n", 400), ("garbage", "garbage\r\n\r\n", 400), ("LF", "GET /two HTTP/1.1\nHost: a\n\n", 400),
        ("version", head("GET /two HTTP/2.0", "Host: a"), 505), ("method", head("BREW /two HTTP/1.1", "Host: a"), 501),
        ("TE and CL", post("Transfer-Encoding: chunked", "Content-Length: 5", body="0\r\n\r\n"), 400),
        ("target", head("GET /%zz HTTP/1.1", "Host: a"), 400), ("NUL", "\0", 400))],
    refused("first is broken", "GET /one HTTP/1.1\r\n\r\n" + TWO, 400, RULE),
    refused("first has both framings", post("Content-Length: 4", "Transfer-Encoding: chunked", body="0\r\n\r\n") + TWO, 400, RULE),
    refused("first has an unknown coding", post("Transfer-Encoding: gzip", body="xx") + TWO, 501, RULE),
    refused("first expects magic", get("Expect: magic") + TWO, 417, RULE),
    refused("first has too short a length", post("Content-Length: 3", body="hello") + TWO, (400, 501), RULE,
            before=[post("Content-Length: 3", body="hel")]),
    refused("a chunk is broken, a request behind it", chunked("5\r\nhelloX\r\n0\r\n\r\n") + TWO, 400, RULE, begun=True),
]
