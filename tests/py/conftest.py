"""Fixtures: `hestia` starts the binary, `backend` an upstream under the test's command, `fake` describes a process that
Hestia starts."""

import signal
import ssl
import subprocess

import pytest

from backend import Backend, answer_ok
from fakes import Fake
from gateway import Gateway, processes_mentioning
from pool import Pool
from waiting import eventually


# A shell's background job ignores SIGINT, and every gateway that it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows the log of every gateway it ran."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for gateway in getattr(item, "gateways", []):
            report.sections.append(("hestia", gateway.show()))


@pytest.fixture
def hestia(tmp_path, request):
    """hestia(config, env={}, arguments=…) → Gateway. Every one is stopped at the end: exit code 0, no report of a
    sanitizer, no process left behind."""
    started = request.node.gateways = []

    def start(config=None, env=None, wait=True, **options):
        if isinstance(config, dict):
            config = {**config, "server": {"drain_seconds": 5, **config.get("server", {})}}
        folder = tmp_path if not started else tmp_path / f"gateway{len(started)}"
        folder.mkdir(exist_ok=True)
        gateway = Gateway(folder, config, env, **options)
        started.append(gateway)
        if wait:
            gateway.listen
        return gateway

    yield start
    try:
        for gateway in started:
            gateway.stop()
    finally:
        for gateway in started:
            if gateway.process.poll() is None:
                gateway.process.kill()
                gateway.process.wait()
    eventually(lambda: not processes_mentioning(tmp_path), "the processes it started are gone")


@pytest.fixture
def backends():
    """backends(handler, …) → another Backend."""
    opened = []

    def start(handler=answer_ok, **options):
        opened.append(Backend(handler, **options))
        return opened[-1]

    yield start
    for backend in opened:
        backend.close()
    errors = [error for backend in opened for error in backend.errors]
    assert not errors, f"the gateway sent something malformed: {errors}"


@pytest.fixture
def backend(backends):
    """One upstream; set `backend.handler` or `backend.on(path, …)`."""
    return backends()


@pytest.fixture
def fake(tmp_path):
    """fake(options…) → Fake: a fake service for `services.X`, with the events to command it."""
    made = []

    def make(*options):
        folder = tmp_path / f"fake{len(made)}"
        folder.mkdir()
        made.append(Fake(folder, *options))
        return made[-1]

    yield make
    for one in made:
        one.release()


@pytest.fixture
def pool(hestia):
    """pool.upstream(name, handler), then pool.start(upstreams…, routing=…) → Gateway over them."""
    made = Pool(hestia)
    yield made
    for upstream in made.opened:
        upstream.close()
    errors = [error for upstream in made.opened for error in upstream.errors]
    assert not errors, f"the gateway sent something malformed: {errors}"


class Authority:
    """A certificate authority made for this run."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                      "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem",
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def issue(self, name, names="IP:127.0.0.1,DNS:localhost", days=2):
        """(certificate, key) for those names."""
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def server_context(self, name="server", **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, **options))
        return context

    def client_context(self):
        return ssl.create_default_context(cafile=str(self.ca))


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))
