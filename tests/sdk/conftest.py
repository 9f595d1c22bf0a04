"""A fleet of real binaries for the SDK's tests; see tests/README.md."""

import json
import os
import pathlib
import subprocess
import time
from dataclasses import dataclass

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

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


class Issuer:
    """Signs tokens as an identity provider does."""

    name = "https://issuer.test/auth/realms/acme"

    def __init__(self, keys: pathlib.Path):
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        keys.write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig"}]}))
        self.settings = [f"auth.issuers.main.issuer={self.name}", f"auth.issuers.main.jwks_file={keys}"]

    def token(self, **claims) -> str:
        known = {"iss": self.name, "aud": "product-factory", "realm": "acme", "preferred_username": "ann", "exp": time.time() + 300}
        return jwt.encode({**known, **claims}, self.key, algorithm="ES256", headers={"kid": "k1"})


@pytest.fixture(scope="session")
def issuer(tmp_path_factory):
    return Issuer(tmp_path_factory.mktemp("issuer") / "keys.json")


@pytest.fixture(scope="session")
def fleet(issuer):
    """An API and two workers for all tests of the session; nothing is published yet.

    All tests share one tenant, and each default batch reserves 150 MB of it until its cool-off ends.
    """
    settings = ["tenants.capacity_bytes=100000000000", *issuer.settings]
    started, process = start_fleet("--workers", "2", *(part for setting in settings for part in ("--setting", setting)))
    yield started
    stop_fleet(process)


@pytest.fixture(scope="session")
def sales_workbook() -> bytes:
    """total = ROUND(price * quantity * (1 + tax), 2)"""
    return (ROOT / "deploy" / "examples" / "sales.xlsx").read_bytes()
