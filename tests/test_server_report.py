"""docs/SERVING.md is made from the result files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPORT = Path(__file__).parent.parent / "benchmarks" / "serving" / "report.py"


def test_the_page_of_measurements_is_that_of_the_files() -> None:
    done = subprocess.run([sys.executable, str(REPORT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
