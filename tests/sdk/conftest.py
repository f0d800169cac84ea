"""The fixtures of tests/py, and `client`: a client library by name."""

import importlib.util
from pathlib import Path

import pytest

import clients

_spec = importlib.util.spec_from_file_location("py_fixtures", Path(__file__).resolve().parents[1] / "py" / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
pytest_runtest_makereport = _fixtures.pytest_runtest_makereport
hestia, backends, backend, pool = _fixtures.hestia, _fixtures.backends, _fixtures.backend, _fixtures.pool


@pytest.fixture(scope="session")
def drivers():
    """One process of each Node library for the whole run: starting one takes longer than a test."""
    started = {}

    def get(name):
        if name not in started:
            started[name] = clients.Driver(name)
        return started[name]

    yield get
    for driver in started.values():
        driver.stop()


@pytest.fixture
def client(request, drivers):
    """The library that @pytest.mark.parametrize("client", names, indirect=True) names."""
    return clients.get(request.param, drivers)
