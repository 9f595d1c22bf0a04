"""A fleet of real binaries for the SDK's tests; see tests/README.md."""

import json
import os
import pathlib
import subprocess
from dataclasses import dataclass

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


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


@pytest.fixture(scope="session")
def fleet():
    """An API and two workers for all tests of the session; nothing is published yet.

    All tests share one tenant, and each default batch reserves 150 MB of it until its cool-off ends.
    """
    started, process = start_fleet("--workers", "2", "--setting", "tenants.capacity_bytes=100000000000")
    yield started
    stop_fleet(process)


@pytest.fixture(scope="session")
def sales_workbook() -> bytes:
    """total = ROUND(price * quantity * (1 + tax), 2)"""
    return (ROOT / "deploy" / "examples" / "sales.xlsx").read_bytes()
