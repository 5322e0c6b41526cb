"""Kill ``doam book`` at random moments, go on each time, and compare every bit that was made.

    python scripts/kill_at_random.py --kills 50 -f params/smoke.yaml

One uninterrupted call in a home of its own gives the bits that must come out, and the time.
Then homes are begun, killed with SIGKILL (the whole group of processes) at a random moment of that
time, and gone on with, until a call ends by itself; then its bits are compared and the next home is
begun, until there were so many kills. The exit status is 0 where all bits were equal. With --within
the kills follow each other sooner, and one home gets many of them.

Compared are the files of datasets and of finished runs. Left out is what tells of time: provenance,
and the history's seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMED = ("seconds", "waited", "images_per_second", "started")
SKIPPED = ("provenance.json",)


def digests(home: Path) -> dict[str, str]:
    """Path -> SHA-256 of every finished file of datasets and runs, times left out."""
    found = {}
    for folder in ("datasets", "runs"):
        for path in sorted((home / folder).rglob("*")):
            name = path.relative_to(home).as_posix()
            skipped = path.suffix == ".lock" or path.name in SKIPPED or "/locks/" in name
            if path.is_file() and not skipped and path.stat().st_size:
                found[name] = hashlib.sha256(content(path)).hexdigest()
    return found


def content(path: Path) -> bytes:
    """A file's bytes; of a history those of its numbers that are no times."""
    if path.name != "history.json":
        return path.read_bytes()
    return json.dumps(without_times(json.loads(path.read_text())), sort_keys=True).encode()


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.endswith(TIMED)}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def call(command: list[str], home: Path, limit: float | None) -> bool:
    """Run the command in this home and kill it after ``limit`` seconds; whether it ended itself.

    Raises:
        SystemExit: it ended with an error, whose output is shown.
    """
    log = home / "log.txt"
    home.mkdir(exist_ok=True)
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "DOAM_HOME": str(home)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    if status:
        sys.exit(f"exit status {status} in {home}:\n{log.read_text()[-3000:]}")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("-f", "--file", default="params/smoke.yaml")
    parser.add_argument("--command", default="book", choices=("book", "train"))
    parser.add_argument("--within", type=float, help="seconds; else what one whole call takes")
    parser.add_argument("--whole", type=Path, help="a finished home of this file; else one is made")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "doamlib.cli", asked.command, "-f", asked.file]
    dice, kills, homes = random.Random(asked.seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        start, whole = time.monotonic(), asked.whole or Path(folder, "whole")
        call(command, whole, None)
        within = asked.within or time.monotonic() - start
        wanted = digests(whole)
        print(f"uninterrupted: {time.monotonic() - start:.0f} s, {len(wanted)} files", flush=True)
        while kills < asked.kills:
            home = Path(folder, f"killed-{homes}")
            homes += 1
            limits = (dice.uniform(0, within) for _ in range(asked.kills - kills))
            while not call(command, home, limit := next(limits, None)):
                kills += 1
                print(f"kill {kills} after {limit:.1f} s in {home.name}", flush=True)
            found = digests(home)
            different = sorted(
                name for name in wanted | found if wanted.get(name) != found.get(name)
            )
            if different:
                sys.exit(f"{home.name}: {len(different)} files differ: {different[:10]}")
            print(f"{home.name}: all {len(found)} files are equal", flush=True)
    print(f"{kills} kills in {homes} homes: everything was finished, and every bit is the same")


if __name__ == "__main__":
    main()
