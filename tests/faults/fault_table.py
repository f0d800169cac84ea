"""What the fault tests found, as a page of docs/results."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = {"test_memory.py": "Memory that runs out", "test_calls.py": "System calls and the clock", "test_peers.py": "Upstreams, clients, signals, services"}


def machine():
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    system = next((line.partition("=")[2].strip().strip('"') for line in open("/etc/os-release") if line.startswith("PRETTY_NAME")), "")
    return f"{model}, {os.cpu_count()} processors, {system}, Linux {platform.release()}, Python {platform.python_version()}"


def name_of(report):
    """(file, test, case)"""
    path, _, rest = report.nodeid.partition("::")
    test, _, case = rest.partition("[")
    return Path(path).name, test, case.rstrip("]")


def tests(reports, file):
    rows = {}
    for report in sorted(reports, key=name_of):
        path, test, _ = name_of(report)
        if path != file:
            continue
        row = rows.setdefault(test, [0, 0, 0.0])
        row[0] += report.when == "call"
        row[1] += report.failed
        row[2] += report.duration
    for test, (cases, failed, seconds) in rows.items():
        yield f"| {test[5:].replace('_', ' ')} | {cases} | {failed if failed == 0 else f'**{failed}**'} | {seconds:.1f} |"


def allocations(reports):
    for report in sorted(reports, key=name_of):
        seen = dict(report.user_properties).get("seen")
        if report.when == "call" and seen is not None:
            case = name_of(report)[2]
            yield f"| {case} | {sum(seen.values())} | {' | '.join(str(seen.get(what, 0)) for what in ('served', 'refused', 'closed'))} |"


def page(reports, selection):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    lines = ["# Faults", "", "Memory, system calls, the wall clock and both sides made to fail while the gateway runs, under AddressSanitizer and",
             "UBSan; made by `tests/faults`. Every case ends with a gateway that serves the next request, leaves cleanly and leaks nothing.", "",
             f"- Date: {datetime.date.today()}", f"- Commit: {commit or 'none'}", f"- Machine: {machine()}",
             f"- Command: `.venv/bin/pytest -n 4 tests/faults -m '{selection}' --report docs/results/faults.md`, on the build of `./test unit`"]
    for file, title in SUBJECTS.items():
        lines += ["", f"## {title}", "", "| test | cases | failed | seconds |", "|---|---:|---:|---:|", *tests(reports, file)]
    lines += ["", "## Allocations", "", "Every allocation of a scenario failed, one at a time (`once`) or all from there on for 0.3 s (`from_then_on`), and how",
              "it ended for the client.", "", "| scenario | allocations | served all the same | error answer | closed without an answer |",
              "|---|---:|---:|---:|---:|", *allocations(reports), ""]
    return "\n".join(lines)
