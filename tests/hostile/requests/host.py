"""The Host field and the authority of the absolute form."""

from table import first, head, passed, refused

RULE = "details.md 12, Host; RFC 9112 3.2"
ABSOLUTE = "http.md 3.4, absolute form; RFC 9112 3.2.2"


def host(*values, line="GET /x HTTP/1.1"):
    return head(line, *(f"Host:{value}" for value in values))


def absolute(target, *fields, version="1.1"):
    return head(f"GET {target} HTTP/{version}", *fields)


def seen(name, target="/x"):
    return head(f"GET {target} HTTP/1.1", f"Host: {name}")


FIELD = [
    refused("none on 1.1", "GET /x HTTP/1.1\r\n\r\n", 400, RULE),
    refused("none, but other fields", head("GET /x HTTP/1.1", "X-A: 1"), 400, RULE),
    refused("two different", host(" a", " b"), 400, RULE),
    refused("two equal", host(" a", " a"), 400, RULE),
    refused("two, one in capitals", head("GET /x HTTP/1.1", "Host: a", "HOST: a"), 400, RULE),
    refused("two, one empty", host(" a", ""), 400, RULE),
    refused("two on 1.0", host(" a", " b", line="GET /x HTTP/1.0"), 400, RULE),
    *[refused(f"value {value!r}", host(value), 400, RULE) for value in (
        "", " ", " a/b", " /", " a?b", " a#b", " u@a", " u:p@a", " a b", " a\tb", " a, b", " a,b", " a:port", " a:65536",
        " a:99999", " a:-1", " a:80:80", " a:8 0", " :80", " [::1", " ::1]", " [::1]x", " [::1]:x", " [zz::1]", " []", " [1]",
        " ::1", " a\\b", ' "a"', " <a>", " a%", " a%zz", " a%00", " a|b", " a^b", " {a}", " a`", " a\xe4", " http://a", " a\0b",
        " a[b]", " [::1]]", " a:0x50", " a: 80", " a :80", " a:+80")],
    *[passed(f"value {value!r}", host(value), RULE, seen=seen(value.strip())) for value in (
        " a", "a", " a:80", " a:65535", " a:1", " [::1]", " [::1]:80", " [2001:db8::1]", " 127.0.0.1", " 127.0.0.1:8080",
        " A.Example.COM", " a-b_c", " a.", " xn--nxasmq6b", " a%41", " 1.2.3", "  a  ", "\ta\t")],
    passed("field in capitals", "GET /x HTTP/1.1\r\nHOST: a\r\n\r\n", RULE, seen=seen("a")),
    passed("field behind others", head("GET /x HTTP/1.1", "X-A: 1", "Host: a"), RULE,
           seen=head("GET /x HTTP/1.1", "Host: a", "X-A: 1")),
    passed("none on 1.0", "GET /x HTTP/1.0\r\n\r\n", RULE, seen=seen("UPSTREAM"), closed=True),
    refused("empty on 1.0", host("", line="GET /x HTTP/1.0"), 400, RULE),
    refused("malformed on 1.0", host(" a/b", line="GET /x HTTP/1.0"), 400, RULE),
]

ABSOLUTES = [
    *[passed(f"absolute {target}", absolute(target, f"Host: {name}"), ABSOLUTE, seen=seen(name, path)) for target, name, path in (
        ("http://a/x", "a", "/x"), ("http://a:80/x", "a:80", "/x"), ("http://a", "a", "/"), ("http://a/", "a", "/"),
        ("http://a?q", "a", "/?q"), ("http://a/x?q=1", "a", "/x?q=1"), ("HTTP://a/x", "a", "/x"),
        ("http://[::1]:8080/x", "[::1]:8080", "/x"), ("http://a:8080/x", "a:8080", "/x"), ("http://a/../x", "a", None),
        ("https://a/x", "a", "/x"), ("http://a//x", "a", "//x")) if path],
    *[refused(f"absolute {target} for {name}", absolute(target, f"Host: {name}"), 400, ABSOLUTE) for target, name in (
        ("http://b/x", "a"), ("http://a:81/x", "a"), ("http://a:80/x", "a:81"), ("http://a.b/x", "a"), ("http://u@a/x", "a"),
        ("http://u:p@a/x", "a"), ("http://a@b/x", "a"), ("http://a\\b/x", "a"), ("http:///x", "a"), ("http://", "a"),
        ("http:/a/x", "a"), ("http:a/x", "a"), ("ftp://a/x", "a"), ("file:///x", "a"), ("ws://a/x", "a"),
        ("javascript:alert(1)", "a"), ("http://a:/x#f", "a"), ("http://a#/x", "a"), ("http://[::1/x", "[::1]"),
        ("//a/x" + "#", "a"), ("http://a:99999/x", "a"), ("http://a%2fb/x", "a"), ("http://a,b/x", "a"), ("://a/x", "a"),
        ("http//a/x", "a"), ("ahttp://a/x", "a"))],
    refused("absolute without Host on 1.1", absolute("http://a/x"), 400, RULE),
    refused("absolute form climbs above the root", absolute("http://a/../x", "Host: a"), 400, "http.md 3.4, dot segments"),
    refused("absolute with two Hosts", absolute("http://a/x", "Host: a", "Host: a"), 400, RULE),
]

FORMS = [
    *[refused(f"form {target!r}", first(f"GET {target} HTTP/1.1"), 400, "details.md 12, authority and asterisk form")
      for target in ("*", "a", "a:80", "a:443", "x", "x/y", "?x", "%2fx", "*/x", "\\x", ".", "..", "./x", "../x")],
    refused("POST *", first("POST * HTTP/1.1"), 400, "details.md 12, asterisk form"),
    refused("OPTIONS with the authority form", first("OPTIONS a:80 HTTP/1.1"), 400, "details.md 12, authority form"),
]

CASES = FIELD + ABSOLUTES + FORMS
