"""Recipes: graphs with the states of their nodes, batches of recipes, comparison. The documents are recorded ones of the contract."""

import json
import urllib.parse

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from recorded import ANSWERS, DEFINITION, RECIPE, WHEN


@pytest.fixture
def recorded(context):
    """Answers `/v6/` with recorded documents, and notes what was posted."""
    posted = []
    answers = dict(ANSWERS)

    def answer(route):
        request = route.request
        path = urllib.parse.urlparse(request.url).path
        assert request.headers["authorization"].startswith("Bearer ")
        if request.method in ("POST", "PATCH"):
            body = json.loads(request.post_data)
            posted.append((path, body))
            if "is_paused" in body:
                paused = body["is_paused"]
                answers[path] = {**answers[path], "is_paused": paused, "paused": WHEN if paused else None, "paused_by": "ann" if paused else None}
            route.fulfill(status=204 if request.method == "PATCH" else 202)
        elif path in answers:
            route.fulfill(json=answers[path])
        else:
            route.fulfill(status=404, json={"detail": "Not found."})

    context.route("**/v6/**", answer)
    return posted


def test_a_graph_is_layered_and_drawn_the_same_each_time(page):
    script = """async (nodes) => {
        const { layout } = await import('/dashboard/graph.js');
        const one = layout(nodes);
        const shuffled = Object.fromEntries(Object.entries(nodes).reverse());
        const broken = layout({ a: { dependencies: [{ name: "b" }, { name: "gone" }, { name: "a" }] }, b: { dependencies: [{ name: "a" }] } });
        return [one, JSON.stringify(one) === JSON.stringify(layout(shuffled)), broken, layout({})];
    }"""
    drawn, same, broken, empty = page.evaluate(script, DEFINITION["nodes"])
    assert same and empty["nodes"] == []
    # A circle cannot come from the server; it must not hang the page either.
    assert len(broken["nodes"]) == 2 and len(broken["edges"]) == 1
    at = {node["name"]: node for node in drawn["nodes"]}
    assert [at[name]["layer"] for name in ("price", "risk", "is-risky", "review", "accept", "report")] == [0, 0, 1, 2, 2, 3]
    assert len(drawn["edges"]) == sum(len(node["dependencies"]) for node in DEFINITION["nodes"].values())
    assert [edge["acceptance"] for edge in drawn["edges"] if edge["to"] == "accept"] == [False]
    for first in drawn["nodes"]:
        assert 0 <= first["x"] <= drawn["width"] - first["width"] and 0 <= first["y"] <= drawn["height"] - first["height"]
        for second in drawn["nodes"]:
            if first["layer"] == second["layer"] and first["name"] < second["name"]:
                assert abs(first["y"] - second["y"]) >= first["height"], "nodes of a layer do not overlap"


def test_durations_and_comparisons_are_reckoned(page):
    script = """async () => {
        const { seconds } = await import('/dashboard/recipes-model.js');
        return ["PT0S", "PT9M2S", "P1DT0S", "P1DT2H3M4.5S", null, "x", "P1Y"].map(seconds);
    }"""
    assert page.evaluate(script) == [0, 542, 86_400, 93_784.5, None, None, None]


def test_a_recipe_is_drawn_with_the_states_of_its_nodes(world, page, sign_in, recorded):
    sign_in(world.key)
    page.goto(f"{world.page}#/recipes/recipe/77")
    expect(page.get_by_role("heading", name="Recipe 77: Quotes, revision 2")).to_be_visible()
    expect(page.get_by_role("img", name="Graph of 6 nodes with their states")).to_be_visible()
    assert page.locator("svg.graph g.node").count() == 6
    states = {name: page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True)) for name in RECIPE["details"]["nodes"]}
    expect(states["price"]).to_contain_text("failed")
    expect(states["is-risky"]).to_contain_text("accepted")
    expect(states["report"]).to_contain_text("blocked")
    # A branch that was not taken has no job.
    expect(page.get_by_role("row").filter(has_text="not is-risky")).to_contain_text("not made")
    page.get_by_role("button", name="Queue failed jobs again").click()
    expect(page.get_by_text("are queued again").first).to_be_visible()
    page.get_by_role("button", name="Cancel jobs …").click()
    page.get_by_role("button", name="Cancel the jobs").click()
    expect(page.get_by_text("are being canceled").first).to_be_visible()
    assert recorded == [("/v6/jobs/requeue/", {"recipe_ids": [77], "status": ["FAILED", "CANCELED"]}), ("/v6/jobs/cancel/", {"recipe_ids": [77]})]


def test_a_batch_of_recipes_is_paused_and_resumed_in_place(world, page, sign_in, recorded):
    sign_in(world.key)
    page.goto(f"{world.page}#/recipes/batch/12")
    pause = page.get_by_role("button", name="Pause", exact=True)
    expect(pause).to_be_visible()
    pause.focus()
    page.keyboard.press("Enter")
    resume = page.get_by_role("button", name="Resume", exact=True)
    expect(resume).to_be_visible()
    # The same button: whoever uses the keyboard is where they were.
    expect(resume).to_be_focused()
    expect(page.locator(".head .badge").first).to_have_text("paused")
    expect(page.get_by_text("by ann: its jobs stay queued")).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    page.keyboard.press("Enter")
    expect(pause).to_be_focused()
    expect(page.locator(".head .badge").first).to_have_text("with failures")
    assert recorded == [("/v6/batches/12/", {"is_paused": True}), ("/v6/batches/12/", {"is_paused": False})]


def test_from_the_list_to_a_batch_and_its_chain(world, page, sign_in, recorded):
    sign_in(world.key)
    page.get_by_role("link", name="Recipes", exact=True).click()
    row = page.get_by_role("row").filter(has_text="Quotes of November")
    expect(row).to_contain_text("640 of 1,000 recipes")
    row.get_by_role("link", name="Quotes of November").click()
    expect(page.get_by_role("img", name="Graph of 6 nodes with the jobs of the batch")).to_be_visible()
    expect(page.locator("svg.graph g.node").filter(has_text="price")).to_contain_text("12 failed")
    expect(page.get_by_role("region", name="Jobs by node").get_by_role("row").filter(has_text="accept")).to_contain_text("1 min 2 s")
    expect(page.get_by_role("region", name="Recipes of the batch").get_by_role("link", name="77")).to_be_visible()
    page.get_by_role("link", name="Compare with the batches of this chain").click()
    table = page.get_by_role("region", name="Comparison")
    completed = table.get_by_role("row").filter(has_text="Recipes completed")
    expect(completed).to_contain_text("1,000")
    expect(completed).to_contain_text("− 360")
    # A node that the older revision did not have.
    expect(table.get_by_role("row").filter(has_text="risk").first).to_contain_text("–")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_recipes(world, page, sign_in, recorded, theme):
    page.get_by_label("Colours").select_option(theme)
    sign_in(world.key)
    for place in ["#/recipes", "#/recipes/types", "#/recipes/type/quotes", "#/recipes/batch/12", "#/recipes/recipe/77", "#/recipes/compare/11"]:
        page.goto(f"{world.page}{place}")
        expect(page.get_by_role("rowheader").first).to_be_visible()
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == [], place
