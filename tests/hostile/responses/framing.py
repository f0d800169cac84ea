"""How long the body of an answer is."""

from table import bad, cut, whole

CL = "http.md 3.2; RFC 9112 6.3"
TE = "http.md 3.2; details.md 12"
CHUNKS = "http.md 3.2; RFC 9112 7.1"
CLOSE = "http.md 3.2, until close"
EXTRA = "http.md 3.4, extra bytes after an upstream response"
OK = "HTTP/1.1 200 OK\r\n"
HELLO = "5\r\nhello\r\n"
EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def length(value, body="hello"):
    return OK + f"Content-Length:{value}\r\n\r\n" + body


def coding(value, body="0\r\n\r\n"):
    return OK + f"Transfer-Encoding:{value}\r\n\r\n" + body


def chunked(body):
    return coding(" chunked", body)


LENGTHS = [
    whole("length", length(" 5"), CL, body="hello", sees={"Content-Length": ["5"], "Transfer-Encoding": []}),
    whole("length 0", length(" 0", ""), CL),
    whole("length without space", length("5"), CL, body="hello"),
    whole("length with zeros", length(" 0000000000000000005"), CL, body="hello"),
    whole("binary body", length(" 256", "".join(map(chr, range(256)))), CL, body="".join(map(chr, range(256)))),
    whole("a body that looks like an answer", length(f" {len(EVIL)}", EVIL), CL, body=EVIL),
    *[bad(f"length {value!r}", length(value), CL) for value in (
        "", " ", " five", " +5", " -5", " 0x5", " 5.0", " 5, 5", " 5,5", " 5;", " 1 0", ' "5"', " 5_0", " \xb2",
        " 99999999999999999999", " 9223372036854775808", " 18446744073709551621", " 00000000000000000005")],
    bad("two lengths", OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", CL),
    bad("two equal lengths", OK + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", CL),
    bad("two lengths apart", OK + "Content-Length: 5\r\nX-A: 1\r\ncontent-length: 5\r\n\r\nhello", CL),
]

CODINGS = [
    whole("chunked", chunked(HELLO + "0\r\n\r\n"), TE, body="hello",
          sees={"Transfer-Encoding": ["chunked"], "Content-Length": []}),
    whole("chunked in capitals", coding(" CHUNKED", HELLO + "0\r\n\r\n"), TE, body="hello"),
    whole("chunked to HTTP/1.0", chunked(HELLO + "0\r\n\r\n"), TE, version="HTTP/1.0", body="hello",
          sees={"Transfer-Encoding": []}),
    *[bad(f"coding {value!r}", coding(value), TE) for value in (
        "", " gzip", " gzip, chunked", " chunked, gzip", " chunked, chunked", " identity", " xchunked", " chunked,", ' "chunked"',
        " chunked;q=1")],
    bad("coding twice", OK + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", TE),
    bad("coding chunked and identity", OK + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", TE),
    bad("CL and TE", OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", TE),
    bad("TE and CL", OK + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", TE),
    bad("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", TE),
    bad("unknown coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx", TE),
]

CHUNKED = [
    whole("two chunks", chunked(HELLO + "1\r\n!\r\n0\r\n\r\n"), CHUNKS, body="hello!"),
    whole("no chunk", chunked("0\r\n\r\n"), CHUNKS),
    whole("extensions", chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n"), CHUNKS, body="hello"),
    whole("16 digits", chunked("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n"), CHUNKS, body="hello"),
    whole("a chunk that looks like the last", chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), CHUNKS, body="0\r\n\r\n"),
    whole("many chunks", chunked("1\r\nx\r\n" * 40 + "0\r\n\r\n"), CHUNKS, body="x" * 40),
    whole("trailers that nobody asked for", chunked(HELLO + "0\r\nX-T: 1\r\n\r\n"), "details.md 12, trailers", body="hello"),
    whole("trailers that were asked for, but not declared", chunked(HELLO + "0\r\nX-T: 1\r\n\r\n"), "details.md 12, trailers",
          fields=[("Connection", "TE"), ("TE", "trailers")], body="hello"),
    whole("trailers that were declared, but not asked for", OK + "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO
          + "0\r\nX-T: 1\r\n\r\n", "details.md 12, trailers", body="hello"),
    whole("trailers that were asked for and declared", OK + "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO
          + "0\r\nX-T: 1\r\n\r\n", "details.md 12, trailers", fields=[("Connection", "TE"), ("TE", "trailers")], body="hello",
          trailers=[("X-T", "1")]),
    *[cut(f"after a chunk: {rest!r}", chunked(HELLO + rest), CHUNKS, end="keep", body="hello!") for rest in (
        "zz\r\n", "\r\n", " 1\r\nx\r\n", "-1\r\n", "0x1\r\nx\r\n", "1\nx\r\n", "1\rx", "1 \r\nx\r\n", "1\r\n!x\r\n",
        "1\r\n!\n", "1\r\n!0\r\n\r\n", "1;a\rb\r\n", "1;a\0\r\n", "1;\n\r\n", "00000000000000001\r\n", "ffffffffffffffff\r\n",
        "fffffffffffffffff\r\n", "0\r\nbad trailer\r\n", "0\r\n: v\r\n", "0\r\nX-T : v\r\n", "0\r\nX-T: a\0\r\n", "0\r\n\rX",
        "0\n\r\n", "0\r\n\n", "0\r\nContent-Length: 5\r\n\r\n", "0\r\nX-T: 1\r\n folded\r\n\r\n")],
    cut("an extension of 257 bytes", chunked(HELLO + "1;" + "a" * 256 + "\r\n!\r\n0\r\n\r\n"), "http.md 7", end="keep", body="hello!"),
    cut("trailers of more than 8 KiB", chunked(HELLO + "0\r\n" + ("X-T: " + "v" * 993 + "\r\n") * 9 + "\r\n"), "http.md 7",
        end="keep", body="hello"),
]

UNTIL_CLOSE = [
    whole("until close", OK + "\r\nhello", CLOSE, end="close", body="hello", sees={"Transfer-Encoding": ["chunked"]}),
    whole("until close, empty", OK + "\r\n", CLOSE, end="close"),
    whole("until close, to HTTP/1.0", OK + "\r\nhello", CLOSE, end="close", version="HTTP/1.0", body="hello",
          sees={"Transfer-Encoding": []}),
    whole("until close, HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello", CLOSE, end="close", body="hello"),
    whole("until close, with a request behind", OK + "\r\n" + EVIL, CLOSE, end="close", body=EVIL),
    whole("length and close", OK + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", CL, end="close", body="hello",
          sees={"Connection": []}),
    whole("says close, keeps open", OK + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", CL, body="hello", reused=False),
    whole("HTTP/1.0 with a length keeps open", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", CL, body="hello", reused=False),
    whole("HTTP/1.0 with keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", CL,
          body="hello"),
]

EXTRAS = [
    whole("extra bytes behind a length", length(" 5") + "more", EXTRA, body="hello", reused=False),
    whole("an answer behind a length", length(" 5") + EVIL, EXTRA, body="hello", reused=False),
    whole("a line end behind a length", length(" 5") + "\r\n", EXTRA, body="hello", reused=False),
    whole("an answer behind length 0", length(" 0", "") + EVIL, EXTRA, reused=False),
    whole("extra bytes behind chunks", chunked(HELLO + "0\r\n\r\nmore"), EXTRA, body="hello", reused=False),
    whole("an answer behind chunks", chunked(HELLO + "0\r\n\r\n" + EVIL), EXTRA, body="hello", reused=False),
    whole("one byte behind chunks", chunked("0\r\n\r\n\0"), EXTRA, reused=False),
    whole("an interim answer behind", length(" 5") + "HTTP/1.1 100 Continue\r\n\r\n", EXTRA, body="hello", reused=False),
]

CASES = LENGTHS + CODINGS + CHUNKED + UNTIL_CLOSE + EXTRAS
