"""gcov's JSON of a build folder as a table per folder: coverage_report.py BUILD-FOLDER [--quick]. Writes
docs/results/coverage.md and exits 1 below the thresholds."""

import datetime
import json
import platform
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINES_WANTED = 85.0
WHOLE = "src/http/framing.c"  # every branch


def gcov(data):
    """What one object file's counters say."""
    done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", str(data)], cwd=data.parent, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


def source_of(name, folder):
    """Its place below the root, or None for a test, a system's header, or the like."""
    path = (folder / name).resolve()
    if not path.is_relative_to(ROOT / "src") or path.name.endswith(("_test.c", "test.h")) or path.suffix != ".c":
        return None
    return path.relative_to(ROOT).as_posix()


def collect(build):
    """{file: {line: [count, {branch: count}]}}, summed over all programs that hold the file."""
    files = defaultdict(dict)
    with ThreadPoolExecutor(2) as runners:
        for reports in runners.map(gcov, sorted(build.rglob("*.gcno"))):
            for file in (one for report in reports for one in report["files"]):
                name = source_of(file["file"], build)
                if name is None:
                    continue
                for line in file["lines"]:
                    entry = files[name].setdefault(line["line_number"], [0, {}])
                    entry[0] += line["count"]
                    for number, branch in enumerate(one for one in line["branches"] if not one["throw"]):
                        entry[1][number] = entry[1].get(number, 0) + branch["count"]
    return files


def figures(lines):
    """lines, covered lines, branches, covered branches"""
    branches = [count for _, some in lines for count in some.values()]
    return [len(lines), sum(1 for count, _ in lines if count), len(branches), sum(1 for count in branches if count)]


def share(part, whole):
    return 100.0 * part / whole if whole else 100.0


def row(name, numbers):
    lines, covered, branches, taken = numbers
    return f"| {name} | {lines} | {share(covered, lines):.1f} % | {branches} | {share(taken, branches):.1f} % |"


def missing_branches(lines):
    return sorted(number for number, (_, branches) in lines.items() if any(not count for count in branches.values()))


def machine():
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    system = next((line.partition("=")[2].strip().strip('"') for line in open("/etc/os-release") if line.startswith("PRETTY_NAME")), "")
    compiler = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"{model}, {system}; {compiler}"


def page(files):
    folders = defaultdict(lambda: [0, 0, 0, 0])
    for name, lines in files.items():
        folder = name.split("/")[1]
        folders[folder] = [a + b for a, b in zip(folders[folder], figures(lines.values()))]
    whole = [sum(column) for column in zip(*folders.values())]
    least = sorted(files, key=lambda name: share(*figures(files[name].values())[1::-1]))[:12]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return whole, "\n".join([
        "# Coverage", "",
        "What the unit tests, the black-box suite, the hostile table and the fault tests reach, by gcov. Made by `tools/coverage`.", "",
        f"- Date: {datetime.date.today()}", f"- Commit: {commit or 'none'}", f"- Machine: {machine()}", "- Command: `tools/coverage`", "",
        "| folder | lines | covered | branches | taken |", "|---|---:|---:|---:|---:|",
        *(row(f"src/{name}", folders[name]) for name in sorted(folders)), row("**whole**", whole), "",
        f"`{WHOLE}`:", "", "| file | lines | covered | branches | taken |", "|---|---:|---:|---:|---:|", row(WHOLE, figures(files[WHOLE].values())), "",
        "The least covered files:", "", "| file | lines | covered | branches | taken |", "|---|---:|---:|---:|---:|",
        *(row(name, figures(files[name].values())) for name in least), "",
        "Not counted: what runs in the shepherd's and the wardens' processes after the fork (`loop/shepherd_process.c`,",
        "`loop/warden.c`, `loop/program.c`) and in gateways that the tests kill, since those leave by `_exit` or a signal, and gcov writes",
        "its counters at a normal exit. A line of two statements counts once. Branches are those of the machine's code without",
        "optimisation, so that a macro or a bit test may have more than the source shows.", ""])


def main():
    build, quick = Path(sys.argv[1]).resolve(), "--quick" in sys.argv
    files = collect(build)
    whole, text = page(files)
    untaken = missing_branches(files[WHOLE])
    lines = share(whole[1], whole[0])
    print(text)
    if untaken:
        print(f"{WHOLE}: branches untaken in lines {untaken}")
    if quick:
        return 1 if untaken else 0
    (ROOT / "docs" / "results" / "coverage.md").write_text(text)
    if lines < LINES_WANTED:
        print(f"{lines:.1f} % of the lines are below {LINES_WANTED} %")
    return 1 if untaken or lines < LINES_WANTED else 0


if __name__ == "__main__":
    sys.exit(main())
