"""Fixtures: those of the black-box suite (tests/py), and `faults`: a gateway's calls made to fail."""

import importlib.util
from pathlib import Path

import pytest

import fault_page
import fault_table
import preload

_spec = importlib.util.spec_from_file_location("black_box_fixtures", Path(__file__).resolve().parents[1] / "py" / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
pytest_runtest_makereport = _fixtures.pytest_runtest_makereport
hestia, backends, backend, fake, pool, authority = (_fixtures.hestia, _fixtures.backends, _fixtures.backend, _fixtures.fake,
                                                    _fixtures.pool, _fixtures.authority)


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory):
    return preload.build("faults", tmp_path_factory.mktemp("preload"))


@pytest.fixture
def faults(fault_library, tmp_path):
    """For hestia(config, env=faults.env) or pool.start(…, env=faults.env)."""
    return fault_page.Faults(fault_library, tmp_path / "faults.page")


# ---- docs/results/faults.md: pytest tests/faults --report docs/results/faults.md


def pytest_addoption(parser):
    parser.addoption("--report", metavar="FILE", help="write the results there as a table")


def pytest_terminal_summary(terminalreporter, config):
    target = config.getoption("--report")
    if target:
        reports = [one for kind in ("passed", "failed", "error") for one in terminalreporter.stats.get(kind, [])]
        Path(target).write_text(fault_table.page(reports, config.getoption("markexpr")))
