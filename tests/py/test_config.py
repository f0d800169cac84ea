"""The command line and the configuration: exit codes, every mistake with its place, variables, the seeds (details.md 4, 8)."""

import json
import re
import subprocess

import pytest

from gateway import ROOT, environment, find_binary, run_cli

SEEDS = sorted((ROOT / "tests" / "fixtures" / "seeds").glob("*.yml"))


@pytest.fixture
def cli(tmp_path):
    """cli(*arguments, config=text, env={}) → what it said, with the config in c.yml."""

    def run(*arguments, config=None, env=None, input=None):
        if config is not None:
            (tmp_path / "c.yml").write_text(config)
        done = run_cli(*arguments, cwd=tmp_path, env=env, input=input)
        done.said = done.stdout + done.stderr
        return done

    return run


def validate(cli, config, *options, env=None):
    return cli("validate-config", *options, "c.yml", config=config, env=env)


# ---- commands


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_version(cli, arguments):
    done = cli(*arguments)
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_version_as_data(cli):
    assert re.fullmatch(r"\d+\.\d+\.\d+", json.loads(cli("version", "--json").stdout)["version"])


@pytest.mark.parametrize("command", [(), ("serve",), ("validate-config",), ("config",), ("version",), ("hash-key",), ("mock-llm",)])
def test_help(cli, command):
    done = cli(*command, "--help")
    assert done.returncode == 0 and not done.stderr
    assert "hestia" in done.stdout and (not command or command[0] in done.stdout)


@pytest.mark.parametrize("arguments", [
    ("no-such-command",), ("--no-such-option",), ("serve", "--nonsense"), ("validate-config", "--nonsense", "x"), ("config",),
    ("config", "nonsense"), ("serve", "--listen"), ("serve", "--port", "notanumber"), ("serve", "--port", "70000"),
    ("serve", "--log-format", "xml"), ("serve", "--listen", "nonsense"),
])
def test_wrong_usage(cli, arguments):
    done = cli(*arguments)
    assert done.returncode == 2, done.said
    assert done.stderr


def test_validate_says_ok(cli):
    done = validate(cli, "services: {a: {base_url: 'http://x:1'}}\n")
    assert done.returncode == 0, done.said


def test_validate_of_a_missing_file(cli):
    done = cli("validate-config", "nowhere.yml")
    assert done.returncode == 1 and "nowhere.yml" in done.said


def test_validate_of_several_is_their_merge(cli, tmp_path):
    (tmp_path / "a.yml").write_text("services: {s: {base_url: 'http://a:1', retry_count: 2}}\n")
    (tmp_path / "b.yml").write_text("services: {s: {retry_count: 5}}\nserver: {default_service: s}\n")
    assert cli("validate-config", "a.yml", "b.yml").returncode == 0
    # Alone, b.yml names a service without anything to reach: a warning, which --strict does not pass.
    assert cli("validate-config", "--strict", "b.yml").returncode == 1
    shown = cli("config", "show", "-c", "a.yml", "-c", "b.yml").stdout
    assert "http://a:1" in shown and re.search(r"retry_count: 5", shown)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.stem)
def test_every_block_of_the_seeds_loads(cli, seed):
    done = cli("validate-config", seed)
    assert done.returncode == 0, done.said


def test_there_are_seeds():
    families = {path.stem.partition("_")[0] for path in SEEDS}
    assert families == {"hestia", "hulumanage", "llamafarm", "localrouter"} and len(SEEDS) > 40


@pytest.mark.parametrize("config, key", [
    ("strategies: [{name: s, routing_rules: [{condition: a, target: b}]}]\n", "strategies[0].routing_rules"),
    ("strategies: [{name: s, auto_config: {routellm_config: {enabled: true}}}]\n", "routellm_config"),
    ("cache: {ttl: 5}\n", "cache"),
    ("services: {a: {base_url: 'http://x:1', strategy: model_router}}\n", "strategy"),
    ("services: {a: {base_url: 'http://x:1', semaphore_enabled: true, semaphore_machine_id: m}}\n", "semaphore_enabled"),
])
def test_keys_of_features_to_come_are_named(cli, config, key):
    done = validate(cli, config)
    assert done.returncode == 0
    assert any(key in line and "not active" in line for line in done.said.splitlines()), done.said


BOOKS = """\
strategies:
  - id: s
    parent: c
    allowed_models: {all_provider_models: [p]}
    auto_config: {enabled: true, prioritized_models: [p/a, [p, b]]}
    rate_limits: [{limit_type: cost, value: 0.1, time_window: day}]
clients: [{id: c, strategy_id: s, key: "${CLIENT_KEY}"}]
pricing: {overrides: [{model: m, input_per_million: 1}], providers: {p: {n: {output_per_million: 2.5}}}}
storage: {path: books.db, on_store_failure: reject, request_days: 3}
auth: {anonymous: s}
"""


def test_the_books_are_active(cli):
    done = validate(cli, BOOKS, "--strict", env={"CLIENT_KEY": "planted"})
    assert done.returncode == 0 and "not active" not in done.said and "planted" not in done.said, done.said


@pytest.mark.parametrize("written, instead, key, sentence", [
    ("value: 0.1", "value: 0", "strategies[0].rate_limits[0].value", "US dollars, more than 0"),
    ("value: 0.1", "value: .nan", "strategies[0].rate_limits[0].value", "US dollars, more than 0"),
    ("limit_type: cost", "limit_type: requests", "strategies[0].rate_limits[0].value", "a whole number, at least 1"),
    ("limit_type: cost", "limit_type: dollars", "strategies[0].rate_limits[0].limit_type", "total_tokens, cost"),
    ("[p/a, [p, b]]", "[p/a, [P, A]]", "strategies[0].auto_config.prioritized_models[1]", "already given"),
    ("[p/a, [p, b]]}", "[p/a], available_models: [P/a]}", "strategies[0].auto_config.available_models[0]", "prioritized models too"),
    ("${CLIENT_KEY}", "planted", "clients[0].key", "plain text"),
    ("input_per_million: 1}", "input_per_million: -1}", "pricing.overrides[0].input_per_million", "at least 0"),
    ("request_days: 3", "request_days: 0", "storage.request_days", "1 to 3650"),
])
def test_mistakes_in_the_books(cli, written, instead, key, sentence):
    assert written in BOOKS
    done = validate(cli, BOOKS.replace(written, instead), env={"CLIENT_KEY": "planted"})
    assert done.returncode == 1 and "planted" not in done.said
    assert any(f"{key}: " in line and sentence in line for line in done.said.splitlines()), done.said


@pytest.mark.parametrize("written, instead, key", [
    ("strategy_id: s,", "strategy_id: t,", "clients[0].strategy_id"),
    ("anonymous: s", "anonymous: t", "auth.anonymous"),
    ("parent: c", "parent: d", "strategies[0].parent"),
    ("all_provider_models: [p]", "all_provider_models: [q]", "strategies[0].auto_config.prioritized_models[0]"),
    ("all_provider_models: [p]", "all_provider_models: []", "strategies[0].allowed_models"),
    ("[{id: c,", "[{id: c, allowed_llm_providers: [x],", "clients[0].allowed_llm_providers"),
])
def test_what_the_books_only_warn_of(cli, written, instead, key):
    assert written in BOOKS
    done = validate(cli, BOOKS.replace(written, instead), env={"CLIENT_KEY": "planted"})
    assert done.returncode == 0, done.said
    assert any(line.startswith("warning: ") and f"{key}: " in line for line in done.said.splitlines()), done.said


# ---- what a start needs beyond the text


SERVER_TLS = "server: {tls: {cert: cert.pem, key: key.pem}}\n"
SERVICE_CA = "services: {a.b: {base_url: 'https://127.0.0.1:1', tls: {ca: nope.pem}}}\n"
PROVIDER_CA = "providers: [..., {name: p, base_url: 'https://127.0.0.1:1', api_key: k, tls: {ca: nope.pem}}]\n"


@pytest.mark.parametrize("config, place, sentences", [
    (SERVER_TLS, "c.yml:1:15: server.tls: ", ["cert.pem: No such file or directory"]),
    ("pricing: {import: nope.json}\n", "c.yml:1:19: pricing.import: ", ["nope.json", "No such file or directory"]),
    ("pricing: {import: broken.json}\n", "c.yml:1:19: pricing.import: ", ["broken.json: line 1, column "]),
    ("server: {user: nobody-of-that-name}\n", "c.yml:1:16: server.user: ", ["there is no user nobody-of-that-name"]),
    (SERVICE_CA, "c.yml:1:61: services.a.b.tls.ca: ", ["nope.pem: No such file or directory"]),
    (PROVIDER_CA, "c.yml:1:83: providers[0].tls.ca: ", ["nope.pem: No such file or directory"]),
    ("services: {a: {command: ['', x]}}\n", "c.yml:1:25: services.a.command: ", ["empty"]),
    ("services: {a: {base_url: 'http://x:1', command: ''}}\n", "c.yml:1:49: services.a.command: ", ["empty"]),
    ("services: {a: {command: ' '}}\n", "c.yml:1:25: services.a.command: ", ["empty"]),
])
def test_what_a_start_would_refuse(cli, tmp_path, config, place, sentences):
    (tmp_path / "broken.json").write_text('{"m": ')
    done = validate(cli, config)
    assert done.returncode == 1 and "1 error," in done.stdout, done.said
    assert any(place in line and all(one in line for one in sentences) for line in done.stdout.splitlines()), done.said
    assert done.stdout.count(place.split(": ")[1]) == 1, done.said


def test_files_of_use_are_valid(cli, tmp_path, authority):
    cert, key = authority.issue("inspected")
    (tmp_path / "prices.json").write_text('{"m": {"input_cost_per_token": 1e-06}, "bad": {"input_cost_per_token": "x"}}')
    config = (f"server: {{tls: {{cert: {cert}, key: {key}}}, user: nobody}}\npricing: {{import: prices.json}}\n"
              f"services: {{a: {{base_url: 'https://127.0.0.1:1', tls: {{ca: {authority.ca}}}}}}}\n")
    done = validate(cli, config)
    assert done.returncode == 0 and done.stdout == "valid: 0 errors, 0 warnings\n", done.said


def test_missing_certificate_at_the_start(hestia):
    gateway = hestia(SERVER_TLS, wait=False)
    gateway.expected_exit = 1
    assert gateway.wait_exit() == 1
    assert "cert.pem: No such file or directory" in gateway.stderr


def test_client_of_the_file_without_a_key(cli):
    done = validate(cli, "clients: [{name: app}, {name: off, enabled: false}]\n")
    assert done.returncode == 0 and "1 warning\n" in done.stdout, done.said
    assert "clients[0].key: " in done.stdout and "hash-key" in done.stdout


def test_shipped_config_is_valid_and_has_the_demo(cli):
    done = cli("validate-config", ROOT / "hestia_config.yml")
    assert done.returncode == 0, done.said
    shown = cli("config", "show", "-c", ROOT / "hestia_config.yml").stdout
    assert "http://localhost:11434" in shown and "mock-llm" in shown


def test_shipped_ollama_is_asked_where_the_environment_says(hestia, backend):
    gateway = hestia((ROOT / "hestia_config.yml").read_text(), env={"OLLAMA_BASE_URL": backend.url})
    assert gateway.get("/services/ollama/x").body == b"ok"
    assert backend.paths() == ["/api/tags", "/x"]


def test_documentation_is_what_the_tables_say(cli):
    done = cli("config", "doc")
    assert done.returncode == 0
    assert done.stdout == (ROOT / "docs" / "config.md").read_text()


def test_documentation_names_every_key(cli):
    text = cli("config", "doc").stdout
    for key in ("idle_timeout_ms", "health_url", "wake_ignore", "drain_seconds", "trusted_proxies", "queue_size", "max_concurrent",
                "insecure_skip_verify", "allow_open", "keepalive_requests", "stop_timeout_ms", "env_inherit", "default_service"):
        assert key in text, key


def test_schema(cli):
    schema = json.loads(cli("config", "schema").stdout)
    assert "2020-12" in schema["$schema"]
    assert schema["additionalProperties"] is False
    assert {"server", "auth", "services", "providers", "strategies"} <= set(schema["properties"])


# ---- mistakes


def test_all_mistakes_at_once_with_their_places(cli):
    done = validate(cli, """\
server:
  drain_second: 5
services:
  one:
    base_ur: "http://x:1"
    retry_count: many
  two:
    base_url: "http://x:1"
    idle_timeout_ms: -1
    queue_size: 0
sevices: {}
""")
    assert done.returncode == 1
    for place, words in [("c.yml:2:3", "drain_seconds"), ("c.yml:5:5", "base_url"), ("c.yml:6:18", "retry_count"),
                         ("c.yml:9:22", "idle_timeout_ms"), ("c.yml:10:17", "queue_size"), ("c.yml:11:1", "services")]:
        assert any(place in line and words in line for line in done.said.splitlines()), (place, words, done.said)


@pytest.mark.parametrize("config, place, word", [
    ("services:\n  a:\n    base_url: http://x\n    base_url: http://y\n", "c.yml:4:5", "base_url"),
    ("services:\n  a: {}\n  a: {}\n", "c.yml:3:3", "a"),
    ("services: [1]\n", "c.yml:1:11", "services"),
    ("services:\n  a: nonsense\n", "c.yml:2:6", "a"),
    ("services:\n  a:\n    instances: [{weight: 1}]\n", "c.yml:3:", "url"),
    ("services:\n  a:\n    instances: {url: x}\n", "c.yml:3:", "instances"),
    pytest.param(f"services:\n  a:\n    instances: [{', '.join(['{url: http://x}'] * 257)}]\n", "c.yml:3:16", "at most 256",
                 id="257 instances"),
    ("services:\n  a:\n    base_url: ftp://x\n", "c.yml:3:15", "base_url"),
    ("services:\n  a:\n    base_url: 'http://'\n", "c.yml:3:15", "base_url"),
    ("services:\n  a:\n    base_url: 'http://x:99999'\n", "c.yml:3:15", "base_url"),
    ("services:\n  a:\n    base_url: http://x\n    waiting_page: maybe\n", "c.yml:4:19", "waiting_page"),
    ("services:\n  a:\n    base_url: http://x\n    orchestrator: dokcer\n", "c.yml:4:19", "docker"),
    ("server:\n  workers: -1\n", "c.yml:2:12", "workers"),
    ("server:\n  listen: ['nonsense']\n", "c.yml:2:", "listen"),
    ("server:\n  default_service: ghost\n", "c.yml:2:20", "ghost"),
    ("server:\n  trusted_proxies: ['300.1.1.1']\n", "c.yml:2:", "trusted_proxies"),
    ("server:\n  limits:\n    body: 5XB\n", "c.yml:3:11", "body"),
    ("server:\n  tls: {cert: only.pem}\n", "c.yml:2:", "key"),
    ("services:\n\ta: {}\n", "c.yml:2:", ""),
    ("services: {a: [\n", "c.yml:", ""),
    ("a: b: c\n", "c.yml:1:", ""),
    ("- just\n- a list\n", "c.yml:1:1", ""),
    ("services:\n  a: &x {base_url: http://x}\n  b: *y\n", "c.yml:3:", ""),
    ("services:\n  'a/b': {base_url: http://x}\n", "c.yml:2:", "a/b"),
    ("services:\n  a: {base_url: http://x, hosts: [same.lan]}\n  b: {base_url: http://x, hosts: [same.lan]}\n", "c.yml:3:", "same.lan"),
])
def test_mistake(cli, config, place, word):
    done = validate(cli, config)
    assert done.returncode == 1, done.said
    assert any(place in line and word in line for line in done.said.splitlines()), done.said


def test_place_of_bytes_that_are_no_text(cli, tmp_path):
    (tmp_path / "latin.yml").write_bytes(b"services:\n  a:\n    base_url: 'http://x\xe4'\n")
    done = cli("validate-config", "latin.yml")
    # The byte where the character, begun by the one before, should go on.
    assert done.returncode == 1 and "latin.yml:3:25: " in done.stdout, done.said


def test_findings_as_data(cli):
    done = validate(cli, "serer: {}\n", "--json")
    assert done.returncode == 1
    findings = json.loads(done.stdout)
    listed = findings["findings"] if isinstance(findings, dict) else findings
    assert any("serer" in json.dumps(finding) and "c.yml:1:1" in json.dumps(finding) for finding in listed)


def test_bomb_of_aliases(cli):
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 10))
    done = validate(cli, "l0: &l0 x\n" + levels)
    assert done.returncode == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "services:\n", "services: {}\n", "version: '2.0.0'\n"])
def test_little_is_fine(cli, text):
    assert validate(cli, text).returncode == 0


@pytest.mark.parametrize("value, good", [("5", True), ('"5"', True), ("5.0", True), ("5.5", False), ("five", False), ("''", False),
                                         ("1e1", True), ("99999999999999999999999", False)])
def test_numbers_are_typed_by_the_schema(cli, value, good):
    done = validate(cli, f"services: {{a: {{base_url: 'http://x', retry_count: {value}}}}}\n")
    assert (done.returncode == 0) == good, done.said


@pytest.mark.parametrize("value", ["10s", "500ms", "2m", "1h", "10", "1.5s"])
def test_durations(cli, value):
    assert validate(cli, f"server: {{timeouts: {{head: {value}}}}}\n").returncode == 0


@pytest.mark.parametrize("value", ["8KiB", "1MiB", "65536", "10MB", "1GiB"])
def test_sizes(cli, value):
    assert validate(cli, f"server: {{limits: {{body: {value}}}}}\n").returncode == 0


def test_text_stays_text(cli):
    """api_key: 12345 and yes, no, null as words."""
    done = validate(cli, "providers: [{name: yes, base_url: 'http://x/v1', api_key: 12345}]\n")
    assert done.returncode == 0, done.said


# ---- variables


def shown(cli, config, env=None):
    done = cli("config", "show", "-c", "c.yml", config=config, env=env)
    assert done.returncode == 0, done.said
    return done.stdout


@pytest.mark.parametrize("written, env, value", [
    ("http://${H}:1", {"H": "host"}, "http://host:1"),
    ("${U:-http://default:1}", {}, "http://default:1"),
    ("${U:-http://default:1}", {"U": ""}, "http://default:1"),
    ("${U:-http://default:1}", {"U": "http://given:2"}, "http://given:2"),
    ("${U:-${V:-http://inner:3}}", {}, "http://inner:3"),
    ("${U:-${V:-http://inner:3}}", {"V": "http://v:4"}, "http://v:4"),
    ("http://${A}${B}:1", {"A": "a", "B": "b"}, "http://ab:1"),
    ("${U:-http://x/{y}/z}", {}, "http://x/{y}/z"),
    ("http://x/$${U}", {"U": "not this"}, "http://x/${U}"),
    ("http://x/$U/$", {"U": "not this"}, "http://x/$U/$"),
])
def test_variables(cli, written, env, value):
    assert value in shown(cli, f"services:\n  a:\n    fallback_url: '{written}'\n    base_url: 'http://x'\n", env)


def test_value_of_a_variable_is_not_expanded_again(cli):
    assert "http://${OTHER}" not in shown(cli, "services: {a: {base_url: 'http://x/${V}'}}\n", {"V": "plain", "OTHER": "o"})
    text = shown(cli, "services: {a: {base_url: 'http://x/${V}'}}\n", {"V": "${OTHER}", "OTHER": "canary"})
    assert "canary" not in text


def test_variable_becomes_a_number(cli):
    assert re.search(r'retry_count: "?7', shown(cli, "services: {a: {base_url: 'http://x', retry_count: '${N}'}}\n", {"N": "7"}))
    done = validate(cli, "services: {a: {base_url: 'http://x', retry_count: '${N}'}}\n", env={"N": "seven"})
    assert done.returncode == 1 and "retry_count" in done.said


def test_value_of_a_variable_is_no_yaml(cli):
    done = validate(cli, "services: {a: {base_url: 'http://x', workdir: '${V}'}}\n", env={"V": "x: y\nevil: {}"})
    assert done.returncode == 0 and "evil" not in done.said


def test_unset_variable_disables_only_what_needs_it(cli):
    config = "services:\n  good: {base_url: 'http://x:1'}\n  bad: {base_url: '${MISSING_URL}'}\n"
    done = validate(cli, config)
    assert done.returncode == 0
    warning = [line for line in done.said.splitlines() if "MISSING_URL" in line]
    assert warning and "services.bad.base_url" in warning[0] and "c.yml:3:" in warning[0]
    assert validate(cli, config, "--strict").returncode == 1


def test_service_with_an_unset_variable_answers_503(hestia, backend):
    gateway = hestia({"services": {"bad": {"base_url": "${MISSING_URL}"}, "good": {"base_url": backend.url}}})
    assert gateway.get("/services/good/").status == 200
    response = gateway.get("/services/bad/")
    assert response.status == 503 and response.value("Retry-After")


def test_secrets_are_masked(cli):
    text = shown(cli, "providers: [{name: p, base_url: 'http://x/v1', api_key: canary-1}]\nauth: {api_keys: ['${K}']}\n"
                      "semaphore_password: canary-3\n", {"K": "canary-2"})
    assert "canary" not in text


# ---- services by the environment


def test_environment_creates_and_changes_services(hestia, backend, backends):
    other = backends()
    gateway = hestia({"services": {"known": {"base_url": "http://127.0.0.1:1"}, "my_svc": {"base_url": "http://127.0.0.1:1"}}},
                     env={"KNOWN_BASE_URL": backend.url, "REMOTE_API_BASE_URL": other.url, "REMOTE_API_RETRY_COUNT": "3",
                          "MY_SVC_BASE_URL": backend.url})
    assert gateway.get("/services/known/").status == 200
    assert gateway.get("/services/remote-api/x").body == b"ok" and other.last.target == "/x"
    assert gateway.get("/services/my_svc/").status == 200
    ids = [status["serviceId"] for status in gateway.get("/v1/services").json["services"]]
    assert "remote-api" in ids and "my-svc" not in ids


@pytest.mark.parametrize("name", ["SEMAPHORE_BASE_URL", "OPENAI_BASE_URL", "HESTIA_BASE_URL", "ANTHROPIC_BASE_URL", "AZURE_BASE_URL",
                                  "HULUMANAGE_BASE_URL"])
def test_reserved_prefixes_make_no_service(hestia, name):
    gateway = hestia({"services": {"only": {"base_url": "http://127.0.0.1:1"}}}, env={name: "http://x:1"})
    assert [status["serviceId"] for status in gateway.get("/v1/services").json["services"]] == ["only"]


@pytest.mark.parametrize("suffix, value", [
    ("RETRY_COUNT", "2"), ("RETRY_DELAY_MS", "5"), ("HEALTH_URL", "http://x/h"), ("WARMUP_MS", "5"), ("IDLE_TIMEOUT_MS", "600000"),
    ("FALLBACK_URL", "http://y"), ("QUEUE_SIZE", "7"), ("REQUEST_TIMEOUT_SECONDS", "9"), ("SEMAPHORE_ENABLED", "true"),
    ("SEMAPHORE_MACHINE_ID", "aws"), ("SEMAPHORE_START_TEMPLATE_ID", "3"), ("SEMAPHORE_STOP_TEMPLATE_ID", "4"),
    ("SEMAPHORE_TASK_TIMEOUT", "600"), ("SEMAPHORE_POLL_INTERVAL", "1.5"),
])
def test_every_suffix(cli, suffix, value):
    text = shown(cli, "services: {}\n", {"CLOUD_ML_BASE_URL": "http://gpu:8080", f"CLOUD_ML_{suffix}": value})
    assert "cloud-ml" in text and "http://gpu:8080" in text
    assert re.search(rf"{suffix.lower()}: [\"']?{re.escape(value)}", text), text


def test_bad_value_in_the_environment_is_ignored_with_a_warning(cli):
    done = validate(cli, "services: {a: {base_url: 'http://x'}}\n", env={"A_RETRY_COUNT": "many"})
    assert done.returncode == 0 and "A_RETRY_COUNT" in done.said


def test_config_by_environment(hestia, backend, tmp_path):
    (tmp_path / "elsewhere.yml").write_text(json.dumps({"services": {"e": {"base_url": backend.url}}}))
    gateway = hestia(env={"HESTIA_CONFIG_PATH": tmp_path / "elsewhere.yml"})
    assert gateway.get("/services/e/").status == 200


def test_option_wins_over_environment(hestia, tmp_path):
    (tmp_path / "elsewhere.yml").write_text("services: {e: {base_url: 'http://127.0.0.1:1'}}\n")
    gateway = hestia({"services": {"o": {"base_url": "http://127.0.0.1:1"}}}, env={"HESTIA_CONFIG_PATH": tmp_path / "elsewhere.yml"})
    assert [status["serviceId"] for status in gateway.get("/v1/services").json["services"]] == ["o"]


def test_where_hulumanage_would_listen(hestia):
    """Its variables win over the file, options over them."""
    config = {"server": {"listen": "127.0.0.1:1"}}
    for env, arguments, host in (({"HULUMANAGE_HOST": "127.0.0.2", "HULUMANAGE_PORT": 0}, (), "127.0.0.2"),
                                 ({"hulumanage_PORT": 0}, ("--approach", "proxy"), "127.0.0.1"),
                                 ({"HULUMANAGE_PORT": 1}, ("--listen", "127.0.0.3:0"), "127.0.0.3")):
        gateway = hestia(config, env=env, arguments=arguments)
        assert [where.rpartition(":")[0] for where in gateway.listen] == [host]


def test_search_order(hestia, tmp_path):
    home = tmp_path / "home"
    (home / ".config" / "hestia").mkdir(parents=True)
    (home / ".config" / "hestia" / "a.yml").write_text("services: {x: {base_url: 'http://127.0.0.1:1'}}\n")
    gateway = hestia(env={"HOME": home, "XDG_CONFIG_HOME": home / ".config"})
    assert [status["serviceId"] for status in gateway.get("/v1/services").json["services"]] == ["x"]
    (gateway.folder / "hestia_config.yml").write_text("services: {near: {base_url: 'http://127.0.0.1:1'}}\n")
    assert "near" in run_cli("config", "show", cwd=gateway.folder, env={"HOME": home}).stdout


def test_without_any_config_there_is_ollama(hestia):
    gateway = hestia()
    assert [status["serviceId"] for status in gateway.get("/v1/services").json["services"]] == ["ollama"]


def test_proxy_config_of_hulumanage_is_read(hestia, tmp_path):
    folder = tmp_path / "home" / ".hulumanage"
    folder.mkdir(parents=True)
    (folder / "proxy_config.yaml").write_text("providers: [{name: p, base_url: 'http://x/v1', api_key: k}]\nmonitoring: {log_level: WARNING}\n")
    text = run_cli("config", "show", cwd=tmp_path, env={"HOME": tmp_path / "home"}).stdout
    assert "http://x/v1" in text
    (tmp_path / "c.yml").write_text("services: {}\n")
    assert "http://x/v1" not in run_cli("config", "show", "-c", "c.yml", cwd=tmp_path, env={"HOME": tmp_path / "home"}).stdout


# ---- listening


def test_broken_config_does_not_start(hestia):
    gateway = hestia("services: {a: {base_ur: x}}\n", wait=False)
    gateway.expected_exit = 1
    assert gateway.wait_exit() == 1
    assert "base_url" in gateway.stderr + "\n".join(line for line in gateway.lines if line)


def test_port_in_use(hestia):
    first = hestia({})
    second = hestia({}, arguments=("--listen", f"127.0.0.1:{first.port}"), wait=False)
    second.expected_exit = 1
    assert second.wait_exit() == 1
    said = second.stderr + "\n".join(line for line in second.lines if line)
    assert str(first.port) in said
    assert first.get("/health").status == 200


def test_listen_several(hestia, tmp_path):
    gateway = hestia({}, arguments=("--listen", "127.0.0.1:0", "--listen", f"unix:{tmp_path}/s", "--listen", "[::1]:0"))
    assert len(gateway.listen) == 3
    assert gateway.get("/health").status == 200
    with gateway.connect_unix(tmp_path / "s") as connection:
        connection.request("GET", "/health")
        assert connection.read_response().status == 200


def test_start_line(hestia):
    event = hestia({}).wait_event("gateway_start")
    assert event["pid"] > 0 and re.fullmatch(r"127\.0\.0\.1:\d+", event["listen"][0])


def test_no_sub_command_serves(tmp_path):
    process = subprocess.Popen([find_binary(), "--listen", "127.0.0.1:0"], cwd=tmp_path, env=environment(tmp_path, {}),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = iter(process.stdout.readline, "")
        assert any('"gateway_start"' in line for line in lines)
    finally:
        process.terminate()
        process.stdout.close()
        assert process.wait(20) == 0
