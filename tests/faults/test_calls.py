"""System calls that fail: descriptors and ports that run out, a disk that is full or broken, a database that somebody
else keeps locked, processes that cannot be forked, a wall clock that jumps. Proxying goes on, the account book says what
it lost and counts nothing twice."""

import json
import os
import signal
import sqlite3
import time

import pytest

from backend import answer_ok
from books import Admin, ask_as, client, limit
from gateway import SCALE
from pool import CHAT, Stream, answer, ask, chat, event, chunk, served, streams
from waiting import DEADLINE, eventually
from wire import Closed

DISK = ["ENOSPC", "EIO", "EDQUOT", "EROFS"]


def metric(gateway, name):
    """The sum over its labels."""
    total = None
    for line in gateway.get("/metrics").text.splitlines():
        if line.startswith((name + " ", name + "{")):
            total = (total or 0) + float(line.rpartition(" ")[2])
    return total


def cpu_seconds(gateway):
    fields = open(f"/proc/{gateway.process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- descriptors


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_accept_fails_for_a_while(hestia, backend, faults, error):
    """No busy loop, open connections are served, and afterwards everybody is welcome again."""
    gateway = hestia({"server": {"workers": 1}, "services": {"s": {"base_url": backend.url}}}, env=faults.env)
    with gateway.connect() as old:
        old.request("GET", "/services/s/")
        assert old.read_response().status == 200
        faults.fail("accept", error)
        before = cpu_seconds(gateway)
        waiting = [gateway.connect() for _ in range(5)]
        eventually(lambda: faults.failed("accept") >= 3, "it has tried again")
        begun, tried = time.monotonic(), faults.failed("accept")
        old.request("GET", "/services/s/")
        assert old.read_response().status == 200, "who is in is served"
        eventually(lambda: faults.failed("accept") >= tried + 4, "it goes on trying")
        assert faults.failed("accept") - tried < 10 + (time.monotonic() - begun) * 200, "a busy loop"
        assert cpu_seconds(gateway) - before < 0.5 + (time.monotonic() - begun) / 2, "a busy loop"
        faults.heal()
        for connection in waiting:
            connection.close()
        assert gateway.get("/services/s/").status == 200


@pytest.mark.parametrize("error", ["EINTR", "ECONNABORTED", "EPERM", "EPROTO"])
def test_accept_fails_once(hestia, backend, faults, error):
    gateway = hestia({"server": {"workers": 1}, "services": {"s": {"base_url": backend.url}}}, env=faults.env)
    faults.fail("accept", error, count=1)
    for _ in range(3):
        assert gateway.get("/services/s/").status == 200
    assert faults.heal() == 1


@pytest.mark.parametrize("call, error", [("socket", "EMFILE"), ("socket", "ENOBUFS"), ("connect", "EADDRNOTAVAIL"), ("connect", "ECONNREFUSED"),
                                         ("connect", "ENETUNREACH"), ("connect", "EHOSTUNREACH"), ("connect", "EPERM"), ("connect", "EAGAIN")])
def test_connecting_fails(hestia, pool, backend, faults, call, error):
    """502 of a service, the next provider of the pool, and all is well afterwards."""
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b, env=faults.env, services={"s": {"base_url": backend.url}}, server={"workers": 1})
    gateway.start("s")
    for _ in range(2):  # both lists are known
        ask(gateway)
    faults.fail(call, error)
    with gateway.connect() as connection:
        connection.request("POST", "/services/s/", body=b"x")
        response = connection.read_response()
    assert faults.heal() >= 1
    assert response.status in (502, 503) and response.code in ("upstream_unreachable", "upstream_error", "out_of_descriptors", "service_unavailable",
                                                              "internal_error"), response
    assert gateway.post("/services/s/", b"x").status == 200
    assert ask(gateway).status == 200


# ---- the disk


def books(pool, faults, tmp_path, policy="serve", **more):
    """A gateway over one upstream with its book under tmp_path/books."""
    gateway = pool.start(pool.opened[0] if pool.opened else pool.upstream(), env=faults.env, server={"workers": 1},
                         storage={"path": str(tmp_path / "books" / "books.db"), "on_store_failure": policy}, **more)
    return gateway, Admin(gateway)


def wait_well(gateway):
    eventually(lambda: metric(gateway, "hestia_store_healthy") == 1, "the store is well")


@pytest.mark.parametrize("policy", ["serve", "reject"])
@pytest.mark.parametrize("call, error", [*(("write", error) for error in DISK), ("sync", "EIO"), ("read", "EIO"), ("truncate", "EIO")])
def test_database_on_a_broken_disk(pool, faults, tmp_path, call, error, policy):
    """The journal keeps what the database cannot take; it all is in the book, once, when the disk is back."""
    gateway, admin = books(pool, faults, tmp_path, policy)
    assert served(ask(gateway)) == "a"
    admin.wait_total(1)
    faults.fail(call, error, path="books.db")
    for _ in range(10):
        assert served(ask(gateway)) == "a", "the journal works: nobody is refused"
    created = admin.call("POST", "/clients", {"name": "ann"})
    if created.status != 201:
        assert created.status == 503 and created.code == "store_unavailable", created
        assert "ann" not in [one["name"] for one in admin.get("/clients")["data"]]
    failed = faults.heal()
    assert failed or call in ("read", "truncate"), "no call was made to fail"
    wait_well(gateway)
    assert admin.wait_total(11)["requests"] == 11
    assert admin.call("POST", "/clients", {"name": "bob"}).status == 201
    gateway.stop()
    again, admin = books(pool, faults, tmp_path, policy)
    assert admin.total()["requests"] == 11 and len(admin.requests()) == 11
    assert "bob" in [one["name"] for one in admin.get("/clients")["data"]]
    with sqlite3.connect(tmp_path / "books" / "books.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("error", DISK)
@pytest.mark.parametrize("call", ["allocate", "open"])
def test_journal_without_a_disk_serves(pool, faults, tmp_path, call, error):
    """Not one record can be written: with `serve` the pool answers, and afterwards accounts go on where they can."""
    faults.fail(call, error, path=".seg")
    gateway, admin = books(pool, faults, tmp_path)
    for _ in range(3):
        assert served(ask(gateway)) == "a"
    gateway.wait_event("journal_unavailable")
    assert len(gateway.find_events("journal_unavailable")) == 1, "said once"
    assert faults.heal() > 0
    eventually(lambda: served(ask(gateway)) and gateway.find_events("journal_recovered"), "it records again")
    lost = len(pool.opened[0].calls) - admin.wait_total(1)["requests"]
    assert lost >= 3
    total = admin.total()["requests"]
    assert served(ask(gateway)) == "a"
    assert admin.wait_total(total + 1)["requests"] == total + 1


@pytest.mark.parametrize("error", DISK)
def test_journal_without_a_disk_rejects(pool, faults, tmp_path, error):
    faults.fail("allocate", error, path=".seg")
    gateway, admin = books(pool, faults, tmp_path, "reject")
    for _ in range(3):
        response = ask(gateway)
        assert response.status == 503 and response.code == "store_unavailable" and response.value("Retry-After"), response
    assert pool.opened[0].calls == [], "nobody was asked"
    assert gateway.get("/health").status == 200
    assert faults.heal() > 0
    eventually(lambda: ask(gateway).status == 200, "it serves again")
    done = len(pool.opened[0].calls)
    assert admin.wait_total(done)["requests"] == done, "each that was served, once"


def test_database_locked_by_another(pool, faults, tmp_path):
    """SQLITE_BUSY for longer than it waits."""
    gateway, admin = books(pool, faults, tmp_path)
    assert served(ask(gateway)) == "a"
    admin.wait_total(1)
    other = sqlite3.connect(tmp_path / "books" / "books.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(5):
        assert served(ask(gateway)) == "a"
    eventually(lambda: metric(gateway, "hestia_store_healthy") == 0, "it is unwell")
    created = admin.call("POST", "/clients", {"name": "ann"})
    assert created.status == 503 and created.code == "store_unavailable", created
    assert served(ask(gateway)) == "a"
    other.execute("ROLLBACK")
    other.close()
    wait_well(gateway)
    assert admin.wait_total(7)["requests"] == 7 and len(admin.requests()) == 7


def test_killed_while_the_disk_is_broken(pool, faults, tmp_path):
    """What the journal alone has survives a kill -9, and counts once."""
    gateway, admin = books(pool, faults, tmp_path)
    assert served(ask(gateway)) == "a"
    admin.wait_total(1)
    faults.fail("write", "ENOSPC", path="books.db")
    for _ in range(9):
        assert served(ask(gateway)) == "a"
    gateway.kill()
    faults.heal()
    for _ in range(2):  # the second start finds nothing left to count
        gateway, admin = books(pool, faults, tmp_path)
        assert admin.total()["requests"] == 10 and len(admin.requests()) == 10
        gateway.stop()


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_limits_hold_while_the_disk_is_broken(pool, faults, tmp_path, error):
    gateway, admin = books(pool, faults, tmp_path, clients=[client("ann", strategy_id="s")],
                           strategies=[{"id": "s", "rate_limits": [limit("requests", 3, "hour")]}])
    faults.fail("write", error, path="books.db")
    assert [ask_as(gateway, "ann").status for _ in range(5)] == [200, 200, 200, 429, 429]
    faults.heal()
    wait_well(gateway)
    assert ask_as(gateway, "ann").status == 429
    assert admin.wait_total(3)["requests"] >= 3


@pytest.mark.parametrize("call, error, path", [("open", "EACCES", "books.db"), ("open", "EROFS", "books.db"), ("open", "EMFILE", "books.db"),
                                              ("write", "ENOSPC", "books.db"), ("write", "EIO", "books.db"), ("open", "EACCES", "pepper")])
def test_no_start_without_a_book(hestia, faults, tmp_path, call, error, path):
    """A clean refusal that names the file."""
    folder = tmp_path / "books"
    faults.fail(call, error, path=path)
    gateway = hestia({"storage": {"path": str(folder / "books.db")}}, env=faults.env, wait=False)
    gateway.expected_exit = 1
    assert gateway.wait_exit() == 1
    assert "books.db" in gateway.stderr, gateway.stderr
    faults.heal()
    assert hestia({"storage": {"path": str(folder / "books.db")}}, env=faults.env).get("/health").status == 200


# ---- processes


@pytest.mark.parametrize("call, error", [("fork", "EAGAIN"), ("fork", "ENOMEM"), ("pipe", "EMFILE"), ("pipe", "ENFILE")])
def test_a_child_cannot_be_made(hestia, fake, faults, call, error):
    service = fake()
    gateway = hestia({"services": {"f": service.config()}}, env=faults.env)
    faults.fail(call, error)
    response = gateway.get("/services/f/")
    if faults.heal() == 0:  # this call is not on the way
        assert response.status == 200
        return
    assert response.status == 503 and response.code in ("service_start_failed", "service_failed"), response
    gateway.start("f")
    assert gateway.get("/services/f/").status == 200 and service.starts == 1


# ---- the wall clock


@pytest.mark.parametrize("jump", [3600, -3600, 86400 * 40, -86400 * 40, 86400 * 365])
def test_clock_jumps(pool, faults, tmp_path, jump):
    """Nothing is counted twice, lost, refilled or negative; timers do not care."""
    gateway, admin = books(pool, faults, tmp_path, clients=[client("ann", strategy_id="s"), client("bob")],
                           strategies=[{"id": "s", "rate_limits": [limit("requests", 4, "minute")]}])
    assert [ask_as(gateway, "ann").status for _ in range(3)] == [200] * 3
    stream_before = Stream(gateway, chat(stream=True), [("Authorization", "Bearer key-of-bob")])
    stream_before.head()
    faults.jump(jump)
    assert [ask_as(gateway, "ann").status for _ in range(3)] == [200, 429, 429], "the window is not the wall clock's"
    stream_before.rest()
    stream_before.leave()
    for _ in range(5):
        assert ask_as(gateway, "bob").status == 200
    total = eventually(lambda: sum_of_rows(tmp_path) == 10 and sum_of_rows(tmp_path), "all ten are in the book, once")
    assert total == 10
    rows = admin.requests()
    assert all(row["duration_ms"] >= 0 for row in rows), rows
    assert gateway.get("/health").status == 200
    faults.jump(0)
    assert ask_as(gateway, "ann").status == 429
    assert ask_as(gateway, "bob").status == 200
    eventually(lambda: sum_of_rows(tmp_path) == 11, "the eleventh, too")
    gateway.stop()
    again, admin = books(pool, faults, tmp_path, clients=[client("ann", strategy_id="s"), client("bob")],
                         strategies=[{"id": "s", "rate_limits": [limit("requests", 4, "minute")]}])
    assert ask_as(again, "bob").status == 200


def sum_of_rows(tmp_path):
    """Of the hours in the book itself, whenever they are."""
    with sqlite3.connect(f"file:{tmp_path}/books/books.db?mode=ro", uri=True) as database:
        return database.execute("SELECT coalesce(sum(count), 0) FROM request_pages").fetchone()[0]


def test_clock_jumps_during_a_start(hestia, fake, faults):
    """Readiness, idle stop and back-off go by the other clock."""
    service = fake("--listen-when", "listen.fifo")
    gateway = hestia({"services": {"f": service.config(idle_timeout_ms=3_600_000)}}, env=faults.env)
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/x")
        service.wait_starts(1)
        faults.jump(7200)
        service.open_fifo("listen.fifo")
        assert connection.read_response().status == 200
        faults.jump(-7200)
        connection.request("GET", "/services/f/x")
        assert connection.read_response().status == 200
    assert gateway.status("f")["state"] == "hot" and service.starts == 1
