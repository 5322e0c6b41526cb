"""Imports flow one way, and a page's name is enough to find it."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def test_imports_flow_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_file_outgrows_a_screenful_of_ideas():
    lengths = {
        path: len(path.read_text().splitlines()) for path in (REPOSITORY / "doamlib").rglob("*.py")
    }
    longest = max(lengths, key=lengths.get)
    assert lengths[longest] <= 450, f"{longest.name}: {lengths[longest]} lines; split it"
