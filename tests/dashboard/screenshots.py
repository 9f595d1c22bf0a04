"""Draws the pictures of the dashboard's README: a fleet of its own under load, seen by an owner and by an operator.

    .millrace/venv/dashboard/bin/python tests/dashboard/screenshots.py        # services as for the tests
"""

import itertools
import json
import pathlib
import random
import shutil
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fleet import start_fleet, stop_fleet  # noqa: E402
from recorded import ANSWERS  # noqa: E402

PICTURES = ROOT / "api" / "src" / "dashboard" / "screenshots"
OPERATOR = "operators"
NAMES = ["renewals", "motor", "pricing", "backtest", "what-if", "claims", "nightly", "audit"]
BATCHES, RECORDS, LOAD_SECONDS, CALLERS = 24, 250, 40, 4


class Load:
    """Batches of all kinds, pushed to and pulled from by chance, the same in every run."""

    def __init__(self, fleet):
        self.fleet, self.chance, self.ended = fleet, random.Random(20261129), threading.Event()
        self.ids, self.pushes = [], itertools.count(1)
        self.right, self.wrong = (self.inputs(name) for name in ("sales_id", "other"))

    def call(self, method: str, path: str, body: object = None) -> dict:
        headers = {"x-synthetic-key": self.fleet.key, "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.fleet.url}/{self.fleet.tenant}/api/v4/batch{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # Full buffers are part of the picture.
            if error.code not in (409, 429):
                raise
            return {}

    def open(self) -> None:
        for number in range(BATCHES):
            terms = {
                "service": "sales/SalesExample",
                "unique_record_key": "sales_id",
                "correlation_id": f"{self.chance.choice(NAMES)}-{number:02}",
                "max_input_in_mb": self.chance.choice([2, 4, 8]),
                # Some are not pulled, and have little room.
                "max_output_in_mb": 0.03 if number % 6 == 5 else self.chance.choice([4, 8]),
                "max_workers": self.chance.choice([2, 4, 8]),
                "initial_workers": 1,
                "acceptable_error_percentage": self.chance.choice([0, 1, 5]),
            }
            self.ids.append(self.call("POST", "", terms)["id"])

    def inputs(self, key: str) -> list:
        rows = [[row, self.chance.randint(1, 99), self.chance.randint(1, 9), 0.1] for row in range(RECORDS)]
        return [[key, "price", "quantity", "tax"], *rows]

    def run(self) -> None:
        while not self.ended.is_set():
            number = self.chance.randrange(len(self.ids))
            id, push = self.ids[number], next(self.pushes)
            # Some batches get a chunk now and then that cannot be evaluated.
            wrong = number % 7 == 3 and push % 3 == 0
            parts = range(self.chance.choice([8, 16, 32]))
            chunks = [{"id": f"p{push:05}-{part}", "data": {"inputs": self.wrong if wrong and part == 0 else self.right}} for part in parts]
            self.call("POST", f"/{id}/chunks", {"chunks": chunks})
            if number % 6 != 5:
                self.call("GET", f"/{id}/chunkresults?max=100")
            if push % 60 == 0:
                self.call("PATCH", f"/{id}", {"batch_status": "closed"})


def main() -> None:
    settings = [f"telemetry.metrics_token={OPERATOR}", "worker.slots=1", "tenants.capacity_bytes=1000000000"]
    fleet, process = start_fleet("--workers", "2", "--sales", *(part for setting in settings for part in ("--setting", setting)))
    load = Load(fleet)
    try:
        load.open()
        callers = [threading.Thread(target=load.run, daemon=True) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"])
            draw(browser, fleet)
            browser.close()
        load.ended.set()
        for caller in callers:
            caller.join(30)
    finally:
        stop_fleet(process)


def draw(browser, fleet) -> None:
    PICTURES.mkdir(exist_ok=True)

    def page(credential: str, theme: str):
        page = browser.new_context(viewport={"width": 1380, "height": 860}, locale="en", timezone_id="UTC").new_page()
        # Recipes are recorded documents; everything else is this fleet.
        page.route("**/v6/**", lambda route: route.fulfill(json=ANSWERS[urllib.parse.urlparse(route.request.url).path]))
        page.goto(f"{fleet.url}/dashboard/")
        page.get_by_label("Colours").select_option(theme)
        page.get_by_label("API key, or the token of operators").fill(credential)
        page.keyboard.press("Enter")
        page.get_by_role("rowheader").first.wait_for()
        return page

    def shoot(page, name: str) -> None:
        page.screenshot(path=PICTURES / f"{name}.png")

    owner = page(fleet.key, "light")
    time.sleep(LOAD_SECONDS)
    shoot(owner, "batches")
    owner.get_by_label("Show").select_option("failing")
    owner.get_by_role("button", name="Records/s").click()
    time.sleep(2)
    owner.get_by_role("region", name="Batches").get_by_role("link").first.click()
    owner.get_by_role("heading", name="sales/SalesExample").wait_for()
    time.sleep(LOAD_SECONDS)
    shoot(owner, "batch")
    owner.goto(f"{fleet.url}/dashboard/#/recipes/recipe/77")
    owner.get_by_role("rowheader").first.wait_for()
    owner.screenshot(path=PICTURES / "recipe.png", clip={"x": 0, "y": 0, "width": 1380, "height": 620})
    operator = page(OPERATOR, "light")
    time.sleep(3)
    shoot(operator, "fleet")
    dark = page(OPERATOR, "dark")
    dark.get_by_role("link", name="Quotas").click()
    dark.get_by_role("rowheader").first.wait_for()
    time.sleep(3)
    shoot(dark, "tenants-dark")


if __name__ == "__main__":
    main()
