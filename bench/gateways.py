"""The gateways under test: their best configuration for each workload, their start and their end.

Everything listens on 127.0.0.1 only, lives in one temporary directory and is killed when `running` is left.
Used by `run`, `cold_start.py`, `memory.py` and `store.py`; `llm_gateways.py` has the two that come from registries.
"""

import contextlib
import ctypes
import getpass
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"

# The program that brings a needed command, and the package that holds it.
PACKAGES = {"cc": ["gcc", "libc6-dev"], "nginx": ["nginx"], "haproxy": ["haproxy"], "wrk": ["wrk"]}
PACKAGES |= {"node": ["nodejs"], "npm": ["npm"]}

NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 16000;
user {user};
pid {dir}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8000; multi_accept on; use epoll; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_max_body_size 0;
    client_body_buffer_size {body_buffer};
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    proxy_buffering {buffering};
    upstream up {{
        server 127.0.0.1:{upstream};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 {deferred};
        location / {{
            proxy_pass http://up;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_read_timeout 300s;
        }}
    }}
}}
"""

HAPROXY = """\
global
    nbthread 1
    maxconn 7000
    {bufsize}
defaults
    mode http
    http-reuse always
    {no_delay}
    timeout connect 5s
    timeout client 300s
    timeout server 300s
frontend in
    bind 127.0.0.1:{port} backlog 4096 {defer}
    default_backend up
backend up
    server up 127.0.0.1:{upstream}
"""

HESTIA = """\
server:
  listen: ["127.0.0.1:{port}"]
  workers: 1
  drain_seconds: 1
  limits: {{keepalive_requests: 1000000000}}
{server_extra}monitoring: {{log_level: WARNING}}
services:
  bench:
    base_url: "http://127.0.0.1:{upstream}"
    idle_timeout_ms: 0
{auth}"""

AUTH = """\
auth:
  api_keys: ["sha256:{digest}"]
"""

# What every request of the generator carries; with the pool it is the key of a client.
CLIENT_KEY = "sk-bench-0123456789abcdef"

# Names of the model at the three providers: the generator's backend takes no other one in a request.
POOL_MODELS = {"first": "bench-one", "second": "bench-model-two", "third": "bench-model-number-three"}

POOL = """\
server:
  listen: ["127.0.0.1:{port}"]
  workers: 1
  drain_seconds: 1
  limits: {{keepalive_requests: 1000000000}}
monitoring: {{log_level: WARNING}}
routing:
  strategy: weighted
  health_check: {{enabled: true, interval: 2}}
queue: {{max_concurrent: 1000}}
providers:
{providers}{books}"""

PROVIDER = """\
  - name: {name}
    base_url: "http://127.0.0.1:{upstream}/v1"
    api_key: sk-of-{name}
    weight: {weight}
    models: [small-model, {model}, other-model, bench-model]
    model_map: {{small-model: {model}, bench-model: {model}}}
"""

BOOKS = """\
clients:
  - {{id: bench, name: Bench, strategy_id: bench, key: "sha256:{digest}"}}
strategies:
  - id: bench
    name: Bench
    allowed_models: {{all_provider_models: [first, second, third]}}
    rate_limits:
      - {{limit_type: requests, value: 1000000000000, time_window: minute}}
      - {{limit_type: requests, value: 1000000000000, time_window: day}}
      - {{limit_type: total_tokens, value: 1000000000000, time_window: minute}}
      - {{limit_type: total_tokens, value: 1000000000000, time_window: day}}
pricing:
  overrides:
{prices}storage: {{path: "{dir}/books.db"}}
"""

PRICE = "    - {{provider: {name}, model: {model}, input_per_million: 0.15, output_per_million: 0.6}}\n"


# With large buffers the C library would give memory back to the kernel and take it again on every request, which
# doubles the cost of HAProxy and of an nginx that has run other workloads before; these settings stop that.
BIG_BODY_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}


def find_program(name):
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name, path=path)


def install(programs):
    """Installs the Debian packages of the programs that are missing."""
    missing = [p for p in programs if not find_program(p)]
    if not missing:
        return
    packages = [package for program in missing for package in PACKAGES[program]]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        command.insert(0, "sudo")
    print("bench: installing", *packages, flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        result = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        failed = result.returncode != 0
    except OSError:
        failed = True
    if failed or any(not find_program(p) for p in missing):
        raise SystemExit("bench: please install: " + " ".join(command))


def build(name, sources, headers=()):
    """Compiles a program of this folder into build/bench, unless it is newer than its sources."""
    target = BUILD / "bench" / name
    files = [HERE / s for s in sources]
    newest = max(f.stat().st_mtime for f in [*files, *(HERE / h for h in headers)])
    if not target.exists() or target.stat().st_mtime < newest:
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
        subprocess.run(["cc", *flags, *map(str, files), "-o", str(target)], check=True)
    return str(target)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pin_and_tie(cpu):
    """For preexec_fn: pins the child to one CPU (None = anywhere) and ends it together with its parent."""
    prctl = ctypes.CDLL(None).prctl

    def prepare():
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return prepare


def process_tree(pid):
    """The process and all that descend from it."""
    pids = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                pids += process_tree(int(child))
    return pids


def stop(process):
    """Ends the process and everything in its group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)


def wait_for_port(port, process, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args[0]} does not listen on port {port}")


def nginx_command(directory, port, upstream, workload, buffering):
    text = NGINX.format(
        dir=directory,
        user=getpass.getuser(),
        port=port,
        upstream=upstream,
        buffering=buffering,
        body_buffer="1m" if workload.big_body else "16k",
        deferred="deferred" if workload.new_connections else "",
    )
    path = directory / "nginx.conf"
    path.write_text(text)
    return [find_program("nginx"), "-c", str(path), "-p", str(directory), "-e", "stderr"]


def haproxy_command(directory, port, upstream, workload, buffer_size):
    text = HAPROXY.format(
        port=port,
        upstream=upstream,
        bufsize=f"tune.bufsize {buffer_size}" if workload.big_body else "",
        no_delay="option http-no-delay" if workload.sse else "",
        defer="defer-accept" if workload.new_connections else "",
    )
    path = directory / "haproxy.cfg"
    path.write_text(text)
    return [find_program("haproxy"), "-db", "-q", "-f", str(path)]


def pool_config(directory, port, upstream, with_books):
    """The completion path with everything on: weighted pool, model names rewritten, checks, client, limits, ledger."""
    weights = {"first": 3, "second": 2, "third": 1}
    providers = "".join(
        PROVIDER.format(name=name, upstream=upstream, weight=weights[name], model=model)
        for name, model in POOL_MODELS.items()
    )
    prices = "".join(PRICE.format(name=name, model=model) for name, model in POOL_MODELS.items())
    books = BOOKS.format(dir=directory, digest=hashlib.sha256(CLIENT_KEY.encode()).hexdigest(), prices=prices)
    return POOL.format(port=port, providers=providers, books=books if with_books else "")


def hestia_text(directory, port, upstream, workload, options):
    if workload.pool:
        return pool_config(directory, port, upstream, options.books)
    server_extra = ""
    if workload.new_connections and hestia_has(options.hestia, "defer_accept"):
        server_extra = "  defer_accept: true\n"
    auth = AUTH.format(digest=options.key_digest) if options.auth else ""
    return HESTIA.format(port=port, upstream=upstream, server_extra=server_extra, auth=auth)


def hestia_command(directory, port, upstream, workload, options):
    path = directory / "hestia.yml"
    path.write_text(hestia_text(directory, port, upstream, workload, options))
    extra = ["-c", options.hestia_config] if options.hestia_config else []
    return [options.hestia, "serve", "-c", str(path), *extra]


def hestia_has(program, key):
    """Whether this build knows a server key."""
    result = subprocess.run([program, "config", "schema"], capture_output=True, text=True, timeout=10, check=False)
    return f'"{key}"' in result.stdout


def command_for(name, directory, port, upstream, workload, options):
    if name == "relay":
        return [options.relay, str(port), str(upstream)]
    if name.startswith("haproxy"):
        return haproxy_command(directory, port, upstream, workload, 32768 if name == "haproxy-32k" else 131072)
    if name == "hestia":
        return hestia_command(directory, port, upstream, workload, options)
    return nginx_command(directory, port, upstream, workload, "on" if name == "nginx-on" else "off")


@contextlib.contextmanager
def running(command, directory, port, cpu=None, environment=None, seconds=10):
    """Starts a gateway and yields its process once the port accepts connections, which may take so many seconds."""
    log = open(directory / "output.log", "wb")
    environment = {**os.environ, "XDG_STATE_HOME": str(directory), "HOME": str(directory), **(environment or {})}
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=pin_and_tie(cpu),
    )
    try:
        wait_for_port(port, process, seconds)
        yield process
    finally:
        stop(process)
        log.close()
