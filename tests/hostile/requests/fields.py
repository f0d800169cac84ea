"""Field lines: names, values, folding."""

from table import get, head, passed, refused

NAME = "details.md 12, field names; RFC 9112 5.1"
VALUE = "details.md 12, values; RFC 9110 5.5"
FOLD = "details.md 12, obs-fold; RFC 9112 5.2"
ALIAS = "http.md 3.3; details.md 12, underscores"

NOT_TOKEN = '"(),/;<=>?@[\\]{}\0\x01\x08\x1f\x7f\x80\xa0\xe9\xff'
CONTROLS = [chr(c) for c in range(32) if c not in (9, 10, 13)] + ["\x7f"]

NAMES = [
    *[refused(f"name with {c!r}", get(f"X{c}A: 1"), 400, NAME) for c in NOT_TOKEN + " \t"],
    *[refused(f"space {where}", get(line), 400, NAME) for where, line in (
        ("before the colon", "X-A : 1"), ("before the colon, twice", "X-A  : 1"), ("at the start of a later line", " X-A: 1"))],
    refused("TAB before the colon", get("X-A\t: 1"), 400, NAME),
    refused("Host with space before the colon", "GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400, NAME),
    refused("empty name", get(": 1"), 400, NAME),
    refused("only a colon", get(":"), 400, NAME),
    refused("two colons first", get("::"), 400, NAME),
    refused("no colon", get("nonsense"), 400, NAME),
    refused("no colon, with a space", get("X-A 1"), 400, NAME),
    refused("equals sign for a colon", get("X-A=1"), 400, NAME),
    refused("a second request line", get("GET /smuggled HTTP/1.1"), 400, NAME),
    passed("every token character in a name", get("!#$%&'*+-.^_`|~09azAZ: 1"), NAME),
    passed("name of one letter", get("X: 1"), NAME),
    passed("name of digits", get("123: 1"), NAME),
    passed("name in odd case", get("x-ODD-cAsE: 1"), "http.md 3.3: what is not ours passes"),
    passed("name of 1000 letters", get("X" * 1000 + ": 1"), "http.md 7, field line"),
    passed("the same field twice", get("X-A: 1", "X-A: 2"), "RFC 9110 5.3: the order stays"),
    passed("the same field twice, others between", get("X-A: 1", "X-B: 3", "x-a: 2"), "RFC 9110 5.3: the order stays"),
]

FOLDS = [
    refused("folded with a space", get("X-A: 1", " 2"), 400, FOLD),
    refused("folded with a TAB", get("X-A: 1", "\t2"), 400, FOLD),
    refused("folded, empty first", get("X-A:", " 1"), 400, FOLD),
    refused("folded line of white space only", get("X-A: 1", " "), 400, FOLD),
    refused("folded line that looks like a field", get("X-A: 1", " Content-Length: 5"), 400, FOLD),
    refused("first field line folded", head("GET /x HTTP/1.1", " Host: a", "Host: a"), 400, FOLD),
    refused("first field line begins with TAB", head("GET /x HTTP/1.1", "\tX-A: 1", "Host: a"), 400, FOLD),
    refused("Host folded", "GET /x HTTP/1.1\r\nHost:\r\n a\r\n\r\n", 400, FOLD),
    refused("end of the head folded", "GET /x HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400, FOLD),
]

VALUES = [
    *[refused(f"value with {c!r}", get(f"X-A: a{c}b"), 400, VALUE) for c in CONTROLS],
    *[refused(f"value that is {c!r}", get(f"X-A: {c}"), 400, VALUE) for c in "\0\x0b\x0c\x7f"],
    refused("NUL before the value", get("X-A:\0 1"), 400, VALUE),
    refused("NUL at the end of the line", get("X-A: 1\0"), 400, VALUE),
    refused("LF in a value", get("X-A: a\nX-B: b"), 400, "details.md 12, bare LF"),
    refused("CR in a value", get("X-A: a\rX-B: b"), 400, "details.md 12, bare CR"),
    refused("CR at the end of a value", get("X-A: a\r"), 400, "details.md 12, bare CR"),
    refused("control in a known field", get("User-Agent: a\x01b"), 400, VALUE),
    refused("control in Cookie", get("Cookie: a=\x00"), 400, VALUE),
    passed("bytes from 0x80 to 0xFF", get("X-A: " + "".join(map(chr, range(0x80, 0x100)))), VALUE),
    passed("every visible character", get("X-A: " + "".join(map(chr, range(0x21, 0x7f)))), VALUE),
    passed("UTF-8", get("X-A: caf\xc3\xa9 \xe2\x98\x83"), VALUE),
    passed("broken UTF-8", get("X-A: \xc3\x28 \xff\xfe"), VALUE),
    passed("TAB inside a value", get("X-A: a\tb"), VALUE),
    passed("empty value", get("X-A:"), VALUE),
    passed("empty value behind a space", get("X-A: "), VALUE),
    passed("no space behind the colon", get("X-A:1"), VALUE),
    passed("colons in a value", get("X-A: a:b::c"), VALUE),
    passed("white space around a value", get("X-A: \t 1 \t "), VALUE),
    passed("quotes that never end", get('X-A: "a'), VALUE),
    passed("commas only", get("X-A: ,,,"), VALUE),
]

ALIASES = [
    *[refused(f"alias {name}", get(f"{name}: 1"), 400, ALIAS) for name in (
        "Content_Length", "content_length", "Transfer_Encoding", "TRANSFER_ENCODING", "X_Forwarded_For", "X-Forwarded_For",
        "X_Forwarded-Proto", "X_Forwarded_Host", "X_Request_ID", "X-Request_ID", "X_API_Key", "X_Hestia_User",
        "X-Hestia_User", "x_hestia_error_source", "X_Real_IP")],
    passed("underscore names of others", get("my_field: 1", "_: 2", "X_A: 3"), ALIAS),
    passed("name that begins like an alias", get("Content_Lengths: 5", "X_Forwarder: 1"), ALIAS),
]

CASES = NAMES + FOLDS + VALUES + ALIASES
