"""Everybody can use it: by keyboard alone, with a reader of the screen, in light and dark; and it asks nobody else for anything."""

import urllib.request

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import OPERATOR
from playwright.sync_api import expect


def serious(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']][:3]}" for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(world, page, sign_in, theme):
    batch = world.failing_batch()
    page.get_by_label("Colours").select_option(theme)
    assert serious(page) == []
    sign_in(world.key)
    page.get_by_label("Show").select_option("all")
    expect(page.get_by_role("region", name="Batches").get_by_role("rowheader").first).to_be_visible()
    assert serious(page) == []
    page.goto(f"{world.page}#/batch/{batch}")
    expect(page.get_by_role("region", name="Failures").last.get_by_text("bad-1")).to_be_visible()
    assert serious(page) == []
    page.get_by_role("button", name="Redrive …").click()
    assert serious(page) == []
    page.keyboard.press("Escape")
    for name in ["Fleet", "Quotas"]:
        page.get_by_role("link", name=name).click()
        expect(page.get_by_role("rowheader").first).to_be_visible()
        assert serious(page) == []
    page.get_by_role("button", name="Sign out").click()
    sign_in(OPERATOR)
    expect(page.get_by_role("rowheader").first).to_be_visible()
    assert serious(page) == []


def ground(page) -> str:
    return page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")


def test_dark_follows_the_system_and_the_switch(world, page):
    page.emulate_media(color_scheme="light")
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    assert light != dark
    page.get_by_label("Colours").select_option("light")
    assert ground(page) == light
    page.reload()
    assert ground(page) == light
    page.emulate_media(color_scheme="light")
    page.get_by_label("Colours").select_option("dark")
    assert ground(page) == dark
    page.get_by_label("Colours").select_option("auto")
    assert ground(page) == light


def test_the_keyboard_is_enough(world, page):
    batch = world.batch(correlation_id="keys-only")
    keyboard = page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            focused = page.evaluate("() => (document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || document.activeElement.labels?.[0]?.innerText || '').trim()")
            if focused.startswith(name):
                return
        raise AssertionError(f"no Tab leads to {name}")

    expect(page.get_by_label("API key, or the token of operators")).to_be_focused()
    keyboard.type(world.key)
    keyboard.press("Enter")
    # Whoever cannot see the page begins where its content begins.
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    tab_to("Find")
    keyboard.type("keys-only")
    expect(page.get_by_role("region", name="Batches").get_by_role("rowheader")).to_have_count(1)
    tab_to("sales/SalesExample")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="sales/SalesExample")).to_be_focused()
    expect(page.get_by_role("button", name="Cancel …")).to_be_visible()
    tab_to("Cancel")
    keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Cancel this batch?")).to_be_visible()
    keyboard.press("Escape")
    expect(page.get_by_role("button", name="Cancel …")).to_be_focused()
    keyboard.press("Enter")
    tab_to("Cancel the batch")
    keyboard.press("Enter")
    expect(page.locator(".head .badge").first).to_have_text("cancelled")
    assert world.status(batch)["batch_status"] == "cancelled"
    # The first stop of every page leads past the navigation.
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.evaluate("() => document.activeElement.blur()")
    page.get_by_role("link", name="Skip to the content").focus()
    keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_nothing_moves_for_those_who_want_no_motion(page, sign_in, world):
    page.emulate_media(reduced_motion="reduce")
    sign_in(world.key)
    moving = "() => [...document.querySelectorAll('*')].filter((node) => parseFloat(getComputedStyle(node).transitionDuration) > 0).length"
    assert page.evaluate(moving) == 0


def test_the_policy_forbids_what_the_page_does_not_do(world, page, context):
    with urllib.request.urlopen(f"{world.url}/dashboard/") as answer:
        policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    # Markup from text is refused by the browser itself.
    refused = page.evaluate("() => { try { document.createElement('p').innerHTML = '<b>x</b>'; return null; } catch (error) { return error.name; } }")
    assert refused == "TypeError"
    listened = """async () => {
        const seen = new Promise((resolve) => document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective)));
        fetch("https://elsewhere.example/").catch(() => {});
        return seen;
    }"""
    assert page.evaluate(listened) == "connect-src"
    # This is what every other test would fail by.
    assert len(context.watched.wrong) >= 2
    context.watched.wrong.clear()
