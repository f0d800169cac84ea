"""Fixtures: `rig`, one gateway and one upstream for all cases of a runner; it must survive every one of them."""

import pytest

from rig import Rig


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing case shows the log of the gateway."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "rig" in item.funcargs:
        report.sections.append(("hestia", item.funcargs["rig"].gateway.show()))


@pytest.fixture(scope="session")
def rig(tmp_path_factory):
    made = Rig(tmp_path_factory.mktemp("hostile"))
    yield made
    made.stop()
