"""Libraries to preload into the gateway under test: LD_PRELOAD in its environment."""

import os
import subprocess
from pathlib import Path


def build(name, folder):
    """The library of NAME.c, compiled into the folder."""
    library = folder / f"{name}.so"
    subprocess.run([os.environ.get("CC", "cc"), "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library,
                    Path(__file__).with_name(f"{name}.c"), "-ldl"], check=True)
    return library
