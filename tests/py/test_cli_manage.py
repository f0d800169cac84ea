"""`hestia clients`, `hestia strategies`, `hestia usage` against a running gateway."""

import json

import pytest

from books import Admin, bearer, hashed
from gateway import run_cli
from pool import ask, closed_url, served
from waiting import eventually


@pytest.fixture
def cli(pool, tmp_path):
    """cli(words…, key=, **options) → the finished command, against a gateway over one provider."""
    upstream = pool.upstream()
    gateway = pool.start(upstream, auth={"admin_keys": [hashed("the-admin")]})

    def run(*words, key="the-admin", input=None, url=None):
        env = {"HESTIA_URL": url or f"http://127.0.0.1:{gateway.port}", "HESTIA_ADMIN_KEY": key}
        return run_cli(*words, cwd=tmp_path, env=env, input=input)

    run.gateway = gateway
    return run


def data(done):
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_life_of_a_client(cli):
    made = data(cli("clients", "create", "ann", "--json"))
    assert made["key"].startswith("hk_") and made["name"] == "ann"
    assert served(ask(cli.gateway, fields=bearer(made["key"]))) == "a"
    listed = cli("clients")
    assert listed.returncode == 0
    head, row = listed.stdout.splitlines()
    assert head.split()[:4] == ["ID", "NAME", "ENABLED", "STRATEGY"] and "ann" in row and made["key"] not in listed.stdout
    assert cli("clients", "disable", made["id"]).returncode == 0
    assert ask(cli.gateway, fields=bearer(made["key"])).status == 401
    assert cli("clients", "enable", made["id"]).returncode == 0
    assert data(cli("clients", "rename", made["id"], "anna", "--json"))["name"] == "anna"
    rotated = data(cli("clients", "rotate", made["id"], "--json"))
    assert rotated["key"] != made["key"]
    assert data(cli("clients", "assign", made["id"], "default", "--json"))["strategy_id"] == "default"
    shown = cli("clients", "show", made["id"])
    assert "anna" in shown.stdout and "hk_" in shown.stdout and rotated["key"] not in shown.stdout
    assert cli("clients", "delete", made["id"]).returncode == 0
    assert data(cli("clients", "list", "--json"))["data"] == []


def test_clients_by_name(cli):
    """What a person knows of a client is its name."""
    made = data(cli("clients", "create", "Laptop", "--json"))
    assert data(cli("clients", "show", "laptop", "--json"))["id"] == made["id"]
    assert data(cli("clients", "disable", "LAPTOP", "--json"))["enabled"] is False
    assert data(cli("clients", "enable", "Laptop", "--json"))["enabled"] is True
    assert data(cli("clients", "assign", "laptop", "default", "--json"))["strategy_id"] == "default"
    rotated = data(cli("clients", "rotate", "laptop", "--json"))
    assert rotated["id"] == made["id"] and rotated["key"] != made["key"]
    assert data(cli("clients", "rename", "laptop", "Desktop", "--json"))["name"] == "Desktop"
    assert cli("clients", "show", "laptop").returncode == 1
    assert data(cli("clients", "delete", "desktop", "--json"))["id"] == made["id"]


def test_a_name_of_two_clients_is_refused(cli):
    ids = [data(cli("clients", "create", name, "--json"))["id"] for name in ("ann", "Ann", "anna")]
    done = cli("clients", "delete", "ANN")
    assert done.returncode == 1 and not done.stdout
    assert ids[0] in done.stderr and ids[1] in done.stderr and ids[2] not in done.stderr
    assert len(data(cli("clients", "list", "--json"))["data"]) == 3
    assert cli("clients", "delete", ids[1]).returncode == 0
    assert data(cli("clients", "delete", "ANN", "--json"))["id"] == ids[0]


def test_an_id_counts_more_than_a_name(pool, tmp_path):
    """Ids of the file may be anything, also the name of somebody else."""
    clients = [{"id": "one", "name": "two", "key": hashed("a")}, {"id": "two", "name": "three", "key": hashed("b")}]
    gateway = pool.start(pool.upstream(), auth={"admin_keys": [hashed("the-admin")]}, clients=clients)
    env = {"HESTIA_URL": f"http://127.0.0.1:{gateway.port}", "HESTIA_ADMIN_KEY": "the-admin"}
    assert data(run_cli("clients", "show", "two", "--json", cwd=tmp_path, env=env))["name"] == "three"
    assert data(run_cli("clients", "show", "THREE", "--json", cwd=tmp_path, env=env))["id"] == "two"


def test_clients_by_name_beyond_the_first_page(cli):
    admin = Admin(cli.gateway, bearer("the-admin"))
    ids = {name: admin.create_client(name, strategy_id="default")["id"] for name in [f"c{n}" for n in range(1005)]}
    for name in ("c0", "c1004"):
        assert data(cli("clients", "show", name.upper(), "--json"))["id"] == ids[name]


def test_life_of_a_strategy(cli):
    made = data(cli("strategies", "create", "careful", "--json"))
    limits = [{"limit_type": "requests", "value": 5, "time_window": "minute"}]
    changed = data(cli("strategies", "update", made["id"], "--data", "-", "--json", input=json.dumps({"rate_limits": limits})))
    assert [one["value"] for one in changed["rate_limits"]] == [5]
    one = data(cli("clients", "create", "bob", "--strategy", made["id"], "--json"))
    assert "bob" in cli("strategies", "clients", made["id"]).stdout
    refused = cli("strategies", "delete", made["id"])
    assert refused.returncode == 1 and "1 client" in refused.stderr and "(409)" in refused.stderr
    ask(cli.gateway, fields=bearer(one["key"]))
    table = cli("usage", "limits").stdout
    assert "careful" in table and "requests" in table and "minute" in table
    assert cli("clients", "delete", one["id"]).returncode == 0
    assert cli("strategies", "rename", made["id"], "loose").returncode == 0
    assert "loose" in cli("strategies").stdout
    assert cli("strategies", "delete", made["id"]).returncode == 0


def test_usage_of_nothing(cli):
    lines = cli("usage").stdout.splitlines()
    assert lines[0].startswith("Nothing was used from 2") and "requests               0" in lines, lines


def test_costs_are_decimals(pool, tmp_path):
    upstream = pool.upstream()
    prices = {"overrides": [{"model": "m", "input_per_million": 0.02, "output_per_million": 0.004}]}
    gateway = pool.start(upstream.provider(models=["m"]), auth={"admin_keys": [hashed("the-admin")]}, pricing=prices)
    ask(gateway, fields=bearer("the-admin"))
    env = {"HESTIA_URL": f"http://127.0.0.1:{gateway.port}", "HESTIA_ADMIN_KEY": "the-admin"}
    rows = eventually(lambda: run_cli("usage", "requests", cwd=tmp_path, env=env).stdout.splitlines()[1:], "the request is in the list")
    assert rows[0].split()[-1] == "0.00000016"
    assert "cost                   0.00000016" in run_cli("usage", cwd=tmp_path, env=env).stdout


def test_usage(cli):
    ask(cli.gateway, fields=bearer("the-admin"))
    assert data(cli("usage", "--range", "hour", "--json"))["total"]["input_tokens"] == 7
    for words in (("usage",), ("usage", "--range", "hour"), ("usage", "--range", "day")):
        lines = cli(*words).stdout.splitlines()
        assert lines[0].split()[:2] == ["FROM", "REQUESTS"] and lines[2:4] == ["", "Total"], lines
        assert lines[1].split()[1] == "1" and "input_tokens           7" in lines[4:]
    assert len(data(cli("usage", "--range", "day", "--json"))["data"]) > 1400
    assert cli("usage", "ids", "--scope", "provider").stdout.split() == ["a"]
    rows = cli("usage", "requests", "--limit", "5").stdout.splitlines()
    assert len(rows) == 2 and "ok" in rows[1].split()


@pytest.mark.parametrize("words", [("clients", "fly"), ("clients", "show"), ("clients", "list", "x"), ("usage", "--strict-er"), ("clients", "rename", "a")])
def test_wrong_usage(cli, words):
    done = cli(*words)
    assert done.returncode == 2 and "--help" in done.stderr and not done.stdout


def test_errors_say_what_to_do(cli):
    refused = cli("clients", key="wrong")
    assert refused.returncode == 1 and "HESTIA_ADMIN_KEY" in refused.stderr
    nobody = cli("clients", url=closed_url())
    assert nobody.returncode == 1 and "running" in nobody.stderr
    unknown = cli("clients", "show", "no such/client")
    assert unknown.returncode == 1 and "(404)" in unknown.stderr
    bad = cli("strategies", "update", "default", "--data", "-", input='{"rate_limits": [{"limit_type": "requests", "value": -1, "time_window": "day"}]}')
    assert bad.returncode == 1 and bad.stderr.count("rate_limits[0].value") == 1
    assert cli("strategies", "update", "default", "--data", "nowhere.json").returncode == 1
    assert "rotate ID" in cli("clients", "--help").stdout
