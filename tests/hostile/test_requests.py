"""Hostile and unusual requests: the status, what was forwarded to the last byte, and whether the connection closed, the
same in every way of delivery (http.md 3 and 7, details.md 12)."""

from collections import Counter

import pytest

from table import load, to_bytes
from wire import Closed

CASES = load("requests")


def check_refusal(response, closed):
    """http.md 3.7: an error of ours with nothing that helps an attacker, and with what its status asks for."""
    error = response.json["error"]
    assert error["message"] and error["type"] and error["code"], response
    assert response.value("Content-Type") == "application/json", response
    assert response.value("X-Hestia-Error-Source") == "gateway", response
    assert response.value("Connection") == ("close" if closed else None), response
    assert response.value("Server") is None, response
    assert response.status != 405 or "GET" in response.value("Allow"), response
    assert response.status != 426 or response.value("Sec-WebSocket-Version") == "13", response


def check_answer(case, i, response):
    expected = case.statuses[i]
    allowed = expected if isinstance(expected, tuple) else (expected,)
    assert response.status in allowed, f"answer {i}: {response}, not {expected}"
    assert response.complete and not response.until_close, response
    expects = b"expect:" in b"".join(case.stages).lower()
    assert [interim.status for interim in response.interim] in ([], [100] if expects and len(case.stages) == 1 else []), (
        f"interim responses: {response.interim}")
    if i < len(case.seen) and response.status == 200:
        method, target, _ = case.seen[i].partition(b"\r\n")[0].split(b" ")
        assert response.body == (b"" if method == b"HEAD" else (method + b" " + target)[:60]), response
    elif response.status >= 400 and case.methods[i] != "HEAD":
        check_refusal(response, case.closed)


def check_line(rig, case, line):
    """One way's outcome."""
    for i, method in enumerate(case.methods):
        try:
            response = line.read_response(method)
        except Closed:
            assert isinstance(case.statuses[i], tuple) and None in case.statuses[i], f"closed ({line.end}) without answer {i}"
            return
        check_answer(case, i, response)
    if case.closed:
        assert line.is_closed(), f"more came: {line.pending[:200]!r}"
        # A reset could destroy the answer on its way (http.md 3.4).
        assert line.end == "end of file", line.end
    else:
        rig.still_works(line)


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[f"{theme}: {case.name}" for theme, case in CASES])
def test_request(rig, case):
    rig.take_seen()
    lines = rig.deliver_stages(case.stages)
    for way, line in lines.items():
        with line:
            try:
                check_line(rig, case, line)
            except AssertionError as error:
                raise AssertionError(f"{way}: {error}\nsent: {case.stages!r}\nrule: {case.rule}") from error
    seen = Counter(rig.take_seen())
    wanted = Counter({request: count * len(lines) for request, count in Counter(case.seen).items()})
    assert seen == wanted, f"rule: {case.rule}\nforwarded: {seen - wanted}\nmissing: {wanted - seen}"
    if case.begun:
        rig.upstream.wait_no_halves()
    assert not rig.upstream.halves(), "half a request was forwarded"


def test_tables_have_what_the_rules_ask():
    """Every theme is there, every case names its rule, and nothing was lost by a slip of a generator."""
    themes = Counter(theme for theme, _ in CASES)
    assert set(themes) == {"framing", "chunking", "lines", "fields", "host", "targets", "connection", "expect",
                           "pipelining", "limits", "upgrade"}
    assert sum(themes.values()) >= 350 and min(themes.values()) >= 10, themes
    for _, case in CASES:
        assert "http.md" in case.rule or "details.md" in case.rule or "RFC" in case.rule or "docs/" in case.rule, case.rule
        assert to_bytes(b"".join(case.stages)), case.name
