"""Who is let in, what they see, and where their credential is."""

import re

from conftest import OPERATOR
from issuer import USER
from playwright.sync_api import expect


def stored(page) -> str:
    return page.evaluate("() => JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])")


def pages(page) -> list[str]:
    return page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()


def test_a_key_signs_in_and_stays_in_the_tab(world, page, sign_in, context):
    sign_in(world.key)
    expect(page).to_have_url(f"{world.page}#/batches")
    assert pages(page) == ["Batches", "Recipes", "Fleet", "Quotas"]
    session, local, cookies = page.evaluate("() => [{...sessionStorage}, {...localStorage}, document.cookie]")
    assert world.key in str(session) and world.key not in str(local) and cookies == ""
    page.reload()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    # Another tab begins anew.
    other = context.new_page()
    other.goto(world.page)
    expect(other.get_by_role("heading", name="Sign in to Millrace")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to Millrace")).to_be_visible()
    assert world.key not in stored(page)


def test_a_wrong_key_is_refused_with_a_reason(page):
    field = page.get_by_label("API key, or the token of operators")
    field.fill(f"mr_{'A' * 43}")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This key is unknown, revoked or expired.")
    expect(field).to_be_focused()
    assert "mr_" not in stored(page)


def test_a_key_that_is_revoked_ends_the_session(world, page, sign_in):
    made = world.new_key("rita", ["batch"])
    sign_in(made["key"])
    expect(page.get_by_role("heading", name="Batches of rita")).to_be_visible()
    world.call("DELETE", f"/{{tenant}}/api/v4/keys/{made['id']}")
    page.get_by_role("link", name="Quotas").click()
    expect(page.get_by_role("alert")).to_contain_text("not good any more")
    assert made["key"] not in stored(page)


def test_what_is_shown_is_what_the_credential_may_see(world, page, sign_in):
    mine = world.new_key("olga", ["batch"])["key"]
    batch = world.call("POST", "/{tenant}/api/v4/batch", {"service": "sales/SalesExample", "correlation_id": "of-olga"}, mine)["id"]
    sign_in(world.new_key("paul", ["batch"])["key"])
    expect(page.get_by_text("There is no live batch")).to_be_visible()
    page.goto(f"{world.page}#/batch/{batch}")
    expect(page.get_by_role("heading", name="There is no such batch")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    # A supervisor sees everybody's.
    sign_in(world.new_key("sue", ["batch"], ["supervisor:pf"])["key"])
    page.goto(f"{world.page}#/batches")
    page.get_by_label("Find").fill("of-olga")
    expect(page.get_by_role("row").filter(has_text="of-olga")).to_have_count(1)
    page.get_by_role("button", name="Sign out").click()
    # Without the scope there are no batches to look at.
    sign_in(world.new_key("eve", ["execute"])["key"])
    expect(page).to_have_url(f"{world.page}#/fleet")
    assert pages(page) == ["Fleet", "Quotas"]
    world.call("PATCH", f"/{{tenant}}/api/v4/batch/{batch}", {"batch_status": "cancelled"}, mine)


def test_operators_see_the_fleet_and_every_tenant(world, page, sign_in):
    sign_in(OPERATOR)
    assert pages(page) == ["Fleet", "Quotas"]
    workers = page.get_by_role("region", name="Workers")
    expect(workers.get_by_role("rowheader")).to_have_count(1)
    expect(workers.get_by_text("of 2 slots busy")).to_be_visible()
    expect(page.get_by_role("region", name="Backlog of the installation")).to_contain_text("Slots wanted")
    page.get_by_role("link", name="Quotas").click()
    expect(page.get_by_role("heading", name="Tenants")).to_be_visible()
    expect(page.get_by_role("rowheader", name=world.tenant)).to_be_visible()


def test_people_sign_in_at_their_issuer(world, page):
    page.get_by_role("button", name="Sign in with your organisation").click()
    expect(page.get_by_role("heading", name=f"Batches of {world.tenant}")).to_be_visible()
    expect(page.locator("#who")).to_have_text(f"{USER} · {world.tenant}")
    # Neither the code nor the token is in the address.
    expect(page).to_have_url(re.compile(r"/dashboard/?#/batches$"))
    page.reload()
    expect(page.locator("#who")).to_have_text(f"{USER} · {world.tenant}")


def test_a_token_is_renewed_before_it_ends(world, page):
    world.issuer.life, world.issuer.renewed = 20, 0
    try:
        page.get_by_role("button", name="Sign in with your organisation").click()
        expect(page.get_by_role("heading", name=f"Batches of {world.tenant}")).to_be_visible()
        page.get_by_role("link", name="Fleet").click()
        expect(page.get_by_role("region", name="Workers")).to_be_visible()
        # Once, however many requests went out meanwhile.
        assert world.issuer.renewed == 1
    finally:
        world.issuer.life = 600


def test_an_issuer_that_refuses_is_heard(world, page):
    world.issuer.refused = True
    try:
        page.get_by_role("button", name="Sign in with your organisation").click()
        expect(page.get_by_role("alert")).to_have_text("You are not known here")
    finally:
        world.issuer.refused = False
    # An answer that was not asked for here is not taken.
    page.goto(f"{world.page}?code=stolen&state=other")
    expect(page.get_by_role("alert")).to_contain_text("not begun here")
