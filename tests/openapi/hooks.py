"""Puts names and ids that exist into most requests, so that they reach deep, and keeps requests from pulling the ground from under
those that follow. What is put where depends on the request alone."""

import collections
import json
import os
import pathlib
import zlib

import requests
import schemathesis

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
    for name in parameters:
        # One made-up name in eight stays.
        if name in known and (name == "tenant" or number % 8):
            parameters[name] = known[name]
    if method == "DELETE":
        # A key to spare may go; what others are told of must stay.
        for name in ("folder", "id"):
            if name in parameters and "/keys/" not in path:
                parameters[name] = f"gone-{number}"


def replace_body(case, number: int) -> None:
    id, body = case.operation.definition.raw["operationId"], case.body
    if not isinstance(body, dict) or (number % 4 == 0 and "Webhook" not in id):
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
