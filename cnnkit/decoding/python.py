"""The Python interpreter that processes with limits are started with."""

import os
import sys
from pathlib import Path


def find_python() -> str:
    """Return an interpreter with this one's libraries; empty where there is none.

    A program that contains Python, as uWSGI does, has its own name as `sys.executable`, and would start itself again.
    """
    names = ("python.exe",) if os.name == "nt" else (f"bin/python3.{sys.version_info.minor}", "bin/python3")
    for place in (Path(sys.executable or "-"), *(Path(sys.exec_prefix) / name for name in names)):
        if place.stem.lower().startswith(("python", "pypy")) and place.is_file():
            return str(place)
    return ""
