"""The Scale v6 part of the world: one of everything, the first of its kind, so that its id is 1 as in the document's examples."""

import time

MANIFEST = {
    "seedVersion": "1.0.0",
    "job": {
        "name": "add",
        "jobVersion": "1.0.0",
        "packageVersion": "1.0.0",
        "title": "Add",
        "description": "Adds one",
        "timeout": 60,
        "interface": {
            "inputs": {"json": [{"name": "x", "type": "number"}]},
            "outputs": {"json": [{"name": "y", "type": "number"}]},
        },
    },
}
JOB_TYPE = {"manifest": MANIFEST, "model": {"formulas": {"y": "x + 1"}}, "configuration": {}}
INPUT = {"json": [{"name": "x", "type": "number"}]}
DEFINITION = {
    "input": INPUT,
    "nodes": {
        "a": {
            "dependencies": [],
            "input": {"x": {"type": "recipe", "input": "x"}},
            "node_type": {"node_type": "job", "job_type_name": "add", "job_type_version": "1.0.0", "job_type_revision": 1},
        },
    },
}
DATASET = {"parameters": INPUT}
MEMBERS = [{"json": {"x": x}} for x in range(5)]
# Of no member of the dataset: no batch takes its place.
ALONE = {"json": {"x": 12345}}


def until(caller, path: str, key: str, wanted: object) -> dict:
    deadline = time.monotonic() + 120
    while True:
        found = caller.call("GET", path)
        if found[key] == wanted:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def make(caller) -> dict[str, int]:
    """Makes it, and waits until all of it has run."""
    job_type = caller.call("POST", "/v6/job-types/", JOB_TYPE)["id"]
    recipe_type = caller.call("POST", "/v6/recipe-types/", {"title": "Chain", "definition": DEFINITION})["id"]
    dataset = caller.call("POST", "/v6/datasets/", {"title": "Numbers", "definition": DATASET, "data": MEMBERS})["id"]
    upload = caller.call("POST", f"/v6/datasets/{dataset}/upload/", b"x\n10\n11\n", "text/csv")["id"]
    recipe = caller.call("POST", "/v6/recipes/", {"recipe_type_id": recipe_type, "input": ALONE})["id"]
    job = caller.call("POST", "/v6/jobs/", {"job_type_id": job_type, "input": ALONE})["id"]
    batch = caller.call("POST", "/v6/batches/", {"recipe_type_id": recipe_type, "definition": {"dataset": dataset}})["id"]
    until(caller, f"/v6/recipes/{recipe}/", "is_completed", True)
    until(caller, f"/v6/jobs/{job}/", "status", "COMPLETED")
    until(caller, f"/v6/batches/{batch}/", "recipes_completed", len(MEMBERS) + 2)
    made = {"job_type": job_type, "recipe_type": recipe_type, "dataset": dataset, "upload": upload}
    made |= {"recipe": recipe, "job": job, "recipe_batch": batch}
    member = caller.call("GET", f"/v6/datasets/{dataset}/members/")["results"][0]["id"]
    return made | {"member": member}
