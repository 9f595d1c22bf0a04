"""Puts names and ids that exist into most requests, so that they reach deep, and keeps requests from pulling the ground from under
those that follow. What is put where depends on the request alone."""

import collections
import json
import os
import pathlib
import zlib

import recipes
import requests
import schemathesis

# Paths of the Scale v6 services, and what their `id` is.
V6_IDS = (
    ("/v6/datasets/members/", "member"),
    ("/v6/datasets/", "dataset"),
    ("/v6/batches/", "recipe_batch"),
    ("/v6/recipes/", "recipe"),
    ("/v6/jobs/", "job"),
)
WORLD = json.loads(pathlib.Path(os.environ["MRT_OPENAPI_WORLD"]).read_text())
HEADERS = {"x-synthetic-key": WORLD["key"]}
SALES = "sales/SalesExample"
# Batches that requests have made and that live still; each holds a queue and a part of the tenant's capacity.
LIVE = 3
made = collections.deque()


def number_of(case) -> int:
    return zlib.crc32(repr((case.operation.label, case.path_parameters, case.query, case.body)).encode())


def one_of(number: int, *choices):
    return choices[number // 16 % len(choices)]


def id_for(path: str, number: int) -> str:
    for prefix, kind in V6_IDS:
        if path.startswith(prefix):
            return str(WORLD["v6"][kind])
    if "/batch/" in path:
        return one_of(number, WORLD["open"], WORLD["finished"], WORLD["open"], WORLD["cancelled"])
    if "/webhooks/" in path:
        return WORLD["webhook"]
    if "/keys/" in path:
        return WORLD["spare_key"]
    if "/service/" in path:
        return WORLD["service"]
    if "/version/" in path or "/versionid/" in path:
        return WORLD["version"]
    return one_of(number, WORLD["folder"], "sales")


def replace_path(case, number: int) -> None:
    method, path = case.operation.method.upper(), case.operation.path
    parameters = case.path_parameters
    known = {
        "tenant": WORLD["tenant"],
        "folder": "sales",
        "service": "SalesExample",
        "id": id_for(path, number),
        "chunk_id": one_of(number, "w1", "w2", "w20", "c1"),
        "job": WORLD["upload"],
        "version": one_of(number, WORLD["version"], "0.1") if "download" in path else WORLD["version"],
        "subservice": one_of(number, "All", "x"),
        "download": one_of(number, "True", "False"),
        "delivery": "x",
    }
    if path.startswith("/v6/"):
        known = {
            "id": id_for(path, number),
            "upload": str(WORLD["v6"]["upload"]),
            "name": "chain" if "/recipe-types/" in path else "add",
            "version": "1.0.0",
            "revision": "1",
            "exe_num": "1",
        }
        # The world's recipe stays the current one of its family: others are made for this.
        if path.endswith("/reprocess/"):
            known["id"] = str(reprocessable())
    for name in parameters:
        # One made-up name in eight stays.
        if name in known and (name == "tenant" or number % 8):
            parameters[name] = known[name]
    if method == "DELETE":
        # A key to spare may go; what others are told of must stay.
        for name in ("folder", "id"):
            if name in parameters and "/keys/" not in path:
                parameters[name] = f"gone-{number}"


def reprocessable() -> int:
    body = {"recipe_type_id": WORLD["v6"]["recipe_type"], "input": recipes.ALONE}
    return requests.post(f"{WORLD['url']}/v6/recipes/", json=body, headers=HEADERS, timeout=60).json()["id"]


def protect_v6(id: str, body: dict) -> None:
    """The world's types go on as they are."""
    if id in ("changeJobType", "changeRecipeType"):
        for name in ("is_active", "is_paused"):
            body.pop(name, None)
    if id == "changeRecipeType" and "definition" in body:
        body["definition"] = recipes.DEFINITION


def replace_v6(id: str, body: dict, number: int) -> None:
    """Documents that fit each other, in most requests."""
    ids = WORLD["v6"]
    if "recipe_type_id" in body:
        body["recipe_type_id"] = ids["recipe_type"]
    if "job_type_id" in body:
        body["job_type_id"] = ids["job_type"]
    match id:
        case "createRecipe" | "createJob":
            body["input"] = {"json": {"x": number % 1000}}
        case "createRecipeBatch" | "validateRecipeBatch":
            of_dataset = {"dataset": ids["dataset"]}
            following = {"previous_batch": {"root_batch_id": ids["recipe_batch"]}}
            body["definition"] = one_of(number, of_dataset, following, body.get("definition"))
            body["configuration"] = one_of(number, {"priority": number % 100}, body.get("configuration"))
        case "changeRecipeBatch":
            body["configuration"] = one_of(number, {"priority": 5}, body.get("configuration"))
        case "reprocessRecipe":
            body["forced_nodes"] = one_of(number, {"all": True}, {"all": False, "nodes": ["a"]}, body.get("forced_nodes"))
            body["revision_num"] = one_of(number, 1, body.get("revision_num"))
        case "createJobType" | "validateJobType":
            job = {**recipes.MANIFEST["job"], "name": f"j{number % 20}"}
            body["manifest"] = one_of(number, {**recipes.MANIFEST, "job": job}, body.get("manifest"))
            body["model"] = one_of(number, recipes.JOB_TYPE["model"], body.get("model"))
            body["configuration"] = one_of(number, {"priority": 7}, body.get("configuration"))
        case "createRecipeType" | "validateRecipeType":
            body["definition"] = one_of(number, recipes.DEFINITION, body.get("definition"))
            if id == "createRecipeType":
                body["title"] = f"t{number}"
        case "createDataset" | "validateDataset":
            body["definition"] = one_of(number, recipes.DATASET, body.get("definition"))
            if id == "createDataset":
                body["data"] = one_of(number, recipes.MEMBERS, recipes.MEMBERS[0], body.get("data"))
        case "addDatasetMembers":
            body["data"] = one_of(number, recipes.MEMBERS[:2], body.get("data"))


def replace_body(case, number: int) -> None:
    id, body = case.operation.definition.raw["operationId"], case.body
    if not isinstance(body, dict):
        return
    protect_v6(id, body)
    if number % 4 == 0 and "Webhook" not in id:
        return
    if case.operation.path.startswith("/v6/"):
        replace_v6(id, body, number)
        return
    match id:
        case "createWebhook" | "changeWebhook":
            # No message leaves the machine.
            if isinstance(body.get("url"), str):
                body["url"] = "https://receiver.example/"
        case "createBatch" | "execute":
            body["service"] = SALES
            for name in ("version_id", "service_id", "version_by_timestamp"):
                body.pop(name, None)
        case "publishService" if isinstance(body.get("request_data"), dict):
            body["request_data"]["engine_file_documentid"] = WORLD["document"]
        case "acknowledgeResults":
            body["cursor"] = WORLD["cursor"]
        case "issueToken":
            body["client_id"], body["client_secret"] = WORLD["spare_key"], WORLD["spare_secret"]
        case _ if isinstance(body.get("request_meta"), dict):
            body["request_meta"]["service_uri"] = SALES
            for name in ("version_id", "service_id", "version", "transaction_date"):
                body["request_meta"].pop(name, None)


@schemathesis.hook
def before_call(context, case, kwargs):
    number = number_of(case)
    if isinstance(case.path_parameters, dict):
        replace_path(case, number)
    replace_body(case, number)
    id = case.operation.definition.raw["operationId"]
    if id == "changeBatch" and isinstance(case.path_parameters, dict) and isinstance(case.body, dict):
        # The batches of the world stay as they are; others end.
        if "batch_status" in case.body and made and case.path_parameters.get("id") == WORLD["open"]:
            case.path_parameters["id"] = made[-1]
        elif case.path_parameters.get("id") == WORLD["open"]:
            case.body.pop("batch_status", None)
    if case.headers is not None and "x-tenant-name" in case.headers and number % 8:
        case.headers["x-tenant-name"] = WORLD["tenant"]


@schemathesis.hook
def after_call(context, case, response):
    if case.operation.definition.raw["operationId"] not in ("createBatch", "redriveBatch") or response.status_code != 200:
        return
    batch = response.json()["id"]
    if batch not in made:
        made.append(batch)
    if len(made) > LIVE:
        path = f"{WORLD['url']}/{WORLD['tenant']}/api/v4/batch/{made.popleft()}"
        requests.patch(path, json={"batch_status": "cancelled"}, headers=HEADERS, timeout=60)
