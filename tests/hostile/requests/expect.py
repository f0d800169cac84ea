"""Expect: 100-continue, and everything else that may be expected."""

from table import get, head, passed, post, refused

RULE = "http.md 3.4, Expect; RFC 9110 10.1.1"
BODY = post("Content-Length: 5", body="hello")
CHUNKS = post("Transfer-Encoding: chunked", body="5\r\nhello\r\n0\r\n\r\n")


def waits(name, expectation="100-continue", **options):
    """The body comes only when 100 Continue has come."""
    return passed(name, [post(f"Expect: {expectation}", "Content-Length: 5"), "hello"], RULE, seen=BODY, **options)


CASES = [
    waits("waits for 100"),
    waits("waits for 100, in capitals", "100-CONTINUE"),
    waits("waits for 100, in odd case", "100-Continue"),
    passed("waits for 100 with chunks", [post("Expect: 100-continue", "Transfer-Encoding: chunked"), "5\r\nhello\r\n0\r\n\r\n"],
           RULE, seen=CHUNKS),
    passed("does not wait", post("Expect: 100-continue", "Content-Length: 5", body="hello"), RULE, seen=BODY),
    passed("does not wait, with chunks", post("Expect: 100-continue", "Transfer-Encoding: chunked",
                                              body="5\r\nhello\r\n0\r\n\r\n"), RULE, seen=CHUNKS),
    passed("expects without a body", get("Expect: 100-continue"), RULE, seen=get()),
    passed("expects with length 0", post("Expect: 100-continue", "Content-Length: 0"), RULE, seen=post("Content-Length: 0")),
    passed("expects and closes", post("Expect: 100-continue", "Connection: close", "Content-Length: 5", body="hello"), RULE,
           seen=BODY, closed=True),
    *[refused(f"expects {value!r}", post(f"Expect: {value}", "Content-Length: 5", body="hello"), 417, RULE) for value in (
        "200-ok", "100-continued", "100", "continue", "100-continue, 100-continue", "100-continue, foo", "foo=bar", "",
        "100-continue;", '"100-continue"', "x-100-continue")],
    refused("expects something without a body", get("Expect: magic"), 417, RULE),
    refused("expects twice", post("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 5", body="hello"), 417, RULE),
    passed("HTTP/1.0 expects: ignored", head("POST /x HTTP/1.0", "Host: a", "Expect: 100-continue", "Content-Length: 5",
                                             body="hello"), RULE, seen=BODY, closed=True),
    passed("HTTP/1.0 expects something else: ignored", head("POST /x HTTP/1.0", "Host: a", "Expect: magic", "Content-Length: 5",
                                                            body="hello"), RULE, seen=BODY, closed=True),
    # The refusal comes without a 100 before it.
    refused("expects, but the framing is broken", post("Expect: 100-continue", "Content-Length: x"), 400, RULE),
    refused("expects, but the body is too long", post("Expect: 100-continue", "Content-Length: 20001"), 413, RULE),
    refused("expects, but the coding is unknown", post("Expect: 100-continue", "Transfer-Encoding: gzip"), 501, RULE),
    refused("expects, but two lengths", post("Expect: 100-continue", "Content-Length: 5", "Content-Length: 5"), 400, RULE),
    refused("expects, but the target is bad", head("POST /%zz HTTP/1.1", "Host: a", "Expect: 100-continue",
                                                   "Content-Length: 5"), 400, RULE),
]
