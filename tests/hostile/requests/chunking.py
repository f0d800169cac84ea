"""The chunked coding, byte by byte."""

from table import chunked, passed, refused

RULE = "http.md 7; RFC 9112 7.1"
EXTENSION = "http.md 7, chunk extensions; RFC 9112 7.1.1"
TRAILER = "details.md 12, trailers; RFC 9112 7.1.2"
END = "0\r\n\r\n"


def broken(name, body, rule=RULE):
    return refused(name, chunked(body), 400, rule, begun=True)


def clean(name, body, rule=RULE, seen=None):
    return passed(name, chunked(body), rule, seen=chunked(body if seen is None else seen))


def trailers(n):
    """A trailer section of n bytes, without the empty line."""
    line = "X-T: {}\r\n"
    left, lines = n, []
    while left:
        part = left if left <= 1000 else 900
        lines.append(line.format("v" * (part - len(line.format("")))))
        left -= part
    return "".join(lines)


SIZES = [
    clean("one chunk", "5\r\nhello\r\n" + END),
    clean("two chunks", "5\r\nhello\r\n1\r\n!\r\n" + END),
    clean("no chunk", END),
    clean("size in capitals", "A\r\n0123456789\r\n" + END),
    clean("size in small letters", "a\r\n0123456789\r\n" + END),
    clean("a chunk that looks like the last", "5\r\n0\r\n\r\n\r\n" + END),
    clean("a chunk of line ends", "6\r\n\r\n\n\r\n\n\r\n" + END),
    clean("a chunk with a request inside", "23\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n" + END),
    *[broken(f"size {size!r}", f"{size}\r\nhello\r\n" + END) for size in (
        "", " 5", "5 ", "\t5", "5\t", "+5", "-5", "0x5", "0X5", "5h", "g", "5g", "5,", "5.0", "5_", "\xb2", "5 5", "5\x0b",
        "5\0", '"5"', "five", "5\r", "\n5", "5\x0c", "-0", "5%20", "5=")],
    broken("size ends in LF", "5\nhello\r\n" + END),
    broken("size ends in CR", "5\rhello\r\n" + END),
    broken("size ends in LF CR", "5\n\rhello\r\n" + END),
    broken("data ends in LF", "5\r\nhello\n" + END),
    broken("data ends in CR", "5\r\nhello\r0\r\n\r\n"),
    broken("data without an end", "5\r\nhello0\r\n\r\n"),
    broken("data too long by one", "5\r\nhello!\r\n" + END),
    broken("data too short by one", "6\r\nhello\r\n0\r\n\r\n"),
    broken("an empty line between chunks", "5\r\nhello\r\n\r\n" + END),
    broken("last chunk ends in LF", "5\r\nhello\r\n0\n\r\n"),
    broken("end of the body is LF", "5\r\nhello\r\n0\r\n\n"),
    broken("end of the body is CR and more", "5\r\nhello\r\n0\r\n\rX"),
    broken("last chunk of words", "5\r\nhello\r\nzero\r\n\r\n"),
    broken("data overruns into a request", "2\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
]

LIMITS = [
    clean("15 digits of size", "000000000000005\r\nhello\r\n" + END),
    clean("16 digits of size", "0000000000000005\r\nhello\r\n" + END),
    broken("17 digits of size", "00000000000000005\r\nhello\r\n" + END),
    clean("16 zeros as the last chunk", "5\r\nhello\r\n0000000000000000\r\n\r\n", seen="5\r\nhello\r\n0000000000000000\r\n\r\n"),
    broken("17 zeros as the last chunk", "5\r\nhello\r\n00000000000000000\r\n\r\n"),
    broken("size beyond 2^63", "8000000000000000\r\nhello\r\n"),
    broken("size of 2^64-1", "ffffffffffffffff\r\nhello\r\n"),
    broken("size of 2^64", "10000000000000000\r\nhello\r\n"),
    broken("size of 2^64+5", "10000000000000005\r\nhello\r\n" + END),
]

EXTENSIONS = [
    *[clean(f"extension {text!r}", f"5{text}\r\nhello\r\n" + END, EXTENSION, seen="5\r\nhello\r\n" + END) for text in (
        ";a", ";a=b", ';a="b"', ";a;b", ";a=b;c=d", ';a="b;c"', ';a=""', ';a=" \t"', ";a=!#$%&'*+-.^_`|~")],
    clean("extension of the last chunk", "5\r\nhello\r\n0;a=b\r\n\r\n", EXTENSION, seen="5\r\nhello\r\n" + END),
    *[broken(f"extension {text!r}", f"5{text}\r\nhello\r\n" + END, EXTENSION) for text in (
        ";a\n", ";a\rb", ";a\0b", ";a\x01", ";a\x7f", ';a="b', ';a="b\n"', ';a="b\0"', ";a=b\rc", ";\r", ";a=\n")],
    # Two readings of a line end inside an extension are the known ways of smuggling through it.
    broken("extension with LF and a size", "5;\n5\r\nhello\r\n" + END, EXTENSION),
    broken("extension with a quoted line end", '5;a="\r\n5\r\nhello\r\n' + END, EXTENSION),
    clean("extension of 255 bytes", f"5;{'a' * 254}\r\nhello\r\n" + END, EXTENSION, seen="5\r\nhello\r\n" + END),
    clean("extension of 256 bytes", f"5;{'a' * 255}\r\nhello\r\n" + END, EXTENSION, seen="5\r\nhello\r\n" + END),
    broken("extension of 257 bytes", f"5;{'a' * 256}\r\nhello\r\n" + END, EXTENSION),
    clean("extensions of 16 KiB - 1 in all", f"1;{'a' * 255}\r\nx\r\n" * 63 + f"1;{'a' * 254}\r\nx\r\n" + END, EXTENSION,
          seen="1\r\nx\r\n" * 64 + END),
    clean("extensions of 16 KiB in all", f"1;{'a' * 255}\r\nx\r\n" * 64 + END, EXTENSION, seen="1\r\nx\r\n" * 64 + END),
    broken("extensions of 16 KiB + 1 in all", f"1;{'a' * 254}\r\nx\r\n" * 63 + f"1;{'a' * 255}\r\nx\r\n" + "1;" + "a" * 63
           + "\r\nx\r\n" + END, EXTENSION),
]

TRAILERS = [
    clean("a trailer", "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n", TRAILER, seen="5\r\nhello\r\n" + END),
    clean("two trailers", "5\r\nhello\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n", TRAILER, seen="5\r\nhello\r\n" + END),
    clean("an empty trailer", "5\r\nhello\r\n0\r\nX-T:\r\n\r\n", TRAILER, seen="5\r\nhello\r\n" + END),
    *[broken(f"trailer {text!r}", f"5\r\nhello\r\n0\r\n{text}\r\n\r\n", TRAILER) for text in (
        "nonsense", ": v", "X T: v", "X-T : v", "X-T: a\0b", "X-T: a\rb", "X-T: a\nX-U: b", "X-T: v\r\n folded", " X-T: v",
        "X-T: \x7f", "X(T): v", "X-T: \x01")],
    *[broken(f"trailer that may only be a header: {name}", f"5\r\nhello\r\n0\r\n{name}: 1\r\n\r\n", "RFC 9110 6.5.1")
      for name in ("Content-Length", "Transfer-Encoding", "Host", "Authorization", "Connection", "Trailer")],
    clean("trailers of 8 KiB - 1", "1\r\nx\r\n0\r\n" + trailers(8191) + "\r\n", TRAILER, seen="1\r\nx\r\n" + END),
    clean("trailers of 8 KiB", "1\r\nx\r\n0\r\n" + trailers(8192) + "\r\n", TRAILER, seen="1\r\nx\r\n" + END),
    broken("trailers of 8 KiB + 1", "1\r\nx\r\n0\r\n" + trailers(8193) + "\r\n", TRAILER),
]

CASES = SIZES + LIMITS + EXTENSIONS + TRAILERS
