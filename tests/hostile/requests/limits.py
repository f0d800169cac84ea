"""Limits at n-1, n and n+1 (http.md 7; docs/config.md, server.limits)."""

from rig import BODY_LIMIT
from table import chunked, first, get, head, passed, post, refused

RULE = "http.md 7"
TARGET, FIELD, HEAD, FIELDS = 8192, 16384, 32768, 128


def target(n):
    return first("GET /" + "a" * (n - 1) + " HTTP/1.1")


def query(n):
    return first("GET /?" + "a" * (n - 2) + " HTTP/1.1")


def field(n):
    """With a field line of n bytes without its end."""
    return get("X-A: " + "a" * (n - 5))


def head_of(n):
    """A head of n bytes from the first to the last."""
    lines = [f"X-{i}: " + "a" * 8000 for i in range(3)]
    rest = n - len(get(*lines, "X-9: "))
    return get(*lines, "X-9: " + "a" * rest)


def fields(n):
    """With n fields, Host included."""
    return get(*(f"X-{i}: {i}" for i in range(n - 1)))


def chunks(n):
    """A chunked body of n bytes."""
    full, rest = divmod(n, 4096)
    sizes = [4096] * full + [rest] * (rest > 0)
    return "".join(f"{size:x}\r\n" + "b" * size + "\r\n" for size in sizes) + "0\r\n\r\n"


CASES = [
    *[passed(f"target of {n} bytes", target(n), RULE) for n in (TARGET - 1, TARGET)],
    refused(f"target of {TARGET + 1} bytes", target(TARGET + 1), 414, RULE),
    refused(f"target of {TARGET * 3} bytes", target(TARGET * 3), 414, RULE),
    *[passed(f"target with a query of {n} bytes", query(n), RULE) for n in (TARGET - 1, TARGET)],
    refused(f"target with a query of {TARGET + 1} bytes", query(TARGET + 1), 414, RULE),
    *[passed(f"field line of {n} bytes", field(n), RULE) for n in (FIELD - 1, FIELD)],
    refused(f"field line of {FIELD + 1} bytes", field(FIELD + 1), 431, RULE),
    passed(f"field line of {FIELD} bytes, spaces included", get("X-A:" + " " * (FIELD - 5) + "a"), RULE),
    refused(f"field line of {FIELD + 1} bytes, spaces included", get("X-A:" + " " * (FIELD - 4) + "a"), 431, RULE),
    passed(f"name of {FIELD - 3} bytes", get("X" * (FIELD - 3) + ": a"), RULE),
    refused(f"name of {FIELD - 2} bytes", get("X" * (FIELD - 2) + ": a"), 431, RULE),
    *[passed(f"head of {n} bytes", head_of(n), "docs/config.md, server.limits.head") for n in (HEAD - 1, HEAD)],
    refused(f"head of {HEAD + 1} bytes", head_of(HEAD + 1), 431, "docs/config.md, server.limits.head"),
    refused(f"head of {HEAD * 3} bytes", head_of(HEAD) [:-4] + "\r\n" + "".join(f"Y-{i}: {'b' * 1000}\r\n" for i in range(64)) + "\r\n",
            431, "docs/config.md, server.limits.head"),
    *[passed(f"{n} fields", fields(n), RULE) for n in (FIELDS - 1, FIELDS)],
    refused(f"{FIELDS + 1} fields", fields(FIELDS + 1), 431, RULE),
    refused(f"{FIELDS * 20} fields", fields(FIELDS * 20), 431, RULE),
    *[passed(f"body of {n} bytes", post(f"Content-Length: {n}", body="b" * n), RULE) for n in (BODY_LIMIT - 1, BODY_LIMIT)],
    refused(f"body of {BODY_LIMIT + 1} bytes", post(f"Content-Length: {BODY_LIMIT + 1}", body="b" * (BODY_LIMIT + 1)), 413, RULE),
    refused(f"length of {BODY_LIMIT + 1} and no body", post(f"Content-Length: {BODY_LIMIT + 1}"), 413, "http.md 3.1.2"),
    *[passed(f"chunks of {n} bytes", chunked(chunks(n)), RULE) for n in (BODY_LIMIT - 1, BODY_LIMIT)],
    refused(f"chunks of {BODY_LIMIT + 1} bytes", chunked(chunks(BODY_LIMIT + 1)), 413, RULE, begun=True),
    refused("a method of 10000 letters", head("G" * 10000 + " /x HTTP/1.1", "Host: a"), (400, 501), RULE),
    passed("a method and a target at their limits", head("OPTIONS /" + "a" * (TARGET - 1) + " HTTP/1.1", "Host: a"), RULE,
           methods=["OPTIONS"]),
]
