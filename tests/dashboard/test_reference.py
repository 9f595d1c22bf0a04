"""The reference at /docs draws every operation of the document, and asks nobody else for anything."""

import json
import urllib.request

from conftest import PATIENCE_MS
from playwright.sync_api import expect
from test_access import serious


def test_the_reference_shows_every_operation(world, context):
    expect.set_options(timeout=PATIENCE_MS)
    with urllib.request.urlopen(f"{world.url}/openapi.json", timeout=60) as answer:
        document = json.load(answer)
    methods = {"get", "post", "put", "patch", "delete"}
    operations = [one for item in document["paths"].values() for method, one in item.items() if method in methods]
    page = context.new_page()
    page.goto(f"{world.url}/docs")
    expect(page.locator("details.operation")).to_have_count(len(operations))
    assert serious(page) == []

    page.get_by_label("Find operations").fill("batch chunks post")
    found = page.locator("details.operation:visible")
    expect(found.first).to_be_visible()
    assert 0 < found.count() < len(operations)
    expect(page.get_by_role("status")).to_have_text(f"{found.count()} operations")

    # Each of them opens, with its answers; the address then leads to it.
    page.get_by_label("Find operations").fill("")
    page.evaluate("() => document.querySelectorAll('details.operation').forEach((one) => { one.open = true; })")
    expect(page.locator("details.operation > div")).to_have_count(len(operations))
    expect(page.locator("details.operation h3", has_text="Answers")).to_have_count(len(operations))
    name = operations[0]["operationId"]
    page.goto("about:blank")
    page.goto(f"{world.url}/docs#{name}")
    expect(page.locator(f"#{name} > div")).to_be_visible()
    assert page.locator("details.operation[open]").count() == 1
