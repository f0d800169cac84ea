"""Portkey and LiteLLM's proxy, the LLM gateways that bench/run measures beside Hestia: installation and start.

Both are pinned to the byte (portkey/package-lock.json, litellm/requirements.txt) and live in build/bench/ only.
"""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys

import gateways

PORTKEY_FILES = gateways.HERE / "portkey"
LITELLM_FILES = gateways.HERE / "litellm"
PORTKEY = gateways.BUILD / "bench" / "portkey"
LITELLM = gateways.BUILD / "bench" / "litellm"
PORTKEY_START = "node_modules/@portkey-ai/gateway/build/start-server.js"

LITELLM_CONFIG = """\
model_list:
  - model_name: bench-model
    litellm_params:
      model: openai/bench-model
      api_base: "http://127.0.0.1:{upstream}/v1"
      api_key: sk-upstream
litellm_settings:
  telemetry: false
  set_verbose: false
  num_retries: 0
  callbacks: []
general_settings:
  master_key: {key}
  disable_spend_logs: true
"""

LITELLM_LOGGING = """\
{"version": 1, "disable_existing_loggers": false,
 "loggers": {"uvicorn": {"level": "ERROR"}, "uvicorn.access": {"level": "ERROR", "propagate": false}}}
"""

ENVIRONMENT = {
    "portkey": {"NODE_ENV": "production"},
    "litellm": {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the network for prices when it starts
    },
}


def digest(files):
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()


def sources(name):
    """What the installation is made from."""
    if name == "portkey":
        return [PORTKEY_FILES / "package.json", PORTKEY_FILES / "package-lock.json"]
    return [LITELLM_FILES / "requirements.txt"]


def folder(name):
    return PORTKEY if name == "portkey" else LITELLM


def is_installed(name):
    """Whether build/bench/ has it, whole and as pinned."""
    stamp = folder(name) / "installed"
    return stamp.exists() and stamp.read_text() == digest(sources(name))


def check_run(command, **arguments):
    print("bench:", *map(str, command), flush=True)
    result = subprocess.run(command, stdout=subprocess.DEVNULL, check=False, **arguments)
    if result.returncode != 0:
        raise SystemExit(f"bench: {command[0]} failed")


def find_python():
    """Python 3.11, for which the set is pinned."""
    for program in ("python3.11", sys.executable, "python3"):
        with contextlib.suppress(OSError):
            code = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))"
            if subprocess.run([program, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return program
    raise SystemExit("bench: LiteLLM's pinned set needs Python 3.11 with venv (Debian: python3.11-venv)")


def install_portkey():
    gateways.install(["node", "npm"])
    for file in sources("portkey"):
        shutil.copy(file, PORTKEY)
    flags = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    check_run([gateways.find_program("npm"), "ci", *flags], cwd=PORTKEY)


def install_litellm():
    check_run([find_python(), "-m", "venv", LITELLM])
    flags = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    check_run([LITELLM / "bin" / "python", "-m", "pip", "install", *flags, "-r", LITELLM_FILES / "requirements.txt"])


def install(name):
    """Installs it into build/bench/, unless it is there; a half-done or outdated installation is made anew."""
    if is_installed(name):
        return
    target = folder(name)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    install_portkey() if name == "portkey" else install_litellm()
    (target / "installed").write_text(digest(sources(name)))


def environment(name):
    """Variables beside the inherited ones; None where there are none."""
    return ENVIRONMENT.get(name)


def command(name, directory, port, upstream, key):
    if name == "portkey":
        node = [gateways.find_program("node"), "--max-semi-space-size=64", "--require", str(PORTKEY_FILES / "loopback.cjs")]
        return [*node, str(PORTKEY / PORTKEY_START), "--headless", f"--port={port}"]
    config, logging = directory / "litellm.yml", directory / "logging.json"
    config.write_text(LITELLM_CONFIG.format(upstream=upstream, key=key))
    logging.write_text(LITELLM_LOGGING)
    listen = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--keepalive_timeout", "300"]
    return [str(LITELLM / "bin" / "litellm"), "--config", str(config), "--log_config", str(logging), *listen]


def request_flags(name, upstream):
    """What the generator must do for it: they write requests and answers anew, and LiteLLM would compress."""
    flags = ["--any-request", "--any-answer", "--identity"]
    if name == "portkey":
        flags += ["--header", "x-portkey-provider: openai"]
        flags += ["--header", f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1"]
    return flags


def version(name):
    """As pinned, with what runs it."""
    if name == "portkey":
        package = json.loads((PORTKEY / "node_modules/@portkey-ai/gateway/package.json").read_text())
        return f"{package['version']}, Node {output([gateways.find_program('node'), '--version'])}"
    found = [line for line in (LITELLM_FILES / "requirements.txt").read_text().splitlines() if line.startswith("litellm==")]
    return f"{found[0].split()[0].removeprefix('litellm==')}, {output([LITELLM / 'bin' / 'python', '--version'])}"


def output(command_line):
    return subprocess.run(command_line, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
