"""Runs the analyzers over what a build folder compiles: analyze.py BUILD-FOLDER [gcc] [cppcheck] [clang-tidy]. Prints what
tools/analyze.known does not explain, and exits 1 when there is any."""

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KNOWN = ROOT / "tools" / "analyze.known"
FINDING = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)? *(?:warning|error): (?P<text>.*) \[(?P<check>[^\]\[]+)\]$")
WITH_VALUE = ("-o", "-MF", "-MQ")
LEFT_OUT = ("-c", "-MD")


class Known:
    """Rows of `tool | check | file | a part of the line | reason`."""

    def __init__(self):
        self.rows = [[part.strip() for part in line.split(" | ", 4)] for line in KNOWN.read_text().splitlines() if line.strip() and line[0] != "#"]
        for row in self.rows:
            assert len(row) == 5 and row[4], f"{KNOWN}: no reason in {row}"
        self.used = set()

    def explains(self, tool, check, file, line):
        for number, (known_tool, known_check, known_file, part, _) in enumerate(self.rows):
            if tool == known_tool and check == known_check and file == known_file and part in line:
                self.used.add(number)
                return True
        return False


def compile_options(command):
    """The command of a compilation without what names its output, and without its level of optimisation."""
    words, found = iter(shlex.split(command)), []
    for word in words:
        if word in WITH_VALUE:
            next(words)
        elif word not in LEFT_OUT and not word.startswith("-O"):
            found.append(word)
    return found


def output_of(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode


def run_gcc(entry):
    command = [*compile_options(entry["command"]), "-O1", "-fanalyzer", "-fdiagnostics-plain-output", "-S", "-o", os.devnull]
    return output_of(command, entry["directory"])


def run_clang_tidy(entry, build):
    return output_of(["clang-tidy", "-p", str(build), "--quiet", "--extra-arg=-Wno-unknown-warning-option", entry["file"]], entry["directory"])


def run_cppcheck(entries):
    files = sorted(str((Path(one["directory"]) / one["file"]).resolve().relative_to(ROOT)) for one in entries)
    # varFuncNullUB: NULL is a pointer in every C library there is here.
    return output_of(["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability", "--suppress=varFuncNullUB",
                      "--suppress=missingIncludeSystem", "-D_GNU_SOURCE", '-DHESTIA_VERSION="0"', "-Isrc", f"-j{os.cpu_count()}", "--error-exitcode=0",
                      "--template={file}:{line}: warning: {message} [{id}]", *files], ROOT)


def findings(output, folder):
    """{(file, line, check): text}"""
    found = {}
    for line in output.splitlines():
        match = FINDING.match(line)
        if not match:
            continue
        path = (Path(folder) / match["file"]).resolve()
        if path.is_relative_to(ROOT):
            check = re.sub(r",-warnings-as-errors$|^-W(analyzer-)?", "", match["check"]).partition(" ")[0]
            found[(path.relative_to(ROOT).as_posix(), int(match["line"]), check)] = match["text"]
    return found


def report(tool, found, known):
    """How many findings nobody has explained."""
    new = 0
    for (file, line, check), text in sorted(found.items()):
        lines = (ROOT / file).read_text().splitlines()
        if not known.explains(tool, check, file, lines[line - 1] if line <= len(lines) else ""):
            print(f"{file}:{line}: {tool} {check}: {text}")
            new += 1
    print(f"-- {tool}: {len(found)} findings, {new} of them new", flush=True)
    return new


def analyze(tool, entries, build, known):
    with ThreadPoolExecutor(os.cpu_count()) as runners:
        if tool == "cppcheck":
            outputs, folder = [run_cppcheck(entries)], ROOT
        else:
            folder = build
            outputs = list(runners.map(run_gcc if tool == "gcc" else lambda one: run_clang_tidy(one, build), entries))
    found = {}
    for output, code in outputs:
        some = findings(output, folder)
        if code != 0 and not some:  # it did not even run
            print(output[-2000:])
            return 1
        found.update(some)
    return report(tool, found, known)


def main():
    build, tools = Path(sys.argv[1]).resolve(), sys.argv[2:] or ["gcc", "cppcheck", "clang-tidy"]
    entries = json.loads((build / "compile_commands.json").read_text())
    known = Known()
    new = sum(analyze(tool, entries, build, known) for tool in tools)
    for number, row in enumerate(known.rows):
        if row[0] in tools and number not in known.used:
            print(f"no longer found, can go from tools/analyze.known: {' | '.join(row[:4])}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
