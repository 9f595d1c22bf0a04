"""A fleet of real binaries for the SDK's tests; see tests/README.md."""

import json
import pathlib
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fleet import start_fleet, stop_fleet  # noqa: E402


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
