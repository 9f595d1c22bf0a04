"""The chapters of README.md for newcomers do what they say, block by block, as they are written."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from fleet import start_fleet, stop_fleet

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("MRT_BIN_DIR", ROOT / "target" / "debug"))


def blocks(heading: str) -> list[tuple[str, str]]:
    """Language and text of every block of code in a chapter."""
    chapter = (ROOT / "README.md").read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```", chapter, re.M | re.S)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    """The variables that the first block of the first chapter sets, for an installation with the sales workbook."""
    fleet, process = start_fleet("--workers", "2", "--sales")
    folder = tmp_path_factory.mktemp("newcomer")
    known = {"MILLRACE_URL": fleet.url, "MILLRACE_TENANT": fleet.tenant, "MILLRACE_API_KEY": fleet.key}
    yield folder, {**os.environ, **known, "PATH": f"{BINARIES}:{os.environ['PATH']}"}
    stop_fleet(process)


def run(newcomer, language: str, text: str) -> str:
    folder, variables = newcomer
    command = [sys.executable, "-c", text] if language == "python" else ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_first_call(newcomer):
    (_, variables), (shell, calls), (python, program) = blocks("A first call")
    assert set(re.findall(r"(MILLRACE_\w+)=", variables)) == {"MILLRACE_URL", "MILLRACE_TENANT", "MILLRACE_API_KEY"}
    assert (shell, python) == ("sh", "python")
    answers = run(newcomer, shell, calls)
    expected = re.search(r'^# (\{"data":.*)…$', calls, re.M).group(1)
    assert expected in answers
    # In the order of the calls: pushed, pulled, closed.
    assert '"record_submitted":2' in answers
    assert re.search(r'"batch_status":"(closed|completed)"', answers.rpartition('"outputs"')[2])
    assert run(newcomer, python, program).strip() == "[['id', 'total'], [1, 1430.0], [2, 1.01]]"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_an_own_calculation(newcomer):
    upload, records, batch, call = (text for _, text in blocks("Your own calculation, in five minutes"))
    # The same with fewer records, which need no patience.
    shorter, count = re.subn("<= 200000", "<= 2000", records)
    assert count == 1
    assert "payment, interest" in run(newcomer, "sh", upload)
    run(newcomer, "sh", shorter)
    shown = run(newcomer, "sh", batch).splitlines()
    assert shown == re.search(r"# (.*)$", batch, re.M).group(1).split()
    results = (newcomer[0] / "payments.csv").read_text().splitlines()
    assert len(results) == 2001
    for line in results[1:]:
        number, payment, interest = line.split(",")
        amount, rate, years = 50000 + int(number) % 400 * 1000, (20 + int(number) % 60) / 1000, 5 + int(number) % 26
        monthly = amount * rate / 12 / (1 - (1 + rate / 12) ** (-12 * years))
        assert abs(float(payment) - monthly) < 0.0051
        assert abs(float(interest) - (12 * years * monthly - amount)) < 0.0051
    expected = re.search(r"# (\{.*),…$", call, re.M).group(1)
    assert expected in run(newcomer, "sh", call)
