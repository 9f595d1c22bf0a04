"""A fleet and a browser for the tests of the dashboard; see tests/README.md.

Every page is watched: an error on its console, a request to anywhere else, or something that its policy forbids fails the test.
"""

import json
import pathlib
import shutil
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fleet import start_fleet, stop_fleet  # noqa: E402
from issuer import AUDIENCE, CLIENT, Issuer  # noqa: E402

OPERATOR = "the-token-of-0perators"
SERVICE = "sales/SalesExample"
# The machine may be busy; nothing waits for so long on purpose.
PATIENCE_MS = 60_000


@dataclass
class World:
    """A fleet, and calls to it as another user of the API would make them."""

    url: str
    tenant: str
    key: str
    database_url: str
    issuer: Issuer

    @property
    def page(self) -> str:
        return f"{self.url}/dashboard/"

    def call(self, method: str, path: str, body: object = None, key: str | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-synthetic-key": key or self.key, "content-type": "application/json"}
        request = urllib.request.Request(self.url + path.replace("{tenant}", self.tenant), data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def new_key(self, owner: str, scopes: list[str], groups: list[str] = ()) -> dict:
        return self.call("POST", "/{tenant}/api/v4/keys", {"owner": owner, "scopes": scopes, "groups": list(groups)})

    def batch(self, **terms: object) -> str:
        return self.call("POST", "/{tenant}/api/v4/batch", {"service": SERVICE, **terms})["id"]

    def push(self, batch: str, *ids: str, keyed: bool = True) -> None:
        """Chunks of two records; those without the key fail in a batch that wants it."""
        rows = [["sales_id" if keyed else "other", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, 15, 8, 0.1]]
        chunks = [{"id": id, "data": {"inputs": rows}} for id in ids]
        self.call("POST", f"/{{tenant}}/api/v4/batch/{batch}/chunks", {"chunks": chunks})

    def change(self, batch: str, state: str) -> None:
        self.call("PATCH", f"/{{tenant}}/api/v4/batch/{batch}", {"batch_status": state})

    def status(self, batch: str) -> dict:
        return self.call("GET", f"/{{tenant}}/api/v4/batch/{batch}/status")

    def wait(self, batch: str, **wanted: object) -> dict:
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while True:
            status = self.status(batch)
            if all(status[name] == value for name, value in wanted.items()):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def failing_batch(self) -> str:
        """A failed batch: one chunk of three could not be evaluated."""
        batch = self.batch(unique_record_key="sales_id")
        self.push(batch, "good-1", "good-2")
        self.push(batch, "bad-1", keyed=False)
        self.change(batch, "closed")
        self.wait(batch, batch_status="failed")
        return batch


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    issuer = Issuer("")
    keys = tmp_path_factory.mktemp("issuer") / "keys.json"
    keys.write_text(issuer.keys())
    settings = [
        f"telemetry.metrics_token={OPERATOR}",
        "worker.slots=2",
        "tenants.capacity_bytes=1000000000000",
        f"auth.issuers.main.issuer={issuer.url}",
        f"auth.issuers.main.audience={AUDIENCE}",
        f"auth.issuers.main.jwks_file={keys}",
        f"dashboard.oidc_client_id={CLIENT}",
        f"dashboard.oidc_authorization_endpoint={issuer.url}/authorize",
        f"dashboard.oidc_token_endpoint={issuer.url}/token",
    ]
    started, process = start_fleet("--workers", "1", "--sales", *(part for setting in settings for part in ("--setting", setting)))
    issuer.tenant = started.tenant
    try:
        yield World(started.url, started.tenant, started.key, started.database_url, issuer)
    finally:
        stop_fleet(process)
        issuer.server.shutdown()


@pytest.fixture(scope="session")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.exit("chromium is not installed: apt-get install chromium", returncode=1)
    with sync_playwright() as playwright:
        # Root, as in most containers, has no sandbox of user namespaces; /dev/shm is small there.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"])
        yield browser
        browser.close()


class Watched:
    """What a page must not do."""

    def __init__(self, context: BrowserContext, origins: set[str]):
        self.wrong, self.origins = [], origins
        context.on("console", self.said)
        context.on("weberror", lambda error: self.wrong.append(f"error: {error.error}"))
        context.on("request", self.asked)

    def said(self, message) -> None:
        # A refusal that the page shows is noted by the browser as well.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.wrong.append(f"{message.type}: {message.text}")

    def asked(self, request) -> None:
        if not any(request.url.startswith(f"{origin}/") for origin in self.origins):
            self.wrong.append(f"request to {request.url}")
        if "mr_" in request.url or OPERATOR in request.url:
            self.wrong.append(f"a credential in {request.url}")


@pytest.fixture
def context(browser: Browser, world: World):
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE_MS)
    watched = Watched(context, {world.url, world.issuer.url})
    context.watched = watched
    yield context
    context.close()
    assert watched.wrong == []


@pytest.fixture
def page(context: BrowserContext, world: World) -> Page:
    """A page that nobody has signed in to."""
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    page.goto(world.page)
    return page


@pytest.fixture
def sign_in(page: Page):
    """Signs in with a credential, and waits for the first page."""

    def sign_in(credential: str) -> Page:
        page.get_by_label("API key, or the token of operators").fill(credential)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page

    return sign_in
