"""A fleet to try the OpenAPI document out on; see tests/README.md."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fleet import start_fleet, stop_fleet  # noqa: E402
from world import make  # noqa: E402


@pytest.fixture
def world():
    """An API and a worker, and one of everything that requests can name; new for each test, since what one made is in the way of the other."""
    # Streams of events end by themselves after a second. Capacity is for many batches at once.
    settings = ["events.stream_seconds=1", "tenants.capacity_bytes=1000000000000"]
    arguments = [part for setting in settings for part in ("--setting", setting)]
    started, process = start_fleet("--workers", "1", "--sales", *arguments)
    try:
        yield make(started, (ROOT / "deploy" / "examples" / "premium.json").read_bytes())
    finally:
        stop_fleet(process)
