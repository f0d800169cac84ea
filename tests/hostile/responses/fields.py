"""Fields of an answer: those that end here, those that are ours, those that pass."""

from table import whole

NAMED = "http.md 3, preamble; http.md 3.3; RFC 9110 7.6.1"
HOP = "http.md 3.3, hop by hop"
OURS = "http.md 3.3; details.md 12, Via"
PASS = "design.md 5.1; http.md 3.3"
END = "Content-Length: 2\r\n\r\nok"


def seen(name, lines, sees, rule=PASS, **options):
    text = "".join(f"{line}\r\n" for line in lines)
    return whole(name, "HTTP/1.1 200 OK\r\n" + text + END, rule, body="ok", sees=sees, **options)


CASES = [
    seen("a named field goes", ["Connection: X-A", "X-A: 1", "X-B: 2"], {"X-A": [], "X-B": ["2"], "Connection": []}, NAMED),
    seen("a named field goes, whatever its case", ["Connection: x-a", "X-A: 1"], {"X-A": []}, NAMED),
    seen("a named field goes, named after", ["X-A: 1", "Connection: X-A"], {"X-A": []}, NAMED),
    seen("several named fields go", ["Connection: X-A, X-B", "Connection: X-C", "X-A: 1", "X-B: 2", "X-C: 3"],
         {"X-A": [], "X-B": [], "X-C": []}, NAMED),
    seen("Set-Cookie named", ["Connection: Set-Cookie", "Set-Cookie: a=1", "Set-Cookie: b=2"], {"Set-Cookie": []}, NAMED),
    seen("Content-Type named", ["Connection: Content-Type", "Content-Type: text/plain"], {"Content-Type": []}, NAMED),
    seen("Content-Length named: the body keeps its length", ["Connection: Content-Length"], {"Content-Length": ["2"]}, NAMED),
    seen("close named with others", ["Connection: close, X-A", "X-A: 1"], {"X-A": [], "Connection": []}, NAMED, reused=False),
    *[seen(f"{line} ends here", [line], {line.partition(":")[0]: []}, HOP) for line in (
        "Keep-Alive: timeout=5", "Proxy-Connection: close", "Proxy-Authenticate: Basic", "Proxy-Authorization: x",
        "Proxy-Authentication-Info: x", "TE: gzip", "Trailer: X-T", "Upgrade: h2c", "HTTP2-Settings: AA")],
    seen("X-Hestia fields are ours", ["X-Hestia-Error-Source: gateway", "x-hestia-x: 1"],
         {"X-Hestia-Error-Source": [], "X-Hestia-X": []}, OURS),
    seen("Via is added", [], {"Via": ["1.1 hestia"]}, OURS),
    seen("Via grows", ["Via: 1.0 other"], {"Via": ["1.0 other, 1.1 hestia"]}, OURS),
    seen("Via of two fields grows", ["Via: 1.0 a", "Via: 1.1 b"], {"Via": ["1.0 a, 1.1 b, 1.1 hestia"]}, OURS),
    seen("the same field twice", ["Set-Cookie: a=1", "X-A: 1", "Set-Cookie: b=2"], {"Set-Cookie": ["a=1", "b=2"]}),
    seen("Server and Date pass", ["Server: thing/1", "Date: Sat, 21 Nov 2026 00:00:00 GMT"],
         {"Server": ["thing/1"], "Date": ["Sat, 21 Nov 2026 00:00:00 GMT"]}),
    seen("underscore names pass", ["Content_Type: x", "X_Request_ID: y"], {"Content_Type": ["x"], "X_Request_ID": ["y"]}),
    seen("Location passes where nothing is mounted", ["Location: http://elsewhere/x"], {"Location": ["http://elsewhere/x"]},
         "http.md 6, SSRF: Location passes"),
    seen("256 fields", [f"X-{i}: {i}" for i in range(255)], {"X-0": ["0"], "X-254": ["254"]}),
    seen("Connection names 100 fields", ["Connection: " + ",".join(f"X-{i}" for i in range(100)), "X-7: 1", "Y: 1"],
         {"X-7": [], "Y": ["1"]}, NAMED),
]
