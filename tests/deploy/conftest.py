"""What the tests of deploy/ share: see tests/README.md."""

import pathlib
import re
import tomllib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# What a process may take beside its drain: signing off, closing connections, ending the runtime.
GRACE_MARGIN_SECONDS = 10
# What a worker or the API takes without the fallback engine (README.md, "How fast": at most 194 MB), and some room.
PROCESS_MB = 256


@pytest.fixture(scope="session")
def defaults() -> dict:
    """Every setting with its default."""
    return tomllib.loads((DEPLOY / "millrace.toml").read_text())


@pytest.fixture(scope="session")
def version() -> str:
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


@pytest.fixture(scope="session")
def image(version) -> str:
    return f"millrace:{version}"


@pytest.fixture(scope="session")
def own_variables() -> set[str]:
    """Variables of Millrace that are no settings, as the code lists them."""
    source = (ROOT / "common/src/config/mod.rs").read_text()
    listed = re.search(r"const OTHER_VARIABLES: \[&str; \d+\] = \[(.*?)\];", source, re.S)
    return set(re.findall(r'"(MILLRACE_\w+)"', listed.group(1)))


def setting(name: str, settings: dict):
    """The value that a variable such as MILLRACE_WORKER__SLOTS overrides; KeyError when there is no such setting."""
    value = settings
    for part in name.removeprefix("MILLRACE_").lower().split("__"):
        value = value[part]
    return value


def check_variables(environment: dict[str, str], settings: dict, own: set[str]):
    """Every MILLRACE_ variable is a setting, with a value of the setting's type, or one of the program's own."""
    for name, value in environment.items():
        if not name.startswith("MILLRACE_") or name in own:
            continue
        try:
            default = setting(name, settings)
        except KeyError:
            pytest.fail(f"{name} names no setting of deploy/millrace.toml")
        if isinstance(default, bool):
            assert value in ("true", "false"), f"{name}: {value}"
        elif isinstance(default, int):
            assert int(value) >= 0, f"{name}: {value}"
        else:
            assert isinstance(default, str), f"{name} is no single value"


def in_force(environment: dict[str, str], settings: dict, name: str) -> int:
    """A numeric setting as a container with these variables has it."""
    return int(environment.get(name, setting(name, settings)))


def load(path: pathlib.Path):
    return yaml.safe_load(path.read_text())


def seconds(text: str) -> int:
    return int(re.fullmatch(r"(\d+)s", text).group(1))


def megabytes(text: str) -> float:
    """A size as Compose (2g, 256m) or Kubernetes (2Gi, 256Mi) write it, in MB."""
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]+)", text).groups()
    return int(number) * {"m": 2**20, "g": 2**30, "Mi": 2**20, "Gi": 2**30}[unit] / 1e6
