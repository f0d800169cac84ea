"""Hostile and unusual answers of an upstream: what the client sees of them, the same in every way of delivery
(http.md 3.2 to 3.4 and 7, details.md 12)."""

from collections import Counter

import pytest

from table import load
from waiting import eventually
from wire import Closed

CASES = load("responses")


def check_whole(case, response):
    assert response.status == case.status and response.complete, response
    assert response.body == case.body, response
    # HTTP/1.0 knows only the end of the connection; everybody else must be able to tell an end from a cut.
    assert not response.until_close or case.version == "HTTP/1.0", response
    assert [(interim.status, dict(interim.fields)) for interim in response.interim] == case.interim, response.interim
    for name, values in case.fields.items():
        assert response.values(name) == values, f"{name}: {response.values(name)}, not {values}"
    assert response.trailers == case.trailers, response.trailers


def check_bad(case, response):
    """Nothing of what the upstream sent comes through but the interim answers before it."""
    assert response.status == 502 and response.complete, response
    assert response.value("X-Hestia-Error-Source") == "upstream", response
    assert [(interim.status, dict(interim.fields)) for interim in response.interim] == case.interim, response.interim
    if case.method != "HEAD":
        assert response.code == "upstream_protocol_error", response


def check_cut(case, line, response):
    """Whatever came, it does not look complete. True: it was cut; False: it was replaced by a 502 in time."""
    if response.status == 502:
        check_bad(case, response)
        return False
    assert response.status == case.status, response
    if response.until_close:
        assert line.end == "reset", f"a clean end ({line.end}) of a body that was cut: {response}"
    else:
        assert not response.complete, f"a body that was cut looks complete: {response}"
    if case.event:
        assert case.body.startswith(response.body.partition(b"event: error\n")[0]), response
        return True
    assert case.body.startswith(response.body), response
    return True


def check_line(rig, case, line):
    try:
        response = line.read_response(case.method)
    except Closed:
        # Not even a head: a cut, too, if it is not taken for an answer.
        assert case.kind == "cut", f"closed ({line.end}) without an answer"
        return
    if case.kind == "cut" and check_cut(case, line, response):
        assert line.end, f"the connection goes on: {response}"
        return
    if case.kind == "cut":
        closed = case.version == "HTTP/1.0"
    else:
        (check_whole if case.kind == "whole" else check_bad)(case, response)
        closed = case.closed or case.version == "HTTP/1.0"
    if closed:
        assert line.is_closed(), f"more came: {line.pending[:200]!r}"
    else:
        rig.still_works(line)


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[f"{theme}: {case.name}" for theme, case in CASES])
def test_response(rig, case):
    opened = rig.exchange(case)
    for way, (line, script) in opened.items():
        with line:
            try:
                check_line(rig, case, line)
            except AssertionError as error:
                raise AssertionError(f"{way}: {error}\nupstream sent: {case.data!r}, then {case.end}\n"
                                     f"rule: {case.rule}") from error
    rig.upstream.scripts.clear()
    links = {way: script.link for way, (_, script) in opened.items()}
    if case.end == "keep" and case.kind == "whole" and case.reused:
        rig.barrier("/barrier")
        given_up = [way for way, link in links.items() if link.over]
        # Now and then one may go: after a read that filled the buffer to the last byte more could be there.
        assert len(given_up) <= len(links) // 10, f"connections in good order were given up: {given_up}"
    elif case.end == "keep":
        eventually(lambda: all(link.over for link in links.values()), "the connection to this upstream is given up")
    rig.check_upstream()


def test_tables_have_what_the_rules_ask():
    themes = Counter(theme for theme, _ in CASES)
    assert set(themes) == {"heads", "framing", "truncation", "interim", "bodiless", "fields"}
    assert sum(themes.values()) >= 150 and min(themes.values()) >= 10, themes
    kinds = Counter(case.kind for _, case in CASES)
    assert set(kinds) == {"whole", "bad", "cut"} and min(kinds.values()) >= 20, kinds
