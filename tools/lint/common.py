"""What the checks of tools/lint share: where the project is and which files are its C code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def c_files(*folders):
    """Every C source and header below the given folders of the project, in order."""
    found = []
    for folder in folders or ("src", "include", "bench", "tests"):
        for suffix in ("*.c", "*.h"):
            found += (ROOT / folder).rglob(suffix)
    return sorted(found)


def without_comments_and_strings(text):
    """The text with comments and literals blanked, line numbers kept."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.S)


def report(problems, what):
    """Prints the problems and gives the exit code."""
    for problem in problems:
        print(problem)
    print(f"{what}: {len(problems)} problems" if problems else f"{what}: clean")
    return 1 if problems else 0
