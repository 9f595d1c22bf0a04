"""Batches, live: progress, terms, cancel, failures and redrive."""

import re

import psycopg
from playwright.sync_api import expect


def row(page, text: str):
    return page.get_by_role("region", name="Batches").get_by_role("row").filter(has_text=text)


def tile(page, name: str):
    return page.locator(".tile").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def test_progress_is_seen_while_it_happens(world, page, sign_in):
    batch = world.batch(correlation_id="live-1")
    sign_in(world.key)
    mine = row(page, "live-1")
    expect(mine).to_contain_text("created")
    expect(mine).to_contain_text("0 of 0 records")
    world.push(batch, "a", "b", "c")
    expect(mine).to_contain_text("6 of 6 records")
    expect(mine.get_by_role("progressbar", name="3 of 3 chunks finished")).to_be_visible()
    mine.get_by_role("link").click()
    expect(page.get_by_role("heading", name="sales/SalesExample")).to_be_visible()
    world.push(batch, "d")
    expect(page.get_by_role("progressbar", name="4 of 4 chunks finished")).to_be_visible()
    expect(tile(page, "To be pulled")).to_contain_text("4")
    world.change(batch, "closed")
    expect(page.locator(".head .badge").first).to_have_text("completed")
    # What was told of it stays for those who cannot see the badge.
    expect(page.get_by_role("status").filter(has_text="The batch is completed.")).to_be_attached()
    page.get_by_role("link", name="Batches", exact=True).last.click()
    expect(page.get_by_role("region", name="Batches").or_(page.get_by_text("There is no live batch")).or_(page.get_by_text("No batch is like this"))).to_be_visible()
    page.get_by_label("Show").select_option("ended")
    expect(row(page, "live-1")).to_contain_text("completed")


def test_a_batch_is_cancelled_after_a_question(world, page, sign_in):
    batch = world.batch()
    world.push(batch, "a")
    sign_in(world.key)
    page.goto(f"{world.page}#/batch/{batch}")
    page.get_by_role("button", name="Cancel …").click()
    page.get_by_role("dialog", name="Cancel this batch?").get_by_role("button", name="Keep as it is").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert world.status(batch)["batch_status"] != "cancelled"
    page.get_by_role("button", name="Cancel …").click()
    page.get_by_role("button", name="Cancel the batch").click()
    expect(page.locator(".head .badge").first).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel …")).to_be_hidden()
    assert world.status(batch)["batch_status"] == "cancelled"


def test_a_batch_is_paused_and_resumed_in_place(world, page, sign_in):
    batch = world.batch(correlation_id="pause-1")
    sign_in(world.key)
    row(page, "pause-1").get_by_role("link").click()
    page.get_by_role("button", name="Pause", exact=True).click()
    resume = page.get_by_role("button", name="Resume", exact=True)
    expect(resume).to_be_visible()
    expect(resume).to_be_focused()
    # In words, not by a colour, and said to those who cannot see it.
    expect(page.locator(".head .second").first).to_have_text("paused")
    expect(page.get_by_role("status").filter(has_text="The batch is paused.")).to_be_attached()
    expect(page.locator("dl.facts").filter(has_text="Owner")).to_contain_text(re.compile(r"Paused.*, by "))
    expect(tile(page, "Pause ends in")).to_contain_text("h")
    status = world.status(batch)
    assert (status["paused"], status["pipeline_status"]) == (True, "paused")
    # It takes chunks, and nothing of it is evaluated: another batch is, meanwhile.
    world.push(batch, "a", "b")
    other = world.batch()
    world.push(other, "a", "b", "c")
    world.change(other, "closed")
    world.wait(other, batch_status="completed")
    expect(tile(page, "Chunks waiting")).to_contain_text("2")
    assert world.status(batch)["chunks_completed"] == 0
    page.get_by_role("link", name="Batches", exact=True).last.click()
    expect(row(page, "pause-1")).to_contain_text("paused")
    expect(tile(page, "Live batches")).to_contain_text("paused")
    page.get_by_label("Show").select_option("paused")
    expect(row(page, "pause-1")).to_be_visible()
    page.go_back()
    # Somebody else resumes it, and this page follows without being asked.
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_visible()
    world.call("PATCH", f"/{{tenant}}/api/v4/batch/{batch}", {"paused": False})
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(page.get_by_role("progressbar", name="2 of 2 chunks finished")).to_be_visible()
    world.change(batch, "closed")
    world.wait(batch, batch_status="completed")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_hidden()


def test_terms_change_in_place(world, page, sign_in):
    batch = world.batch(max_workers=4)
    sign_in(world.key)
    page.goto(f"{world.page}#/batch/{batch}")
    form = page.get_by_role("form", name="Terms")
    slots = form.get_by_label("Most slots")
    expect(slots).to_have_value("4")
    expect(form.get_by_role("button", name="Change")).to_be_disabled()
    slots.fill("7")
    form.get_by_label("Tolerated failed chunks").fill("12.5")
    form.get_by_role("button", name="Undo").click()
    expect(slots).to_have_value("4")
    slots.fill("7")
    form.get_by_label("Tolerated failed chunks").fill("12.5")
    form.get_by_role("button", name="Change").click()
    expect(page.get_by_text("The terms are changed.").first).to_be_visible()
    configuration = world.call("GET", f"/{{tenant}}/api/v4/batch/{batch}")["data"]["configuration"]
    assert (configuration["max_workers"], configuration["acceptable_error_percentage"]) == (7, 12.5)
    assert configuration["acceptable_record_error_percentage"] is None
    # Somebody else changes them, and this page follows without being asked.
    world.call("PATCH", f"/{{tenant}}/api/v4/batch/{batch}", {"max_workers": 9})
    expect(slots).to_have_value("9")
    world.change(batch, "cancelled")
    expect(slots).to_be_disabled()


def test_what_failed_is_listed_and_done_again(world, page, sign_in):
    batch = world.failing_batch()
    sign_in(world.key)
    page.goto(f"{world.page}#/batch/{batch}")
    failures = page.get_by_role("region", name="Failures").last
    expect(failures.get_by_role("row").filter(has_text="bad-1")).to_contain_text("sales_id")
    expect(tile(page, "Failed chunks")).to_contain_text("1")
    page.get_by_role("button", name="Redrive …").click()
    dialog = page.get_by_role("dialog", name="Do failed work again?")
    dialog.get_by_label("The newest version of the service").check()
    dialog.get_by_role("button", name="Redrive").click()
    expect(page).not_to_have_url(f"{world.page}#/batch/{batch}")
    expect(page.get_by_text("Redrive of")).to_be_visible()
    again = page.url.rsplit("/", 1)[1]
    assert world.call("GET", f"/{{tenant}}/api/v4/batch/{again}")["data"]["redrive_of"] == batch
    # It has the same input, so it fails again; this page sees it.
    expect(page.locator(".head .badge").first).to_have_text("failed")
    page.get_by_role("link", name=batch).click()
    expect(page.get_by_text("Redriven by")).to_be_visible()


def test_a_lost_connection_is_said_and_mended(world, page, sign_in, context):
    world.batch(correlation_id="offline-1")
    sign_in(world.key)
    expect(row(page, "offline-1")).to_have_count(1)
    context.set_offline(True)
    page.get_by_role("link", name="Fleet").click()
    expect(page.locator("#connection")).to_have_text("Connection lost, trying again")
    context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.get_by_role("region", name="Workers")).to_be_visible()


def test_a_server_without_its_database_is_said(page, sign_in, world, context):
    remark = ": the database is away; the stream goes on when it is back\n\n"
    context.route("**/batch/events", lambda route: route.fulfill(content_type="text/event-stream", body=remark))
    sign_in(world.key)
    expect(page.locator("#connection")).to_have_text("The database is away, figures are old")


COPIES = """
WITH copies AS (INSERT INTO batches SELECT (jsonb_populate_record(b, jsonb_build_object(
    'id', gen_random_uuid(), 'lane_id', null, 'correlation_id', 'copy-' || n, 'created_at', b.created_at + n * interval '1 millisecond'))).*
    FROM batches b, generate_series(1, 950) n WHERE b.id = %(id)s RETURNING id)
INSERT INTO batch_counters SELECT (jsonb_populate_record(c, jsonb_build_object('batch_id', copies.id))).*
FROM batch_counters c, copies WHERE c.batch_id = %(id)s
"""


def test_nearly_a_thousand_batches_are_paged_found_and_sorted(world, page, sign_in):
    batch = world.batch(correlation_id="first")
    world.push(batch, "a")
    world.change(batch, "closed")
    world.wait(batch, batch_status="completed")
    # Rows of ended batches, so that there need not be a thousand queues. The list has room for a thousand.
    with psycopg.connect(world.database_url) as database:
        database.execute(COPIES, {"id": batch})
    sign_in(world.key)
    page.get_by_label("Show").select_option("ended")
    page.get_by_label("Find").fill("copy-")
    expect(page.get_by_role("status").filter(has_text=re.compile(r"^950 of "))).to_be_visible()
    rows = page.get_by_role("region", name="Batches").get_by_role("rowheader")
    expect(rows).to_have_count(50)
    expect(rows.first).to_contain_text("copy-950")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 19")).to_be_visible()
    expect(rows.first).to_contain_text("copy-900")
    page.get_by_role("button", name="Created").click()
    expect(rows.first).to_contain_text("copy-1")
    expect(page.get_by_role("columnheader", name="Created")).to_have_attribute("aria-sort", "ascending")
    page.get_by_label("Find").fill("copy-777")
    expect(rows).to_have_count(1)
    # A live one moves among them, over the same stream.
    page.get_by_label("Find").fill("mover")
    page.get_by_label("Show").select_option("all")
    mover = world.batch(correlation_id="mover")
    world.push(mover, "a", "b")
    expect(row(page, "mover")).to_contain_text("4 of 4 records")
