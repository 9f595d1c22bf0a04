"""The OpenAPI document, tried out: the requests that it shows succeed, and to requests of every kind that it allows or forbids the
server answers what the document says, and never 500."""

import os
import pathlib
import subprocess
import sys
import urllib.parse

import schemathesis

HERE = pathlib.Path(__file__).resolve().parent
# Requests for each operation made by chance; the boundary values come on top.
EXAMPLES = int(os.environ.get("MRT_OPENAPI_EXAMPLES", "6"))
SEED = os.environ.get("MRT_OPENAPI_SEED", "20261129")


def run(world, folder: pathlib.Path, *options: str) -> subprocess.CompletedProcess:
    names = folder / "world.json"
    names.write_text(world.to_json())
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        *("--config-file", HERE / "schemathesis.toml"),
        *("run", f"{world.url}/openapi.json", "--header", f"x-synthetic-key:{world.key}", "--seed", SEED, "--no-color"),
        *options,
    ]
    settings = {
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "MRT_OPENAPI_WORLD": str(names),
        # What hooks import lies beside them.
        "PYTHONPATH": str(HERE),
    }
    return subprocess.run(command, cwd=folder, env={**os.environ, **settings})


def test_whatever_is_asked_is_answered_as_the_document_says(world, tmp_path):
    print(f"\nseed {SEED}, {EXAMPLES} requests by chance for each operation")
    done = run(world, tmp_path, "--max-examples", str(EXAMPLES), "--no-shrink", "--exclude-tag", "Events")
    assert done.returncode == 0, "see above"


def test_every_request_that_the_document_shows_succeeds(world):
    schema = schemathesis.openapi.from_url(f"{world.url}/openapi.json")
    names = {
        "tenant": world.tenant,
        "folder": "sales",
        "service": "SalesExample",
        "chunk_id": "w1",
    }
    shown = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        content = operation.definition.raw.get("requestBody", {}).get("content", {})
        for media_type, described in content.items():
            if "example" not in described:
                continue
            path = dict(names)
            name = operation.definition.raw["operationId"]
            if operation.path.startswith("/v6/"):
                path |= {"name": "chain" if "/recipe-types/" in operation.path else "add", "version": "1.0.0"}
                kinds = {"batches": "recipe_batch", "datasets": "dataset", "recipes": "recipe", "jobs": "job"}
                path["id"] = str(world.v6.get(kinds.get(operation.path.split("/")[2]), ""))
            elif "/batch/" in operation.path:
                # To close what is closed already is fine, and leaves the other open.
                path["id"] = world.finished if name in ("changeBatch", "redriveBatch") else world.open
            elif "/webhooks/" in operation.path:
                path["id"] = world.webhook
            elif "/version/" in operation.path:
                path["id"] = world.version
            elif "/service/" in operation.path:
                path["id"] = world.service
            else:
                path["id"] = "sales"
            path = {name: urllib.parse.quote(path[name]) for name in path if f"{{{name}}}" in operation.path}
            if name == "uploadService":
                path["service"] = "Doubled"
            case = operation.Case(path_parameters=path, body=described["example"], media_type=media_type)
            response = case.call(headers={"x-synthetic-key": world.key})
            at = f"{operation.label} {described['example']}"
            assert 200 <= response.status_code < 300, f"{at}: {response.status_code} {response.text}"
            shown += 1
            if response.status_code in (202, 204):
                assert not response.content, at
                continue
            assert response.headers["content-type"][0].startswith("application/json"), at
            body = response.json()
            if isinstance(body, dict):
                assert body.get("errorCode") is None and body.get("error") is None, f"{at}: {body}"
            case.validate_response(response)
    assert shown >= 35, shown
