"""Line ends, the request line, methods and versions."""

from table import answered, first, get, head, passed, post, refused

LINE = "details.md 12, request line; RFC 9112 3"
ENDS = "details.md 12, bare LF or bare CR; RFC 9112 2.2"
EMPTY = "details.md 12, empty lines; RFC 9112 2.2"
METHOD = "details.md 12, methods; RFC 9110 9"
VERSION = "details.md 12, versions; RFC 9112 2.3"

LINE_ENDS = [
    refused("LF everywhere", "GET /x HTTP/1.1\nHost: a\n\n", 400, ENDS),
    refused("LF behind the request line", "GET /x HTTP/1.1\nHost: a\r\n\r\n", 400, ENDS),
    refused("LF behind a field", "GET /x HTTP/1.1\r\nHost: a\nX-A: 1\r\n\r\n", 400, ENDS),
    refused("LF as the empty line", "GET /x HTTP/1.1\r\nHost: a\r\n\n", 400, ENDS),
    refused("LF behind the last field", "GET /x HTTP/1.1\r\nHost: a\n\r\n", 400, ENDS),
    refused("CR everywhere", "GET /x HTTP/1.1\rHost: a\r\r", 400, ENDS),
    refused("CR behind the request line", "GET /x HTTP/1.1\rHost: a\r\n\r\n", 400, ENDS),
    refused("CR behind a field", "GET /x HTTP/1.1\r\nHost: a\rX-A: 1\r\n\r\n", 400, ENDS),
    refused("CR CR LF", "GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, ENDS),
    refused("CR CR LF behind a field", "GET /x HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, ENDS),
    refused("LF CR", "GET /x HTTP/1.1\n\rHost: a\n\r\n\r", 400, ENDS),
    refused("empty line of CR CR LF", "GET /x HTTP/1.1\r\nHost: a\r\n\r\r\n", 400, ENDS),
    refused("CR inside the request line", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400, ENDS),
    refused("vertical tab as a line end", "GET /x HTTP/1.1\x0bHost: a\r\n\r\n", 400, ENDS),
    refused("form feed as a line end", "GET /x HTTP/1.1\r\nHost: a\x0cX-A: 1\r\n\r\n", 400, ENDS),
    refused("NEL as a line end of the request line", "GET /x HTTP/1.1\x85Host: a\r\n\r\n", 400, ENDS),
    passed("one empty line before", "\r\n" + get(), EMPTY, seen=get()),
    passed("two empty lines before", "\r\n\r\n" + get(), EMPTY, seen=get()),
    refused("three empty lines before", "\r\n\r\n\r\n" + get(), 400, EMPTY),
    refused("LF before", "\n" + get(), 400, EMPTY),
    refused("CR before", "\r" + get(), 400, EMPTY),
    refused("CR CR LF before", "\r\r\n" + get(), 400, EMPTY),
    refused("space before", " " + get(), 400, LINE),
    refused("TAB before", "\t" + get(), 400, LINE),
    refused("NUL before", "\0" + get(), 400, LINE),
    refused("byte order mark before", "\xef\xbb\xbf" + get(), 400, LINE),
    refused("a line of spaces before", "  \r\n" + get(), 400, LINE),
]

REQUEST_LINES = [
    *[refused(f"line {line!r}", first(line), 400, LINE) for line in (
        "GET  /x HTTP/1.1", "GET /x  HTTP/1.1", "GET   /x   HTTP/1.1", "GET\t/x HTTP/1.1", "GET /x\tHTTP/1.1",
        "GET\t/x\tHTTP/1.1", "GET /x HTTP/1.1 ", "GET /x HTTP/1.1\t", "GET /x HTTP/1.1 x", "GET /x y HTTP/1.1",
        "GET HTTP/1.1", "GET  HTTP/1.1", "GET", "GET ", "GET /x", "GET /x ", "/x HTTP/1.1", "HTTP/1.1", "GET/x HTTP/1.1",
        "GET /xHTTP/1.1", "GET\x0b/x HTTP/1.1", "GET\xa0/x HTTP/1.1", "GET /x\x0cHTTP/1.1", "GET\0/x HTTP/1.1",
        "GET /x\0HTTP/1.1", "GET /x HTTP/1.1\0", "GET /x HTTP/1.1;", "GET /x HTTP/1.1,", "GET /x, HTTP/1.1,")],
    refused("a field in place of the request line", "Host: a\r\n\r\n", 400, LINE),
    refused("a status line", "HTTP/1.1 200 OK\r\nHost: a\r\n\r\n", 400, LINE),
    refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), (400, None), "http.md 3.7; http.md 3, preamble"),
    refused("binary", b"\x00\xff\xfe" * 40 + b"\r\n\r\n", 400, LINE),
    refused("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, LINE),
    refused("SMTP", "EHLO a\r\n\r\n", 400, LINE),
    refused("PROXY protocol", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(), 400, LINE),
]

METHODS = [
    *[refused(f"method {method!r}", first(f"{method} /x HTTP/1.1"), 501, METHOD) for method in (
        "get", "Get", "gET", "post", "GETX", "XGET", "GE", "G", "BREW", "PROPFIND", "LINK", "PURGE", "OPTION", "FOO-BAR",
        "!#$%&'*+-.^_`|~", "0")],
    *[refused(f"method {method!r}", first(f"{method} /x HTTP/1.1"), 400, METHOD) for method in (
        "G@T", "GET,", "(GET)", "GET:", "G\xc9T", "G\0T", "GET/", '"GET"', "{GET}", "G\x01T", "G\x7fT")],
    refused("TRACE", first("TRACE /x HTTP/1.1"), 405, "http.md 3.4; details.md 12"),
    refused("TRACE with Max-Forwards 0", head("TRACE /x HTTP/1.1", "Host: a", "Max-Forwards: 0"), 405, "http.md 3.4"),
    refused("CONNECT", head("CONNECT a:443 HTTP/1.1", "Host: a:443"), 405, "http.md 3.4; details.md 12"),
    refused("CONNECT with a path", first("CONNECT /x HTTP/1.1"), 405, "http.md 3.4; details.md 12"),
    refused("CONNECT with smuggled bytes behind", head("CONNECT a:443 HTTP/1.1", "Host: a:443", body=get(target="/smuggled")),
            405, "http.md 3.4"),
    *[passed(method, first(f"{method} /x HTTP/1.1"), METHOD, methods=[method]) for method in ("GET", "HEAD", "DELETE")],
    answered("OPTIONS *", first("OPTIONS * HTTP/1.1"), 204, "http.md 3.4; details.md 12"),
    answered("OPTIONS with Max-Forwards 0", head("OPTIONS /x HTTP/1.1", "Host: a", "Max-Forwards: 0"), 204, "http.md 3.4"),
    answered("OPTIONS of a whole host", head("OPTIONS http://a HTTP/1.1", "Host: a"), 204, "RFC 9112 3.2.4"),
    passed("GET with Max-Forwards 0", get("Max-Forwards: 0"), "RFC 9110 7.6.2: only TRACE and OPTIONS"),
]

VERSIONS = [
    *[refused(f"version {version!r}", first(f"GET /x {version}"), 505, VERSION) for version in (
        "HTTP/2.0", "HTTP/2.1", "HTTP/3.0", "HTTP/9.9")],
    *[refused(f"version {version!r}", first(f"GET /x {version}"), 400, VERSION) for version in (
        "HTTP/0.9", "HTTP/0.0", "http/1.1", "Http/1.1", "HTTP/11", "HTTP/1.10", "HTTP/1.01", "HTTP/01.1", "HTTP/1.",
        "HTTP/.1", "HTTP/1", "HTTP/", "HTTP", "HTTP/1,1", "HTTP/1.1.1", "HTTP/a.b", "HTTP/-1.1", "HTTP /1.1", "HTTP/ 1.1",
        "HTTP/1. 1", "HTTPS/1.1", "XTTP/1.1", "HTTP\\1.1", "HTTP/\xb9.\xb9", "HTTP/12.1", "HTTP/1.1HTTP/1.1", "ICY/1.1",
        "HTTP/4294967297.1", "HTTP/1.1\x0b")],
    refused("HTTP/0.9 without a version", "GET /x\r\n\r\n", 400, VERSION),
    refused("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505), VERSION),
    *[passed(f"version 1.{minor}", first(f"GET /x HTTP/1.{minor}"), VERSION, seen=get()) for minor in range(1, 10)],
    passed("HTTP/1.0 closes", head("GET /x HTTP/1.0", "Host: a"), VERSION, seen=get(), closed=True),
    passed("HTTP/1.0 with keep-alive stays", head("GET /x HTTP/1.0", "Host: a", "Connection: keep-alive"), VERSION,
           seen=get()),
    passed("HTTP/1.0 with KEEP-ALIVE stays", head("GET /x HTTP/1.0", "Host: a", "Connection: KEEP-ALIVE"), VERSION,
           seen=get()),
    passed("HTTP/1.0 with Proxy-Connection does not stay", head("GET /x HTTP/1.0", "Host: a", "Proxy-Connection: keep-alive"),
           VERSION, seen=get(), closed=True),
    passed("HTTP/1.0 with close and keep-alive closes", head("GET /x HTTP/1.0", "Host: a", "Connection: keep-alive, close"),
           VERSION, seen=get(), closed=True),
    passed("HTTP/1.0 with a body", head("POST /x HTTP/1.0", "Host: a", "Content-Length: 5", body="hello"), VERSION,
           seen=post("Content-Length: 5", body="hello"), closed=True),
    passed("HTTP/1.0 POST without length has no body", head("POST /x HTTP/1.0", "Host: a"), VERSION,
           seen=post("Content-Length: 0"), closed=True),
]

CASES = LINE_ENDS + REQUEST_LINES + METHODS + VERSIONS
