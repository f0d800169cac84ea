"""How a case is written down. Text stands for bytes (Latin-1); a table is a Python file in requests/ or responses/ that
makes `CASES` with the functions below."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
HOST = "Host: a"

SAME = object()  # the upstream sees the bytes that the client sent, but for what is added


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def head(first, *fields, body=""):
    return "\r\n".join([first, *fields]) + "\r\n\r\n" + body


def get(*fields, target="/x"):
    return head(f"GET {target} HTTP/1.1", HOST, *fields)


def post(*fields, body="", target="/x"):
    return head(f"POST {target} HTTP/1.1", HOST, *fields, body=body)


def chunked(body, *fields):
    return post(*fields, "Transfer-Encoding: chunked", body=body)


def first(line):
    """A request that is clean but for its first line."""
    return head(line, HOST)


class RequestCase:
    """Bytes in, and what must come of them."""

    def __init__(self, name, stages, statuses, seen, closed, rule, begun, methods):
        self.name, self.statuses, self.closed, self.rule, self.begun = name, statuses, closed, rule, begun
        self.stages = [to_bytes(stage) for stage in stages]  # the next one is sent when 100 Continue has come
        self.seen = [to_bytes(request) for request in seen]
        self.methods = methods or ["GET"] * len(statuses)
        assert rule, name


def refused(name, data, status, rule, begun=False, before=()):
    """Answered with `status` (or one of several; None: closed without an answer), nothing forwarded, closed. `begun`: the
    fault lies in the body, so that the upstream may have seen a part, but never an end. `before`: what the upstream
    sees of the requests that stand before it in the same bytes."""
    return RequestCase(name, [data], [200] * len(before) + [status], before, True, rule, begun, None)


def passed(name, data, rule, seen=SAME, closed=False, methods=None):
    """Forwarded as `seen` (one request or several), answered with 200."""
    if seen is SAME:
        seen = data if isinstance(data, str) else "".join(data)
    seen = [seen] if isinstance(seen, (str, bytes)) else list(seen)
    return RequestCase(name, [data] if isinstance(data, str) else data, [200] * len(seen), seen, closed, rule, False,
                       methods)


def answered(name, data, status, rule, closed=False, methods=None):
    """Answered by the gateway itself."""
    return RequestCase(name, [data], [status], [], closed, rule, False, methods)


class ResponseCase:
    """What the upstream sends, and what the client must see of it."""

    def __init__(self, name, data, rule, kind, end, method, version, fields, **sees):
        self.name, self.data, self.rule, self.kind, self.end = name, to_bytes(data), rule, kind, end
        self.method, self.version, self.request_fields = method, version, fields
        self.status = sees.get("status", 200)
        self.body = to_bytes(sees.get("body", ""))
        self.interim = list(sees.get("interim", ()))
        self.fields = sees.get("sees") or {}  # name: list of values
        self.trailers = list(sees.get("trailers", ()))
        self.closed = sees.get("closed", False)
        self.reused = sees.get("reused", True)
        self.event = sees.get("event", False)
        assert rule, name


def whole(name, data, rule, end="keep", method="GET", version="HTTP/1.1", fields=(), **sees):
    """The client gets the complete answer; see ResponseCase for `sees`."""
    return ResponseCase(name, data, rule, "whole", end, method, version, fields, **sees)


def bad(name, data, rule, end="keep", method="GET", version="HTTP/1.1", fields=(), **sees):
    """502, complete, and the upstream's connection is given up."""
    return ResponseCase(name, data, rule, "bad", end, method, version, fields, **sees)


def cut(name, data, rule, end="close", method="GET", version="HTTP/1.1", fields=(), **sees):
    """502 while nothing of it has been sent; else the beginning of the body and an end that no client can take for a
    clean one."""
    return ResponseCase(name, data, rule, "cut", end, method, version, fields, **sees)


def load(folder):
    """(theme, case) of every table of a folder."""
    found = []
    for path in sorted((FOLDER / folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"hostile_{folder}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [(path.stem, case) for case in module.CASES]
    names = [f"{theme}: {case.name}" for theme, case in found]
    assert len(set(names)) == len(names), f"twice: {[name for name in names if names.count(name) > 1]}"
    return found
