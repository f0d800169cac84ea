"""Answers that have no body, whatever their fields say."""

from table import bad, whole

RULE = "http.md 3.2; RFC 9112 6.3"
OK = "HTTP/1.1 200 OK\r\n"
NO_CONTENT, NOT_MODIFIED = "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304 Not Modified\r\n"
EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def head(name, data, **options):
    return whole(name, data, RULE, method="HEAD", **options)


CASES = [
    head("HEAD with a length", OK + "Content-Length: 5\r\n\r\n", sees={"Content-Length": ["5"]}),
    head("HEAD with chunks", OK + "Transfer-Encoding: chunked\r\n\r\n", sees={"Content-Length": []}),
    head("HEAD without framing", OK + "\r\n"),
    head("HEAD with a great length", OK + "Content-Length: 9223372036854775807\r\n\r\n",
         sees={"Content-Length": ["9223372036854775807"]}),
    head("HEAD with a body", OK + "Content-Length: 5\r\n\r\nhello", reused=False),
    head("HEAD with chunks that come", OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", reused=False),
    head("HEAD with an answer behind", OK + "Content-Length: 0\r\n\r\n" + EVIL, reused=False),
    head("HEAD 404", "HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n", status=404),
    head("HEAD that closes", OK + "Connection: close\r\nContent-Length: 5\r\n\r\n", end="close"),
    bad("HEAD with a bad length", OK + "Content-Length: five\r\n\r\n", RULE, method="HEAD"),
    bad("HEAD with two lengths", OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", RULE, method="HEAD"),
    bad("HEAD, head cut", OK + "Content-Le", RULE, method="HEAD", end="close"),
    whole("204", NO_CONTENT + "\r\n", RULE, status=204, sees={"Content-Length": [], "Transfer-Encoding": []}),
    whole("204 with length 0", NO_CONTENT + "Content-Length: 0\r\n\r\n", RULE, status=204, sees={"Content-Length": []}),
    whole("204 with a length", NO_CONTENT + "Content-Length: 5\r\n\r\n", RULE, status=204, sees={"Content-Length": []}),
    whole("204 with chunks", NO_CONTENT + "Transfer-Encoding: chunked\r\n\r\n", RULE, status=204,
          sees={"Content-Length": [], "Transfer-Encoding": []}),
    whole("204 with a body", NO_CONTENT + "Content-Length: 5\r\n\r\nhello", RULE, status=204, reused=False),
    whole("204 with a body without a length", NO_CONTENT + "\r\nhello", RULE, status=204, reused=False),
    whole("204 with an answer behind", NO_CONTENT + "\r\n" + EVIL, RULE, status=204, reused=False),
    whole("204 with chunks that come", NO_CONTENT + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", RULE, status=204, reused=False),
    whole("204 in HTTP/1.0 to HTTP/1.0", "HTTP/1.0 204 No\r\n\r\n", RULE, status=204, end="close", version="HTTP/1.0"),
    whole("304", NOT_MODIFIED + "\r\n", RULE, status=304),
    whole("304 with a length", NOT_MODIFIED + "Content-Length: 5\r\n\r\n", RULE, status=304, sees={"Content-Length": ["5"]}),
    whole("304 with chunks", NOT_MODIFIED + "Transfer-Encoding: chunked\r\n\r\n", RULE, status=304),
    whole("304 with a body", NOT_MODIFIED + "Content-Length: 5\r\n\r\nhello", RULE, status=304, reused=False),
    whole("304 with an answer behind", NOT_MODIFIED + "\r\n" + EVIL, RULE, status=304, reused=False),
    bad("304 with a bad length", NOT_MODIFIED + "Content-Length: five\r\n\r\n", RULE),
    bad("304 with two lengths", NOT_MODIFIED + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", RULE),
    whole("205 with length 0", "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", RULE, status=205),
    whole("HEAD to a 204", NO_CONTENT + "\r\n", RULE, method="HEAD", status=204),
    whole("HEAD to a 304", NOT_MODIFIED + "Content-Length: 5\r\n\r\n", RULE, method="HEAD", status=304,
          sees={"Content-Length": ["5"]}),
]
