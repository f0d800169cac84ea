"""The real binary under test: started with a config and an environment, watched through its log."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

from waiting import DEADLINE, SCALE, eventually
from wire import Connection

ROOT = Path(__file__).resolve().parents[2]
VALGRIND = bool(os.environ.get("HESTIA_VALGRIND"))
SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "LeakSanitizer", "runtime error:",
                     "WARNING: ThreadSanitizer", "ThreadSanitizer:", "Assertion")


def find_binary():
    """HESTIA_BIN, else the sanitized build, else the optimised one."""
    if os.environ.get("HESTIA_BIN"):
        return Path(os.environ["HESTIA_BIN"]).resolve()
    for folder in ("build-test", "build"):
        if (ROOT / folder / "hestia").exists():
            return ROOT / folder / "hestia"
    raise AssertionError("no binary: ./test unit or ./run --build makes one")


def environment(home, extra):
    """What the binary sees: little, so that nothing of this machine leaks in. A value None removes."""
    values = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "HESTIA_LOG_LEVEL": "DEBUG",
        # The link order: a test may preload a library of its own.
        "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=0:exitcode=99:detect_leaks=1:detect_stack_use_after_return=0:"
                        "verify_asan_link_order=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
        "TSAN_OPTIONS": f"halt_on_error=0:exitcode=99:second_deadlock_stack=1:suppressions={ROOT}/tests/tsan.supp",
        # The tests look into /proc/PID, which a sealed process shows to root alone.
        "HESTIA_ALLOW_CORE": None if os.geteuid() == 0 else "1",
        **extra,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def config_text(config):
    """A dict becomes YAML (of which JSON is a part); text stays as it is."""
    return config if isinstance(config, str) else json.dumps(config, indent=2)


def run_cli(*arguments, cwd, env=None, input=None):
    """Runs a command of the binary to its end."""
    done = subprocess.run([find_binary(), *map(str, arguments)], cwd=cwd, env=environment(cwd, env or {}),
                          input=input, capture_output=True, text=True, timeout=DEADLINE * 2, check=False)
    for report in SANITIZER_REPORTS:
        assert report not in done.stderr, done.stderr
    return done


class Gateway:
    """A running `hestia serve`."""

    def __init__(self, folder, config=None, env=None, arguments=("--listen", "127.0.0.1:0"), config_name="hestia_config.yml",
                 prefix=()):
        self.folder = Path(folder)
        self.config_path = self.folder / config_name
        if config is not None:
            self.config_path.write_text(config_text(config))
        command = [str(find_binary()), "serve"]
        if config is not None:
            command += ["-c", str(self.config_path)]
        command += [str(argument) for argument in arguments]
        if VALGRIND:
            command = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--child-silent-after-fork=yes",
                       f"--log-file={self.folder}/valgrind.%p", *command]
        self.lines = []
        self.events = []
        self.changed = threading.Condition()
        self.stderr_path = self.folder / "stderr"
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen([*prefix, *command], cwd=self.folder, env=environment(self.folder, env or {}),
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.expected_exit = 0
        self.checked = False
        self._port = None

    # ---- its log

    def _read(self):
        for line in self.process.stdout:
            line = line.decode(errors="replace").rstrip("\n")
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            with self.changed:
                self.lines.append(line)
                if isinstance(event, dict):
                    self.events.append(event)
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def find_events(self, event_type, **fields):
        """Events of that type whose fields equal the given ones (a callable decides itself)."""

        def fits(event):
            return event.get("event_type") == event_type and all(
                wanted(event.get(name)) if callable(wanted) else event.get(name) == wanted
                for name, wanted in fields.items())

        return [event for event in list(self.events) if fits(event)]

    def wait_event(self, event_type, count=1, **fields):
        """The count-th such event, when it has been logged."""

        def enough():
            return len(self.find_events(event_type, **fields)) >= count or None in self.lines

        with self.changed:
            self.changed.wait_for(enough, DEADLINE)
        found = self.find_events(event_type, **fields)
        assert len(found) >= count, f"event {event_type} {fields} came {len(found)} times, not {count}"
        return found[count - 1]

    @property
    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def show(self):
        lines = [line for line in self.lines if line is not None]
        return (f"--- log of hestia (pid {self.process.pid}), last 200 of {len(lines)} lines\n"
                + "\n".join(line[:2000] for line in lines[-200:]) + f"\n--- stderr\n{self.stderr[-8000:]}")

    # ---- talking to it

    @property
    def listen(self):
        """The addresses of the gateway_start line."""
        return self.wait_event("gateway_start", listen=lambda value: value)["listen"]

    @property
    def port(self):
        if self._port is None:
            self._port = int(self.listen[0].rsplit(":", 1)[1])
        return self._port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def connect(self, **options):
        return Connection(self.port, **options)

    def connect_unix(self, path):
        return Connection(None, unix=path)

    def request(self, method, target, fields=(), body=None, **options):
        """One request on a connection of its own."""
        with self.connect() as connection:
            connection.request(method, target, fields, body, **options)
            return connection.read_response(method)

    def get(self, target, fields=(), **options):
        return self.request("GET", target, fields, **options)

    def post(self, target, body=b"", fields=(), **options):
        if isinstance(body, (dict, list)):
            body, fields = json.dumps(body).encode(), [("Content-Type", "application/json"), *fields]
        return self.request("POST", target, fields, body, **options)

    def status(self, service):
        response = self.get(f"/v1/services/{service}/status")
        assert response.status == 200, response
        return response.json

    def wait_state(self, service, state):
        """The status, once the service is in that state."""

        def reached():
            status = self.status(service)
            return status if status["state"] == state else None

        return eventually(reached, f"{service} is {state}")

    def wait_status(self, service, what, condition):
        def reached():
            status = self.status(service)
            return status if condition(status) else None

        return eventually(reached, what)

    def start(self, service):
        """Starts the service and waits until it is hot."""
        response = self.post(f"/v1/services/{service}/start")
        assert response.status in (202, 409), response
        return self.wait_state(service, "hot")

    # ---- its config

    def write_config(self, config):
        """Replaces the file as editors do: by a rename."""
        fresh = self.config_path.with_suffix(".new")
        fresh.write_text(config_text(config))
        os.replace(fresh, self.config_path)

    def reload(self, config, result="ok"):
        """Replaces the file, sends SIGHUP, waits until it is in force (or refused)."""
        before = len(self.reloads(result))
        self.write_config(config)
        self.signal(signal.SIGHUP)
        eventually(lambda: len(self.reloads(result)) > before, f"a reload ({result})")

    def reloads(self, result="ok"):
        return self.find_events("config_reloaded" if result == "ok" else "config_reload_failed")

    # ---- its end

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=None):
        code = self.process.wait(seconds or DEADLINE * 2)
        self.reader.join(DEADLINE)
        return code

    def stop(self):
        """SIGTERM, a clean exit, and no complaint of a sanitizer. Once."""
        if self.checked:
            return
        self.checked = True
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            raise AssertionError("SIGTERM did not end it") from None
        self.check_reports()
        assert code == self.expected_exit, f"exit code {code}, not {self.expected_exit}"

    def kill(self):
        """kill -9; nothing of its own clean-up runs."""
        self.checked = True
        self.process.kill()
        self.wait_exit()

    def check_reports(self):
        for report in SANITIZER_REPORTS:
            assert report not in self.stderr, self.stderr
        # Lines with "--" are valgrind's own doubts, about system calls newer than itself.
        for path in self.folder.glob("valgrind.*"):
            errors = [line for line in path.read_text().splitlines() if line.startswith("==")]
            assert not errors, "\n".join(errors)


def processes_mentioning(word):
    """(pid, command line) of every living process whose command line has that word, tests themselves aside."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(word) in command and state != "Z" and "pytest" not in command.replace(str(word), ""):
            found.append((int(folder.name), command))
    return found


def children_of(pid):
    """Pids of the children, zombies included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(folder.name))
    return found


def has_ended(pid):
    """Whether the process is gone (a zombie that waits for its parent has ended too)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def metric(gateway, name, **labels):
    """The sum of the samples of that name with these labels."""
    total = 0.0
    for line in gateway.get("/metrics").text.splitlines():
        if line.startswith((name + "{", name + " ")) and all(f'{key}="{value}"' in line for key, value in labels.items()):
            total += float(line.rpartition(" ")[2])
    return total


__all__ = ["Gateway", "run_cli", "find_binary", "processes_mentioning", "children_of", "has_ended", "metric", "SCALE", "ROOT"]
