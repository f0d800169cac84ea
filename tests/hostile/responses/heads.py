"""The head of an answer: the status line, the syntax of the fields, its size."""

from table import bad, whole

RULE = "details.md 12, an upstream's malformed head"
LINE = "details.md 12, an upstream's malformed head; RFC 9112 4"
SIZE = "http.md 7, response head from upstream"
OK = "HTTP/1.1 200 OK\r\n"
END = "Content-Length: 2\r\n\r\nok"
LIMIT = 64 << 10
CONTROLS = [chr(c) for c in range(32) if c not in (9, 10, 13)] + ["\x7f"]


def field(line):
    return OK + line + "\r\n" + END


def sized(n):
    """An answer with a head of n bytes."""
    lines = "".join(f"X-{i}: " + "a" * 8000 + "\r\n" for i in range(7))
    room = n - len(OK + lines + "X-9: \r\n" + END) + 2
    return OK + lines + "X-9: " + "a" * room + "\r\n" + END


NOT_HTTP = [
    *[bad(f"not HTTP: {name}", data, "http.md 3, preamble: bytes that are not HTTP", end="close") for name, data in (
        ("words", "hello, I am not HTTP\r\n\r\n"), ("HTML", "<html><body>hello</body></html>"), ("one byte", "x"),
        ("JSON", '{"ok": true}'), ("an empty line", "\r\n"), ("empty lines before a head", "\r\n\r\n" + OK + END),
        ("SSH", "SSH-2.0-OpenSSH_9.2\r\n"), ("SMTP", "220 mail ESMTP\r\n"), ("FTP", "220 ready\r\n\r\n"),
        ("binary", "\0\x01\x02\x03\r\n\r\n"), ("TLS alert", "\x15\x03\x01\x00\x02\x02\x28"),
        ("HTTP/2 settings", "\0\0\0\x04\0\0\0\0\0"), ("a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a body only", "0\r\n\r\n"), ("a space first", " " + OK + END), ("a byte order mark first", "\xef\xbb\xbf" + OK + END),
        ("ICY", "ICY 200 OK\r\n" + END), ("NUL first", "\0" + OK + END), ("LF first", "\n" + OK + END))],
]

STATUS_LINES = [
    *[bad(f"status line {line!r}", line + "\r\n" + END, LINE) for line in (
        "HTTP/2 200 OK", "HTTP/2.0 200 OK", "HTTP/3 200", "HTTP/0.9 200 OK", "http/1.1 200 OK", "Http/1.1 200 OK",
        "HTTP/1.10 200 OK", "HTTP/1 200 OK", "HTTP/11 200 OK", "HTTP/01.1 200 OK", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 OK",
        "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 2 OK", "HTTP/1.1 abc OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 +20 OK",
        "HTTP/1.1 -20 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 600 OK", "HTTP/1.1 999 OK", "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK", "HTTP/1.1 200\tOK", "HTTP/1.1200 OK", "HTTP/1.1 200OK", "HTTP/1.1 \xb2\xb0\xb0 OK",
        "HTTP /1.1 200 OK", "HTTP/1.1 0200 OK", "HTTP/1.1 0xC8 OK", "HTTPS/1.1 200 OK", "HTTP/1,1 200 OK",
        "HTTP/1.1 200 O\0K", "HTTP/1.1 200 O\x01K", "HTTP/1.1 200 O\x7fK", "HTTP/1.1 200 O\x1bK", "HTTP/1.1 200 O\rK")],
    *[whole(f"status line {line!r}", line + "\r\n" + END, LINE, body="ok") for line in (
        "HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 All is well", "HTTP/1.1 200 caf\xc3\xa9",
        "HTTP/1.1 200 a\tb", "HTTP/1.2 200 OK", "HTTP/1.9 200 OK")],
    *[whole(f"status {status}", f"HTTP/1.1 {status} Odd\r\n" + END, LINE, body="ok", status=status) for status in (
        201, 206, 299, 300, 302, 400, 404, 418, 451, 499, 500, 503, 599)],
]

SYNTAX = [
    *[bad(f"field {line!r}", field(line), RULE) for line in (
        "nonsense", ": v", ":", "X-A : v", "X-A\t: v", "X A: v", "X(A): v", "X-\xe9: v", "X-A: 1\r\n folded",
        "X-A: 1\r\n\tfolded", " X-A: 1", "X-A: 1\nX-B: 2", "X-A: 1\rX-B: 2", "X-A: 1\r", "X\0A: 1", "X-A=1",
        "HTTP/1.1 200 OK", "Content-Length : 2", "Set-Cookie: a=1\n\n<script>")],
    *[bad(f"value with {c!r}", field(f"X-A: a{c}b"), RULE) for c in CONTROLS],
    bad("LF everywhere", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", RULE),
    bad("LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", RULE),
    bad("LF as the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", RULE),
    bad("CR everywhere", "HTTP/1.1 200 OK\rContent-Length: 2\r\rok", RULE),
    bad("CR CR LF", "HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\n\r\nok", RULE),
    whole("bytes from 0x80 to 0xFF", field("X-A: " + "".join(map(chr, range(0x80, 0x100)))), RULE, body="ok",
          sees={"X-A": ["".join(map(chr, range(0x80, 0x100)))]}),
    whole("empty value", field("X-A:"), RULE, body="ok", sees={"X-A": [""]}),
    whole("every token character in a name", field("!#$%&'*+-.^_`|~09azAZ: 1"), RULE, body="ok",
          sees={"!#$%&'*+-.^_`|~09azAZ": ["1"]}),
    whole("an attempt to split the answer", field("X-A: a%0d%0aX-B: b"), RULE, body="ok",
          sees={"X-A": ["a%0d%0aX-B: b"], "X-B": []}),
]

SIZES = [
    *[whole(f"head of {n} bytes", sized(n), SIZE, body="ok") for n in (LIMIT - 1, LIMIT)],
    bad(f"head of {LIMIT + 1} bytes", sized(LIMIT + 1), SIZE),
    bad(f"head of {LIMIT * 2} bytes in one line", OK + "X-A: " + "a" * LIMIT * 2 + "\r\n" + END, SIZE),
    bad("a status line without an end", "HTTP/1.1 200 " + "a" * LIMIT * 2, SIZE),
    bad("fields without an end", OK + "X-A: b\r\n" * 20000, SIZE),
]

CASES = NOT_HTTP + STATUS_LINES + SYNTAX + SIZES
