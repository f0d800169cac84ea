"""How long a request's body is: Content-Length and Transfer-Encoding."""

from table import chunked, head, passed, post, refused

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CL = "http.md 3.1.2; RFC 9112 6.3"
TE = "http.md 3.1.1; details.md 12; RFC 9112 6.1"


def length(value):
    return post(f"Content-Length:{value}", body="hello")


def coding(value):
    return post(f"Transfer-Encoding:{value}", body="0\r\n\r\n")


def old(*fields, body="", method="POST"):
    return head(f"{method} /x HTTP/1.0", "Host: a", *fields, body=body)


BOTH = [
    refused("CL, then TE", post("Content-Length: 4", "Transfer-Encoding: chunked", body="0\r\n\r\n" + SMUGGLED), 400, TE),
    refused("TE, then CL", post("Transfer-Encoding: chunked", "Content-Length: 4", body="0\r\n\r\n" + SMUGGLED), 400, TE),
    refused("TE and CL of 0", post("Transfer-Encoding: chunked", "Content-Length: 0", body="0\r\n\r\n"), 400, TE),
    refused("TE and an empty CL", post("Transfer-Encoding: chunked", "Content-Length:", body="0\r\n\r\n"), 400, TE),
    refused("TE empty and CL", post("Transfer-Encoding:", "Content-Length: 5", body="hello"), 400, TE),
    refused("TE unknown and CL", post("Transfer-Encoding: xchunked", "Content-Length: 5", body="hello"), 400, TE),
    refused("TE and CL in lower case", post("transfer-encoding: chunked", "content-length: 5", body="0\r\n\r\n"), 400, TE),
    refused("TE and CL on GET", head("GET /x HTTP/1.1", "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked",
                                     body="0\r\n\r\n"), 400, TE),
    refused("TE and CL, TE named by Connection", post("Connection: Transfer-Encoding", "Content-Length: 5",
                                                      "Transfer-Encoding: chunked", body="0\r\n\r\n"), 400, TE),
]

LENGTHS = [
    refused("two lengths", post("Content-Length: 5", "Content-Length: 6", body="hello!"), 400, CL),
    refused("two lengths, the smaller last", post("Content-Length: 6", "Content-Length: 5", body="hello!"), 400, CL),
    refused("two equal lengths", post("Content-Length: 5", "Content-Length: 5", body="hello"), 400, CL),
    refused("two lengths apart", post("Content-Length: 5", "X-A: 1", "Content-Length: 5", body="hello"), 400, CL),
    refused("two lengths, one empty", post("Content-Length: 5", "Content-Length:", body="hello"), 400, CL),
    *[refused(f"length {value!r}", length(value), 400, CL) for value in (
        " 5, 5", " 5,5", " 5,", " ,5", " 5;", " +5", " -5", " -0", " 0x5", " 5h", " 5.0", " 5e0", " 1 0", " 1\t0", " 5_0",
        "", " ", " \t ", ' "5"', " five", " \xb2", " \xd9\xa5", " 5\xa0", " 5 5", " 0 5", " 5\x0b", " 5\0", " NaN",
        " 10000000000000000000", " 9223372036854775808", " 18446744073709551615", " 18446744073709551616",
        " 18446744073709551621", " 4294967296000000000000", " 00000000000000000005")],
    refused("length with underscore", post("Content_Length: 5", body="hello"), 400, "details.md 12, underscores"),
    refused("length with space before the colon", post("Content-Length : 5", body="hello"), 400, "details.md 12; RFC 9112 5.1"),
    refused("length folded", post("Content-Length:\r\n 5", body="hello"), 400, "details.md 12; RFC 9112 5.2"),
    passed("length 0", post("Content-Length: 0"), CL),
    passed("length exact", post("Content-Length: 5", body="hello"), CL),
    passed("length in lower case", post("content-length: 5", body="hello"), CL),
    passed("length in odd case", post("cOnTeNt-LeNgTh: 5", body="hello"), CL),
    passed("length without space", post("Content-Length:5", body="hello"), CL),
    passed("length with white space around", post("Content-Length: \t 5  ", body="hello"), CL),
    passed("length of 19 digits with zeros", post("Content-Length: 0000000000000000005", body="hello"), CL),
    refused("greatest length there is", post("Content-Length: 9223372036854775807"), 413, "http.md 3.1.2, max_body"),
    passed("a body that looks like a request", post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED), CL),
    passed("a body of binary bytes", post("Content-Length: 256", body="".join(map(chr, range(256)))), CL),
    passed("a body of line ends", post("Content-Length: 8", body="\r\n\r\n\n\n\r\r"), CL),
]

CODINGS = [
    passed("chunked", chunked("5\r\nhello\r\n0\r\n\r\n"), TE),
    passed("chunked in capitals", coding(" CHUNKED"), TE, seen=chunked("0\r\n\r\n")),
    passed("chunked in odd case", coding(" cHuNkEd"), TE, seen=chunked("0\r\n\r\n")),
    passed("chunked without space", coding("chunked"), TE, seen=chunked("0\r\n\r\n")),
    passed("chunked with spaces around", coding("   chunked   "), TE, seen=chunked("0\r\n\r\n")),
    *[refused(f"coding {value!r}", coding(value), 400, TE) for value in (
        "", " ", " chunked, chunked", " chunked,chunked", " chunked, gzip", " chunked, identity", " chunked,", " ,chunked",
        " , chunked", " chunked, ,", " ,", " chunked\x0b", " \x0bchunked", " chunked\0", " chunked gzip", " chunked;",
        " \xffchunked", " chunked\x7f")],
    *[refused(f"coding {value!r}", coding(value), 501, TE) for value in (
        " gzip, chunked", " xchunked", " identity", " gzip", " deflate", " chunkedx", " chunke", " identity, chunked",
        " gzip,chunked", " x, y, chunked")],
    *[refused(f"coding {value!r}", coding(value), (400, 501), TE) for value in (
        ' "chunked"', " chunked;q=1", " 'chunked'", " trailers,,chunked", " (chunked)")],
    refused("chunked in two fields", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body="0\r\n\r\n"), 400,
            TE),
    refused("chunked, then identity in a field of its own", post("Transfer-Encoding: chunked", "Transfer-Encoding: identity",
                                                                 body="0\r\n\r\n"), 400, TE),
    refused("identity, then chunked in a field of its own", post("Transfer-Encoding: identity", "Transfer-Encoding: chunked",
                                                                 body="0\r\n\r\n"), (400, 501), TE),
    refused("chunked, then an empty field", post("Transfer-Encoding: chunked", "Transfer-Encoding:", body="0\r\n\r\n"), 400,
            TE),
    refused("coding with underscore", post("Transfer_Encoding: chunked", body="0\r\n\r\n"), 400, "details.md 12, underscores"),
    refused("coding with space before the colon", post("Transfer-Encoding : chunked", body="0\r\n\r\n"), 400,
            "details.md 12; RFC 9112 5.1"),
    refused("coding folded", post("Transfer-Encoding:\r\n chunked", body="0\r\n\r\n"), 400, "details.md 12; RFC 9112 5.2"),
    refused("chunked in HTTP/1.0", old("Transfer-Encoding: chunked", body="0\r\n\r\n"), 400, TE),
    refused("chunked in HTTP/1.0 with keep-alive", old("Connection: keep-alive", "Transfer-Encoding: chunked",
                                                       body="0\r\n\r\n" + SMUGGLED), 400, TE),
    refused("unknown coding in HTTP/1.0", old("Transfer-Encoding: gzip", body="0\r\n\r\n"), 400, TE),
    passed("Transfer-Encoding is not Transfer-Encodings", post("Transfer-Encodings: gzip", "Content-Length: 0"), TE),
]

NEITHER = "http.md 3.1.3; RFC 9110 8.6"
BODIES = "http.md 3.1.4"

METHODS = [
    *[passed(f"{method} without length", head(f"{method} /x HTTP/1.1", "Host: a"), NEITHER,
             seen=head(f"{method} /x HTTP/1.1", "Host: a", "Content-Length: 0")) for method in ("POST", "PUT", "PATCH")],
    *[passed(f"{method} without length", head(f"{method} /x HTTP/1.1", "Host: a"), NEITHER, methods=[method])
      for method in ("GET", "HEAD", "DELETE", "OPTIONS")],
    *[passed(f"{method} with a body", head(f"{method} /x HTTP/1.1", "Host: a", "Content-Length: 5", body="hello"), BODIES,
             methods=[method]) for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH")],
    *[passed(f"{method} with chunks", head(f"{method} /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked",
                                           body="5\r\nhello\r\n0\r\n\r\n"), BODIES, methods=[method])
      for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH")],
    *[passed(f"{method} with length 0", head(f"{method} /x HTTP/1.1", "Host: a", "Content-Length: 0"), BODIES,
             methods=[method]) for method in ("GET", "HEAD", "DELETE")],
]

CASES = BOTH + LENGTHS + CODINGS + METHODS
