"""A fleet of real binaries, for the tests that are written in Python; see tests/README.md."""

import json
import os
import pathlib
import subprocess
from dataclasses import dataclass

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fleet:
    """Where a fleet is, and who may call it."""

    url: str
    tenant: str
    key: str
    database_url: str
    folder: str


def start_fleet(*arguments: str) -> tuple[Fleet, subprocess.Popen]:
    """Starts a fleet; it ends when its standard input is closed."""
    binaries = pathlib.Path(os.environ.get("MRT_BIN_DIR", ROOT / "target" / "debug"))
    program = binaries / "fleet"
    if not program.exists():
        pytest.exit(f"{program} is not built: run ./tests/run, or `cargo build --workspace --bins`", returncode=1)
    process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line:
        process.wait(timeout=60)
        pytest.exit("the fleet did not start; what it said is above", returncode=1)
    return Fleet(**json.loads(line)), process


def stop_fleet(process: subprocess.Popen) -> None:
    process.stdin.close()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
