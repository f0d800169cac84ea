"""The ledger: what was used is known exactly, in five tiers, also after a crash (issue "The books" 1, 8; details.md 10)."""

import json
import signal
import threading

import pytest

from books import Admin, ask_as, bearer, client
from pool import CHAT, DONE, SSE, Stream, USAGE_CHUNK, ask, chat, chunk, drop, event, fail, hang, pool_config
from waiting import eventually


def test_five_tiers(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b, clients=[client("ann", strategy_id="s"), client("bob")], strategies=[{"id": "s"}],
                         routing={"strategy": "failover"}, pricing={"overrides": [{"model": "m", "input_per_million": 1, "output_per_million": 2}]})
    for _ in range(3):
        ask_as(gateway, "ann", chat("a/m"))
    ask_as(gateway, "bob", chat("b/m"))
    admin = Admin(gateway)
    admin.wait_total(4)
    for scope, id, count in (("global", None, 4), ("client", "ann", 3), ("client", "bob", 1), ("provider", "a", 3), ("provider", "b", 1),
                             ("model", "a/m", 3), ("strategy", "s", 3), ("strategy", "default", 1)):
        total = admin.total(scope, id)
        assert (total["requests"], total["ok"], total["input_tokens"], total["output_tokens"]) == (count, count, 7 * count, 5 * count), scope
        assert total["cost"] == pytest.approx(0.000017 * count, abs=1e-15)
    assert admin.get("/usage/ids?scope=client")["data"] == ["ann", "bob"]
    day = admin.usage("global", range="week")
    assert sum(point["requests"] for point in day["data"]) == 4, "no grain is counted twice"


def test_outcomes_are_what_they_are(pool):
    a = pool.upstream()
    gateway = pool.start(a)
    ask(gateway)
    a.handler = fail(500)
    ask(gateway)
    a.handler = drop
    ask(gateway)
    a.handler = hang
    with gateway.connect() as connection:
        connection.request("POST", CHAT, [("Content-Type", "application/json")], json.dumps(chat()).encode())
        a.wait_calls(4)
    total = Admin(gateway).wait_total(4)
    assert (total["ok"], total["failed"], total["cancelled"]) == (1, 2, 1)
    rows = Admin(gateway).requests()
    assert [row["outcome"] for row in rows] == ["cancelled", "failed", "failed", "ok"]
    assert [row["status"] for row in rows][1:] == [503, 500, 200]
    assert rows[-1]["input_tokens"] == 7 and rows[-1]["attempts"] == [{"provider": "a", "model": "m", "outcome": "ok", "status": 200}]


def test_a_request_by_its_id(pool):
    gateway = pool.start(pool.upstream())
    ask(gateway, fields=[("X-Request-ID", "my-request")])
    admin = Admin(gateway)
    row = eventually(lambda: (found := admin.call("GET", "/requests/my-request")).status == 200 and found.json, "it is in the book")
    assert row["request_id"] == "my-request" and row["endpoint"] == "chat" and row["stream"] is False


def test_answer_without_usage_is_estimated(pool):
    a = pool.upstream(handler=lambda peer, request: peer.respond(200, {"choices": [{"message": {"content": "x" * 400}}]}))
    gateway = pool.start(a)
    ask(gateway)
    row = eventually(lambda: Admin(gateway).requests(), "it is in the book")[0]
    assert row["estimated"] and row["output_tokens"] > 50


def test_planted_secrets_are_nowhere(pool, tmp_path):
    a = pool.upstream()
    path = tmp_path / "books" / "books.db"
    gateway = pool.start({**a.provider(), "api_key": "canary-provider"}, clients=[client("ann", "canary-client")],
                         auth={"admin_keys": ["${ADMIN}"]}, env={"ADMIN": "canary-admin-0123456789"}, storage={"path": str(path)})
    admin = Admin(gateway, bearer("canary-admin-0123456789"))
    made = admin.create_client("bob")
    ask(gateway, fields=bearer("canary-client"))
    ask(gateway, fields=bearer(made["key"]))
    ask(gateway, chat("wrong"), bearer(made["key"]))
    ask(gateway, fields=bearer(made["key"] + "x"))
    shown = [gateway.get(route, bearer("canary-admin-0123456789")).body for route in
             ("/metrics", "/v1/metrics", "/v1/providers", "/admin/v1/config", "/admin/v1/clients", "/admin/v1/audit", "/admin/v1/requests",
              "/admin/v1/strategies", "/openapi.json")]
    gateway.stop()
    shown += [file.read_bytes() for file in path.parent.rglob("*") if file.is_file()]
    shown += ["\n".join(line or "" for line in gateway.lines).encode()]
    secret = made["key"].rpartition("_")[2].encode()
    for text in shown:
        for canary in (b"canary-", secret):
            assert canary not in text, text[max(0, text.find(canary) - 200):text.find(canary) + 100]
    for file in path.parent.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, f"{file} is readable by others"


# ---- kill -9


class Slow:
    """Streams of numbered events, each when told; remembers how many it has sent to each request."""

    def __init__(self, events):
        self.events, self.sent, self.lock = events, {}, threading.Lock()
        self.go = threading.Semaphore(0)

    def __call__(self, peer, request):
        name = request.value("X-Request-ID")
        with self.lock:
            self.sent[name] = 0
        peer.begin_chunked(SSE)
        for number in range(self.events):
            if number % 2:
                self.go.acquire()
            with self.lock:
                self.sent[name] += 1
            peer.chunk(event(chunk({"content": f"{number} "})))
        usage = event({**chunk({}), "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": self.events, "total_tokens": self.events + 3}})
        peer.chunk(usage)
        peer.chunk(DONE)
        peer.send(b"0\r\n\r\n")


def read_stream(gateway, name, received, done):
    """Counts the events that came; the gateway may die at any time."""
    try:
        stream = Stream(gateway, chat(stream=True), [("X-Request-ID", name)])
        while (one := stream.next()) is not None:
            if b"content" in one:
                received[name] = received.get(name, 0) + 1
        if stream.head().complete:
            done.add(name)
    except OSError:
        pass


def kill_in_the_middle(pool, slow, config, count, releases):
    """One life of the gateway under `count` streams, ended by SIGKILL. → (received, done)"""
    gateway = pool.start(*config["upstreams"], **config["more"])
    received, done = {}, set()
    threads = [threading.Thread(target=read_stream, args=(gateway, f"life{releases}-{i}", received, done)) for i in range(count)]
    for thread in threads:
        thread.start()
    names = [f"life{releases}-{i}" for i in range(count)]
    eventually(lambda: all(name in slow.sent for name in names), "every stream has begun", seconds=60)
    slow.go.release(releases)
    eventually(lambda: len(done) + sum(received.values()) > count, "some have gone on", seconds=60)
    gateway.process.kill()
    gateway.process.wait()
    gateway.expected_exit = -signal.SIGKILL
    for thread in threads:
        thread.join()
    return names, received, done


def check_ledger(rows, names, slow, received, done, events):
    assert sorted(rows) == sorted(names), "every started request is there exactly once"
    for name in names:
        row = rows[name]
        if name in done:
            assert (row["outcome"], row["output_tokens"], row["input_tokens"]) == ("ok", events, 3), row
        elif row["outcome"] == "ok": # settled, but its last bytes did not reach the client any more
            assert row["output_tokens"] == events
        else:
            assert row["outcome"] in ("aborted", "cancelled"), row
            assert received.get(name, 0) <= row["output_tokens"] <= slow.sent[name], (name, row)


def lives(pool, tmp_path, lives, streams):
    events = 6
    slow = Slow(events)
    a = pool.upstream("a", slow)
    config = {"upstreams": [a], "more": {"storage": {"path": str(tmp_path / "books.db")}, "queue": {"max_concurrent": 1000}, "server": {"workers": 2}}}
    everything = {}
    for life in range(1, lives + 1):
        names, received, done = kill_in_the_middle(pool, slow, config, streams, life * streams // (lives + 1) * 2)
        everything[life] = (names, received, done)
        slow.go.release(streams * events) # what is still there may end
        slow.go = threading.Semaphore(0)
    gateway = pool.start(a, **config["more"])
    rows = {}
    before = ""
    while True:
        page = Admin(gateway).get(f"/requests?limit=1000{before}")
        for row in page["data"]:
            assert row["request_id"] not in rows, "twice"
            rows[row["request_id"]] = row
        if not page["next"]:
            break
        before = f"&before={page['next']}"
    for names, received, done in everything.values():
        check_ledger({name: rows[name] for name in names if name in rows}, names, slow, received, done, events)
    total = Admin(gateway).total()
    assert total["requests"] == lives * streams
    assert total["output_tokens"] == sum(row["output_tokens"] for row in rows.values())


def test_kill_in_the_middle_of_streams(pool, tmp_path):
    lives(pool, tmp_path, 2, 40)


@pytest.mark.long
def test_kill_twenty_times_under_500_streams(pool, tmp_path):
    lives(pool, tmp_path, 20, 500)


# ---- a store that cannot be written


def test_default_place(pool, tmp_path):
    gateway = pool.start(pool.upstream())
    ask(gateway)
    Admin(gateway).wait_total(1)
    assert (gateway.folder / ".local" / "state" / "hestia" / "hestia.db").exists()


def test_a_start_that_fails_leaves_the_books_as_it_found_them(hestia, tmp_path):
    """Closed properly, or the next start would search a large file for damage; and no socket stays behind."""
    path, socket = tmp_path / "books.db", tmp_path / "socket"
    server = {"tls": {"cert": "nowhere.pem", "key": "nowhere.pem"}}
    gateway = hestia({**pool_config(), "server": server, "storage": {"path": str(path)}}, arguments=("--listen", f"unix:{socket}"), wait=False)
    gateway.expected_exit = 1
    assert gateway.wait_exit() == 1
    assert "nowhere.pem" in gateway.stderr
    assert (tmp_path / "books.db-lock").read_text() == "clean\n"
    assert not socket.exists()


def test_newer_schema_is_refused(hestia, tmp_path):
    import sqlite3

    path = tmp_path / "books.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9999")
    gateway = hestia({**pool_config(), "storage": {"path": str(path)}}, wait=False)
    gateway.expected_exit = 1
    assert gateway.process.wait(20) == 1
    assert "newer" in gateway.stderr_path.read_text()
