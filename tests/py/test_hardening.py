"""What stands between a fault and an attacker: how the binary is built, as whom it runs, what it shows of itself, what a
crash leaves behind, and what systemd is told."""

import configparser
import ctypes
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import elf
from elf import Elf
from gateway import ROOT, children_of, environment, find_binary, has_ended, processes_mentioning
from waiting import DEADLINE, eventually

UNIT = ROOT / "deploy" / "systemd" / "hestia.service"
IS_ROOT = os.geteuid() == 0


def status_of(pid):
    """/proc/PID/status as a dict."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def core_limit_of(pid):
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line)
    return line.split()[4:6]


# ---- the build


def release_commands(folder):
    """(compile, link) arguments of a release build, as meson configures it here."""
    subprocess.run(["meson", "setup", str(folder), str(ROOT), "-Dbuildtype=release"], check=True, capture_output=True)
    commands = json.loads((folder / "compile_commands.json").read_text())
    compile_command = next(entry["command"] for entry in commands if entry["file"].endswith("main/main.c"))
    ninja = (folder / "build.ninja").read_text()
    block = ninja[ninja.index("build hestia:"):]
    link = re.search(r"^ LINK_ARGS = (.*)$", block, re.M).group(1)
    return shlex.split(compile_command), shlex.split(link)


def flags_only(command):
    """Without the compiler, files and dependencies: what matters for another file."""
    kept, skip = [], False
    for word in command[1:]:
        if skip or word in ("-o", "-c", "-MQ", "-MF"):
            skip = not skip
        elif word.startswith(("-f", "-m", "-D", "-U", "-O", "-W")) and not word.startswith("-MD"):
            kept.append(word)
    return kept


PROBE = r"""
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    char text[64];
    for (int i = 0; i < argc; i++)
        memcpy(text, argv[i], strlen(argv[i]) + 1);
    printf(text + argc, argc);
    return 0;
}
"""


def check_program(path):
    program = Elf(path)
    assert program.type == 3 and program.dynamic[elf.DT_FLAGS_1] & elf.DF_1_PIE, "not position-independent"
    assert program.of_type(elf.PT_GNU_RELRO), "no RELRO"
    flags, flags_1 = program.dynamic.get(elf.DT_FLAGS, 0), program.dynamic[elf.DT_FLAGS_1]
    assert flags & elf.DF_BIND_NOW or flags_1 & elf.DF_1_NOW, "binds lazily: RELRO is not full"
    assert elf.DT_TEXTREL not in program.dynamic and not flags & elf.DF_TEXTREL, "relocations in code"
    stack, = program.of_type(elf.PT_GNU_STACK)
    assert not stack["flags"] & elf.EXECUTABLE, "the stack may run"
    both = elf.WRITABLE | elf.EXECUTABLE
    assert not [part for part in program.of_type(elf.PT_LOAD) if part["flags"] & both == both], "writable code"
    assert program.build_id and len(program.build_id) == 40, "no build id"
    assert "__stack_chk_fail" in program.names, "no stack protector"
    assert {name for name in program.names if name.endswith("_chk")}, "no FORTIFY"
    if program.machine == 62:
        assert program.code.count(b"\xf3\x0f\x1e\xfa") > 1, "no marks for indirect branches"


def test_release_build_is_hardened(tmp_path):
    compiling, linking = release_commands(tmp_path / "release")
    wanted = ["-fstack-protector-strong", "-fstack-clash-protection", "-fPIE"]
    if os.uname().machine == "x86_64":
        wanted.append("-fcf-protection=branch")
    assert not [flag for flag in wanted if flag not in compiling], compiling
    assert {"-D_FORTIFY_SOURCE=2", "-D_FORTIFY_SOURCE=3"} & set(compiling)
    assert {"-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,--build-id=sha1", "-pie"} <= set(linking), linking
    source = tmp_path / "probe.c"
    source.write_text(PROBE)
    flags = [flag for flag in flags_only(compiling) if not flag.startswith("-W")]
    options = [flag for flag in linking if flag.startswith("-Wl,-z") or flag in ("-pie", "-Wl,--build-id=sha1")]
    subprocess.run([compiling[0], *flags, source, "-o", tmp_path / "probe", *options], check=True)
    check_program(tmp_path / "probe")


def test_release_binary_is_hardened():
    """The one of ./run, where it is not older than its recipe; else what it would be is checked above."""
    binary = ROOT / "build" / "hestia"
    if binary.exists() and binary.stat().st_mtime > (ROOT / "meson.build").stat().st_mtime:
        check_program(binary)
        assert Elf(binary).code.count(b"\xf3\x0f\x1e\xfa") > 100 or Elf(binary).machine != 62
    assert Elf(find_binary()).build_id, "a build without an id"


# ---- as whom it runs


@pytest.fixture
def nobody():
    """A user without rights, and a folder of its own that it can reach."""
    user = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hestia-nobody-"))
    if IS_ROOT:
        os.chown(folder, user.pw_uid, user.pw_gid)
    yield user, folder
    shutil.rmtree(folder)


def test_root_becomes_another_user(hestia, nobody):
    """Hestia, the shepherd and a service are that user, with no way back; the store is its own. Who is not root is told
    that this cannot be."""
    user, folder = nobody
    mark = f"3600.{os.getpid()}"
    another = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid not in (0, os.geteuid()))
    config = {
        "server": {"user": "nobody" if IS_ROOT else another},
        "storage": {"path": str(folder / "state" / "hestia.db")},
        "services": {"x": {"command": ["/bin/sleep", mark], "base_url": "http://127.0.0.1:1", "workdir": "/tmp"}},
    }
    if not IS_ROOT:
        gateway = hestia(config, wait=False)
        gateway.expected_exit = 1
        assert gateway.wait_exit() == 1
        assert "only root can become another user" in gateway.stderr
        return
    gateway = hestia(config)
    assert gateway.find_events("privileges_dropped") and not gateway.find_events("running_as_root")
    gateway.post("/v1/services/x/start")
    child = eventually(lambda: [pid for pid, command in processes_mentioning(mark) if "sleep" in command.split()[0]],
                       "the service runs")[0]
    pids = [gateway.process.pid, *children_of(gateway.process.pid), child]
    assert len(pids) == 3
    for pid in pids:
        status = status_of(pid)
        assert status["Uid"].split() == [str(user.pw_uid)] * 4, (pid, status["Name"])
        assert status["Gid"].split() == [str(user.pw_gid)] * 4
        assert set(status["Groups"].split()) == {str(group) for group in os.getgrouplist("nobody", user.pw_gid)}
        assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
        assert status["NoNewPrivs"] == "1"
    files = list((folder / "state").iterdir())
    assert "hestia.db" in {path.name for path in files}
    assert {path.stat().st_uid for path in [*files, folder / "state"]} == {user.pw_uid}
    assert Path(f"/proc/{child}/oom_score_adj").read_text().strip() == "500"


def test_low_port_is_taken_before_the_change(hestia, nobody):
    """A port that only root may open, and a Unix socket in a folder of root."""
    if not IS_ROOT:
        return
    user, folder = nobody
    path = f"/tmp/hestia-{os.getpid()}.sock"
    for port in range(1023, 600, -7):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
    gateway = hestia({"server": {"user": "nobody"}, "storage": {"path": str(folder / "hestia.db")}},
                     arguments=("--listen", f"127.0.0.1:{port}", "--listen", f"unix:{path}"))
    gateway.listen
    assert os.stat(path).st_uid == user.pw_uid
    assert gateway.get("/health").status == 200
    with gateway.connect_unix(path) as connection:
        assert connection.request("GET", "/health") is None
        assert connection.read_response("GET").status == 200
    gateway.stop()
    if os.path.exists(path):
        os.unlink(path)  # a folder that is sticky keeps it


@pytest.mark.parametrize("user,why", [("no-such-user-here", "there is no user no-such-user-here"), ("root", "root is root")])
def test_user_that_cannot_be(hestia, user, why):
    gateway = hestia({"server": {"user": user}}, wait=False)
    gateway.expected_exit = 1
    assert gateway.wait_exit() == 1
    assert why in gateway.stderr


def test_root_is_warned(hestia):
    gateway = hestia({})
    warnings = gateway.find_events("running_as_root", level="WARNING")
    assert len(warnings) == (1 if IS_ROOT else 0)
    if IS_ROOT:
        assert "server.user" in warnings[0]["message"]


# ---- what it shows


# Core dumps as the system allows them: neither the shell that runs the tests nor a sanitizer is to switch them off.
ALLOWING = ("sh", "-c", 'ulimit -S -c $(ulimit -H -c); exec "$@"', "sh")


def allowing(folder, **more):
    options = environment(folder, {})
    return {name: options[name] + ":disable_coredump=0" for name in ("ASAN_OPTIONS", "TSAN_OPTIONS")} | more


def test_core_dumps_are_off(hestia, tmp_path):
    gateway = hestia({}, env=allowing(tmp_path, HESTIA_ALLOW_CORE=None), prefix=ALLOWING)
    assert core_limit_of(gateway.process.pid) == ["0", "0"]
    assert status_of(gateway.process.pid)["NoNewPrivs"] == "1"


def test_core_dumps_may_be_had(hestia, tmp_path):
    gateway = hestia({}, env=allowing(tmp_path, HESTIA_ALLOW_CORE="1"), prefix=ALLOWING)
    hard = core_limit_of(os.getpid())[1]
    assert core_limit_of(gateway.process.pid) == [hard, hard]


@pytest.mark.parametrize("allowed", ["0", "1"])
def test_memory_is_closed_to_the_same_user(hestia, nobody, allowed):
    """The kernel gives a process that cannot be dumped, and so not be read by its like, to root."""
    user, folder = nobody
    server = {"user": "nobody"} if IS_ROOT else {}
    gateway = hestia({"server": server, "storage": {"path": str(folder / "hestia.db")}}, env={"HESTIA_ALLOW_CORE": allowed})
    owner = os.stat(f"/proc/{gateway.process.pid}/environ").st_uid
    assert owner == (0 if allowed == "0" else user.pw_uid if IS_ROOT else os.geteuid())


def test_shepherd_forgets_the_environment(hestia):
    """It stays readable, and wants nothing of it."""
    gateway = hestia({}, env={"SOME_PROVIDER_KEY": "canary-in-the-environment"})
    assert b"canary-in-the-environment" in Path(f"/proc/{gateway.process.pid}/environ").read_bytes()
    shepherd, = children_of(gateway.process.pid)
    eventually(lambda: b"canary" not in Path(f"/proc/{shepherd}/environ").read_bytes(), "it is wiped")


# ---- what a crash leaves


CANARY = "canary4f1c9e"


@pytest.fixture
def crashing(hestia, fake):
    """A gateway with a hot service, secrets everywhere, and some requests behind it."""

    def start():
        service = fake()
        gateway = hestia(
            {"services": {"x": service.config()},
             "server": {"workers": 2},
             "auth": {"api_keys": ["${OUR_KEY}"]}},
            env={"OUR_KEY": f"hk_{CANARY}_ours", "HESTIA_CRASH_REPORT": "1"})
        fields = [("X-API-Key", f"hk_{CANARY}_ours"), ("Cookie", f"session={CANARY}")]
        for number in range(3):
            response = gateway.post("/services/x/things?token=" + CANARY, CANARY.encode(),
                                    [*fields, ("X-Request-ID", f"request-{number}")])
            assert response.status == 200, response
        assert gateway.get("/nothing/here", [*fields, ("X-Request-ID", "request-404")]).status == 404
        for identity in ("request-0", "request-1", "request-2", "request-404"):
            gateway.wait_event("request_end", request_id=identity)  # the client may see the answer before
        return gateway, service

    return start


def crash(gateway, number, send):
    send(gateway.process.pid, number)
    gateway.expected_exit = -number
    assert gateway.wait_exit() == -number
    report = gateway.stderr
    assert CANARY not in report
    assert "crash: end of the report\n" in report
    return report[report.index("crash: "):]


def check_report(report, name):
    version, identity = report.splitlines()[:2]
    assert re.fullmatch(rf"crash: hestia \d+\.\d+\.\d+ crashed: {name} sent by process {os.getpid()}", version)
    assert identity.startswith(f"crash: build id {Elf(find_binary()).build_id}, process ")
    frames = re.findall(r"^crash:   #(\d+) (\S+)\+0x([0-9a-f]+)$", report, re.M)
    assert [int(frame[0]) for frame in frames] == list(range(len(frames)))
    assert len([frame for frame in frames if frame[1] == "hestia"]) >= 2, report
    events = re.findall(r"^crash:   \d+\.\d{6} s ago (\w+) (-?\d+) (\S*)$", report, re.M)
    for number in range(3):
        assert {("forward", "0", f"request-{number}"), ("answer", "200", f"request-{number}"),
                ("end", "200", f"request-{number}")} <= set(events)
        assert [event for event in events if event[0] == "request" and event[2] == f"request-{number}"]
    assert ("end", "404", "request-404") in events
    assert [event for event in events if event[0] == "accept"]
    assert re.search(r"^crash: last events of worker-[01], the newest first:$", report, re.M)


def test_crash_tells_what_happened(crashing):
    """SIGABRT is what systemd's watchdog sends, and a broken invariant."""
    gateway, service = crashing()
    report = crash(gateway, signal.SIGABRT, os.kill)
    check_report(report, "SIGABRT")
    assert ", thread control (" in report
    eventually(lambda: has_ended(service.pids[0]), "the service went with it")


def test_crash_of_a_worker_names_it(crashing):
    gateway, service = crashing()
    pid = gateway.process.pid
    tids = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()
            if (path / "comm").read_text() == "worker-1\n"]
    libc = ctypes.CDLL(None, use_errno=True)
    report = crash(gateway, signal.SIGSEGV, lambda pid, number: libc.tgkill(pid, tids[0], number))
    check_report(report, "SIGSEGV")
    assert f", process {pid}, thread worker-1 ({tids[0]})\n" in report
    eventually(lambda: has_ended(service.pids[0]), "the service went with it")


def test_two_threads_crash_at_once(crashing):
    """One reports, and the end is that of a signal all the same."""
    gateway, _ = crashing()
    pid = gateway.process.pid
    libc = ctypes.CDLL(None, use_errno=True)
    os.kill(pid, signal.SIGSTOP)
    for path in Path(f"/proc/{pid}/task").iterdir():
        if (path / "comm").read_text().startswith("worker-"):
            libc.tgkill(pid, int(path.name), signal.SIGBUS)
    os.kill(pid, signal.SIGCONT)
    gateway.expected_exit = -signal.SIGBUS
    assert gateway.wait_exit() == -signal.SIGBUS
    assert gateway.stderr.count("crash: end of the report\n") == 1
    assert gateway.stderr.count("crashed: SIGBUS") == 1


# ---- systemd


class Manager:
    """The socket that systemd would listen at."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(DEADLINE)

    def next(self, ignoring="WATCHDOG=1"):
        while True:
            text = self.socket.recv(4096).decode()
            if text != ignoring:
                return text


@pytest.fixture
def manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_systemd_is_told(hestia, manager, tmp_path):
    config = {"services": {"x": {"base_url": "http://127.0.0.1:1"}}}
    gateway = hestia(config, env={"NOTIFY_SOCKET": tmp_path / "notify"})
    assert manager.next() == "READY=1"
    assert gateway.get("/health").status == 200
    gateway.reload({"services": {"y": {"base_url": "http://127.0.0.1:1"}}})
    before = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
    reloading = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.next())
    assert 0 < int(reloading.group(1)) <= before
    assert manager.next() == "READY=1"
    gateway.reload("services: [", result="failed")
    assert manager.next().startswith("RELOADING=1\n")
    assert manager.next() == "READY=1"
    gateway.write_config(config)
    gateway.stop()
    rest = manager.next()
    while rest != "STOPPING=1":  # the file's change may have been seen first
        assert rest == "READY=1" or rest.startswith("RELOADING=1\n")
        rest = manager.next()


def test_watchdog_hears_of_life(hestia, tmp_path):
    """Also at an abstract address."""
    name = f"hestia-test-{os.getpid()}-{tmp_path.name}"
    manager = Manager("\0" + name)
    hestia({"server": {"workers": 2}}, env={"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "40000"})
    assert manager.next(ignoring=None) == "READY=1"
    for _ in range(5):  # each one took a turn of every worker
        assert manager.next(ignoring=None) == "WATCHDOG=1"
    manager.socket.close()


def test_service_does_not_get_the_socket(hestia, fake, manager, tmp_path):
    """Nor what the watchdog is about: a service that spoke for us could hide our end."""
    service = fake()
    gateway = hestia({"services": {"x": service.config(env_inherit=["NOTIFY_SOCKET", "WATCHDOG_USEC"])}},
                     env={"NOTIFY_SOCKET": tmp_path / "notify", "WATCHDOG_USEC": "60000000"})
    gateway.start("x")
    inherited = Path(f"/proc/{service.pids[0]}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in inherited and b"WATCHDOG_USEC" not in inherited


def read_unit():
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def test_unit_is_hardened():
    """It says what http.md and the issue ask for, and fits what Hestia does."""
    service = read_unit()["Service"]
    for key, value in {
        "Type": "notify", "User": "hestia", "Restart": "always", "ProtectSystem": "strict", "PrivateTmp": "yes",
        "NoNewPrivileges": "yes", "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE", "StateDirectory": "hestia",
        "AmbientCapabilities": "CAP_NET_BIND_SERVICE", "SystemCallFilter": "@system-service", "LockPersonality": "yes",
        "ProtectHome": "read-only", "RuntimeDirectory": "hestia", "LimitCORE": "0",
        "KillMode": "mixed",  # else the services would end before the requests that they answer
    }.items():
        assert service.get(key) == value, key
    assert int(service["WatchdogSec"]) > 0
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} <= set(service["RestrictAddressFamilies"].split())
    assert service["ExecStart"].split()[1:3] == ["serve", "-c"]


def test_unit_is_understood(tmp_path):
    """By systemd's own checker, where there is one; its keys are known in any case."""
    text = UNIT.read_text()
    assert not [line for line in text.splitlines() if line and not re.match(r"[#\[]|[A-Za-z]+=", line)]
    checker = shutil.which("systemd-analyze")
    if checker:
        copy = tmp_path / "hestia.service"
        copy.write_text(text.replace("/usr/local/bin/hestia", str(find_binary())))
        done = subprocess.run([checker, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "hestia.service:" not in done.stderr, done.stderr
