"""Documents of the Scale v6 contract (sections 2, 4.8, 5.2 and 5.5), as a server answers them."""

WHEN = "2026-11-29T10:00:00Z"
JOBS = ["total", "pending", "blocked", "queued", "running", "failed", "completed", "canceled"]


def jobs(**counts: int) -> dict:
    found = {f"jobs_{name}": counts.get(name, 0) for name in JOBS}
    found["jobs_total"] = counts.get("total", sum(counts.values()))
    return found


def job(name: str, *waits: str, acceptance: bool = True, **inputs: tuple[str, str]) -> dict:
    return {
        "dependencies": [{"name": wait, "acceptance": acceptance} for wait in waits],
        "input": {key: {"type": "dependency", "node": node, "output": output} for key, (node, output) in inputs.items()},
        "node_type": {"node_type": "job", "job_type_name": name, "job_type_version": "1.0.0", "job_type_revision": 1},
    }


DEFINITION = {
    "input": {"files": [], "json": [{"name": "amount", "type": "number", "required": True}]},
    "nodes": {
        "price": job("pricing"),
        "risk": job("risk-score"),
        "is-risky": {
            "dependencies": [{"name": "risk", "acceptance": True}],
            "input": {},
            "node_type": {"node_type": "condition", "interface": {}, "data_filter": {"filters": [], "all": True}},
        },
        "review": {
            "dependencies": [{"name": "is-risky", "acceptance": True}, {"name": "price", "acceptance": True}],
            "input": {},
            "node_type": {"node_type": "recipe", "recipe_type_name": "review", "recipe_type_revision": 3},
        },
        "accept": job("accept", "is-risky", acceptance=False),
        "report": job("report", "price", "accept"),
    },
}

TYPE = {"id": 4, "name": "quotes", "title": "Quotes", "description": "Prices and reviews a quote", "revision_num": 2}
REVISION = {"id": 9, "recipe_type": {"id": 4}, "revision_num": 2}
EVENT = {"id": 1, "type": "USER", "rule": None, "occurred": WHEN, "description": {"user": "ann"}}


def instance(name: str, **state: object) -> dict:
    node = DEFINITION["nodes"][name]
    return {"dependencies": [{"name": one["name"]} for one in node["dependencies"]], "node_type": {**node["node_type"], **state}}


RECIPE = {
    "id": 77,
    "recipe_type": TYPE,
    "recipe_type_rev": REVISION,
    "event": EVENT,
    "batch": {"id": 12, "title": "Quotes of November", "description": None, "created": WHEN},
    "recipe": None,
    "is_superseded": False,
    "superseded_recipe": None,
    **jobs(completed=1, failed=1, blocked=1),
    "sub_recipes_total": 1,
    "sub_recipes_completed": 0,
    "is_completed": False,
    "created": WHEN,
    "completed": None,
    "superseded": None,
    "last_modified": WHEN,
    "input": {"files": {}, "json": {"amount": 100}},
    "details": {
        "nodes": {
            "price": instance("price", job_id=1, status="FAILED"),
            "risk": instance("risk", job_id=2, status="COMPLETED"),
            "is-risky": instance("is-risky", condition_id=5, is_processed=True, is_accepted=True),
            "review": instance("review", recipe_id=78, is_completed=False, **jobs(running=2), sub_recipes_total=0, sub_recipes_completed=0),
            "report": instance("report", job_id=3, status="BLOCKED"),
        }
    },
}


def metrics(mean: str | None, **counts: int) -> dict:
    durations = {f"{edge}_{what}_duration": mean for edge in ("min", "avg", "max") for what in ("seed", "job")}
    return {**jobs(**counts), **durations}


BATCH = {
    "id": 12,
    "title": "Quotes of November",
    "description": None,
    "recipe_type": TYPE,
    "recipe_type_rev": {**REVISION, "definition": DEFINITION, "created": WHEN},
    "event": EVENT,
    "is_superseded": False,
    "root_batch": {"id": 11, "title": "Quotes of October", "description": None, "created": WHEN},
    "superseded_batch": {"id": 11, "title": "Quotes of October", "description": None, "created": WHEN},
    "is_creation_done": True,
    "is_paused": False,
    "paused": None,
    "paused_by": None,
    **jobs(completed=3100, failed=12, blocked=24, running=8, queued=856),
    "recipes_estimated": 1000,
    "recipes_total": 1000,
    "recipes_completed": 640,
    "created": WHEN,
    "last_modified": WHEN,
    "superseded": None,
    "definition": {"previous_batch": {"root_batch_id": 11}},
    "configuration": {},
    "job_metrics": {
        "price": metrics("PT0.012S", completed=900, failed=12, queued=88),
        "risk": metrics("PT0.1S", completed=1000),
        "accept": metrics("PT1M2S", completed=600, running=8, queued=392),
        "report": metrics(None, blocked=24, pending=376, completed=600),
    },
}

COMPARISON = {
    "batches": [{"id": 11, "title": "Quotes of October", "description": None, "created": WHEN}, {"id": 12, "title": "Quotes of November", "description": None, "created": WHEN}],
    "metrics": {
        **{f"jobs_{name}": [4000 if name in ("total", "completed") else 0, {"total": 4000, "completed": 3100, "failed": 12}.get(name, 0)] for name in JOBS},
        "recipes_estimated": [1000, 1000],
        "recipes_total": [1000, 1000],
        "recipes_completed": [1000, 640],
        "job_metrics": {
            "price": {"jobs_total": [1000, 1000], "jobs_completed": [1000, 900], "jobs_failed": [0, 12], "avg_job_duration": ["PT0.02S", "PT0.012S"], "max_job_duration": ["PT1S", "PT2.5S"]},
            "risk": {"jobs_total": [None, 1000], "jobs_completed": [None, 1000], "jobs_failed": [None, 0], "avg_job_duration": [None, "PT0.1S"], "max_job_duration": [None, "PT1M2.5S"]},
        },
    },
}


def page(*results: dict) -> dict:
    return {"count": len(results), "next": None, "previous": None, "results": list(results)}


TYPE_ITEM = {**TYPE, "is_active": True, "is_system": False, "job_types": [{"name": "pricing", "version": "1.0.0"}], "sub_recipe_types": ["review"], "created": WHEN, "deprecated": None, "last_modified": WHEN}

ANSWERS = {
    "/v6/batches/": page(BATCH),
    "/v6/batches/12/": BATCH,
    "/v6/batches/comparison/11/": COMPARISON,
    "/v6/recipe-types/": page(TYPE_ITEM),
    "/v6/recipe-types/quotes/": {**TYPE_ITEM, "definition": DEFINITION},
    "/v6/recipe-types/quotes/revisions/2/": {**REVISION, "definition": DEFINITION},
    "/v6/recipes/": page(RECIPE),
    "/v6/recipes/77/": RECIPE,
}
