"""Targets: what is refused, and the one canonical form that is forwarded."""

from table import first, get, passed, refused

CHARACTERS = "http.md 3.4, target; details.md 12"
PERCENT = "http.md 3.4, target: percent encoding"
DOTS = "http.md 3.4, target: dot segments; RFC 3986 5.2.4"
QUERY = "details.md 11, targets: the query"
FORBIDDEN = '"<>\\^`{|}#\x01\x08\x0b\x1f\x7f\x80\xa0\xc3\xff\0'


def target(text):
    return first(f"GET {text} HTTP/1.1")


def canonical(raw, form, rule):
    return passed(f"{raw} is {form}", target(raw), rule, seen=get(target=form))


CASES = [
    *[refused(f"path with {c!r}", target(f"/a{c}b"), 400, CHARACTERS) for c in FORBIDDEN],
    *[refused(f"query with {c!r}", target(f"/x?a{c}b"), 400, QUERY) for c in "#\0\x01\x1f\x7f\x80\xff"],
    *[passed(f"query with {c!r}", target(f"/x?a{c}b"), QUERY) for c in '"<>\\^`{|}[]%/?:@!$&\'()*+,;='],
    passed("query of broken percents", target("/x?%zz%&%0d%0a%00"), QUERY),
    passed("query of dots", target("/x?a/../../b"), QUERY),
    passed("empty query", target("/x?"), QUERY),
    passed("two question marks", target("/x??"), QUERY),
    *[refused(f"percent in {path!r}", target(path), 400, PERCENT) for path in (
        "/a%", "/a%4", "/a%zz", "/a%4z", "/a%z4", "/%%41", "/a%u0041", "/a%-1", "/a% 1", "/a%00", "/%00", "/a%00.png", "/a%0d",
        "/a%0D", "/a%0a", "/a%0A", "/a%0d%0aX-A:%201", "/a%\xb2\xb2")],
    *[passed(f"percent in {path!r}", target(path), PERCENT) for path in (
        "/a%2fb", "/a%2Fb", "/a%20b", "/a%25b", "/a%2541", "/a%3fb", "/a%23b", "/a%ff", "/a%c3%a9", "/a%01", "/a%7f",
        "/a%5cb", "/a%3b")],
    *[canonical(raw, form, PERCENT) for raw, form in (
        ("/%61", "/a"), ("/%41%42", "/AB"), ("/%7e", "/~"), ("/%7Ex", "/~x"), ("/a%2db", "/a-b"), ("/a%5fb", "/a_b"),
        ("/%30", "/0"), ("/a%2Eb", "/a.b"))],
    *[canonical(raw, form, DOTS) for raw, form in (
        ("/./x", "/x"), ("/a/./x", "/a/x"), ("/a/../x", "/x"), ("/a/b/../../x", "/x"), ("/a/..", "/"), ("/a/.", "/a/"),
        ("/a/../", "/"), ("/.", "/"), ("/a/%2e%2e/x", "/x"), ("/a/%2E%2e/x", "/x"), ("/a/.%2e/x", "/x"), ("/a/%2e/x", "/a/x"),
        ("/a/b/..%2e/x", "/a/b/..%2e/x".replace("%2e", ".")), ("/a//../x", "/a/x"), ("/a/../?q/../r", "/?q/../r"))],
    *[passed(f"no dot segment in {path}", target(path), DOTS) for path in (
        "/...", "/a/.../x", "/a..", "/..a", "/.a", "/a./x", "/a/..%2fx", "/a/%2f../x", "/a/..;/x", "/a/..%00x"[:-4] + "y")],
    *[refused(f"above the root: {path}", target(path), 400, DOTS) for path in (
        "/..", "/../", "/../x", "/../../etc/passwd", "/a/../../x", "/%2e%2e/x", "/.%2e/x", "/%2e./x", "/%2E%2E", "/./../x",
        "/a/../b/../../x")],
    *[passed(f"slashes in {path}", target(path), "http.md 3.4: // is kept") for path in ("//x", "/a//b", "/a///", "//", "/x/")],
    *[passed(f"odd but fine: {path}", target(path), CHARACTERS) for path in (
        "/a;b=c", "/a,b", "/a:b", "/@", "/a=b&c", "/!$&'()*+", "/[x]", "/a:80", "/http://b/x", "/-._~")],
]
