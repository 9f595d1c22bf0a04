"""The unmodified cspark SDK against a fleet: the sync client, call by call."""

import io
import json
import os
import pathlib
import subprocess
import time
import uuid

import cspark.sdk as spark
from cspark.sdk import _errors as errors
import pytest

PRICES = [["id", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, 1.005, 1, 0], [3, 99.99, 3, 0.075]]
TOTALS = [["id", "total"], [1, 1430.0], [2, 1.01], [3, 322.47]]


def client_of(fleet, **options):
    base = spark.BaseUrl(url=fleet.url, tenant=fleet.tenant)
    credentials = options or {"api_key": fleet.key}
    return spark.Client(base_url=base, logger=False, timeout=30_000, **credentials)


@pytest.fixture(scope="module")
def client(fleet):
    with client_of(fleet) as made:
        yield made


@pytest.fixture(scope="module")
def service(client, sales_workbook):
    """A folder of its own with the sales workbook in it."""
    folder = f"sdk-{uuid.uuid4().hex[:8]}"
    created = client.folders.create(folder, description="made by a test")
    assert created.data["data"]["name"] == folder
    made = client.services.create(
        "SalesExample", folder=folder, file=io.BytesIO(sales_workbook), file_name="sales.xlsx", versioning="minor"
    )
    assert made["upload"]["response_data"]["no_of_inputs"] == 3
    assert made["compilation"]["response_data"] == {"status": "Success", "last_error_message": "null", "progress": 100}
    assert uuid.UUID(made["publication"]["response_data"]["version_id"])
    return f"{folder}/SalesExample"


@pytest.fixture
def pipeline(client, service):
    batch = client.batches.create(service, unique_record_key="id")
    assert batch.data["object"] == "batch"
    pipeline = client.batches.of(batch.data["id"])
    yield pipeline
    if not pipeline.is_disposed:
        pipeline.cancel()


def drain(pipeline, chunks, seconds=30):
    """Pulls until so many chunks have come."""
    pulled, deadline = [], time.monotonic() + seconds
    while len(pulled) < chunks:
        assert time.monotonic() < deadline, f"{len(pulled)} of {chunks} chunks in {seconds} s: {pipeline.get_status().data}"
        answer = pipeline.pull().data
        pulled += answer["data"]
        if not answer["data"]:
            time.sleep(0.02)
    return pulled


def test_health(fleet):
    assert spark.Client.health_check(fleet.url).data["status"] == "UP"


def test_an_existing_folder_is_a_conflict(client, service):
    with pytest.raises(errors.ConflictError):
        client.folders.create(service.split("/")[0])


def test_folders_are_found_and_deleted(client):
    name = f"gone-{uuid.uuid4().hex[:8]}"
    folder = client.folders.create(name).data["data"]
    assert client.folders.exists(name)
    found = client.folders.find(name).data
    assert [entry["id"] for entry in found["data"]] == [folder["id"]]
    assert client.folders.delete(folder["id"]).data["status"] == "Success"
    assert not client.folders.exists(name)


def test_execute_one_record(client, service):
    answer = client.services.execute(service, inputs={"price": 1.005, "quantity": 1, "tax": 0}).data
    assert answer["outputs"] == [{"total": 1.01}]
    assert answer["version"] == "0.1.0"
    original = client.services.execute(service, inputs={}, response_format="original").data
    assert original["status"] == "Success"
    assert original["response_data"]["outputs"] == {"total": 1430.0}, "the workbook's defaults"


def test_execute_many_records(client, service):
    rows = [dict(zip(PRICES[0], row)) for row in PRICES[1:]]
    answer = client.services.execute(service, inputs=rows).data
    assert answer["outputs"] == [{"total": row[1]} for row in TOTALS[1:]]
    assert len(answer["process_time"]) == 3


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_execute_compressed(client, service, encoding):
    answer = client.services.execute(service, inputs=[{"price": 2, "quantity": 3, "tax": 0}], encoding=encoding)
    assert answer.data["outputs"] == [{"total": 6.0}]


def test_versions_schema_and_download(client, service, sales_workbook):
    folder, name = service.split("/")
    versions = client.services.get_versions(folder=folder, service=name).data
    assert [version["revision"] for version in versions] == ["0.1.0"]
    assert client.services.exists(service)
    assert not client.services.exists(f"{folder}/Nothing")
    schema = json.dumps(client.services.get_schema(folder=folder, service=name).data)
    for field in ("price", "quantity", "tax", "total"):
        assert field in schema
    assert client.services.download(service).buffer == sales_workbook


def test_every_locator_form(client, service):
    versions = client.services.get_versions(service).data
    for uri in (service, f"{service}[0.1.0]", f"{service}[0.1]", f"{service}[0]", f"folders/{service.replace('/', '/services/')}",
                f"version/{versions[0]['id']}", service.upper()):
        batch = client.batches.create(uri)
        assert batch.data["data"]["version_id"] == versions[0]["id"], uri
        client.batches.of(batch.data["id"]).cancel()


def test_push_every_form(pipeline):
    pushes = [
        pipeline.push(inputs=PRICES),
        pipeline.push(data=spark.ChunkData(inputs=PRICES, parameters={"tax": 1})),
        pipeline.push(chunks=[spark.BatchChunk("0001", spark.ChunkData(PRICES, {}))]),
        pipeline.push(raw=json.dumps({"chunks": [{"id": "0002", "size": 3, "data": {"inputs": PRICES, "parameters": {}}}]})),
        pipeline.push(chunks=spark.create_chunks([list(row) for row in PRICES], chunk_size=2)),
    ]
    # create_chunks counts the header for nothing here, so its three records go into two chunks.
    assert [answer.data["record_submitted"] for answer in pushes] == [3, 6, 9, 12, 15]
    pulled = drain(pipeline, 6)
    assert {"0001", "0002"} <= {chunk["id"] for chunk in pulled}
    assert sum(len(chunk["outputs"]) - 1 for chunk in pulled) == 15
    whole = [chunk["outputs"] for chunk in pulled if len(chunk["outputs"]) == 4]
    assert whole == [TOTALS] * 4, "a record's own tax wins over the parameter"
    assert pipeline.get_status().data["records_available"] == 0


def test_objects_come_back_as_objects(pipeline):
    pipeline.push(inputs=[{"id": "a", "price": "20", "quantity": 65}, {"id": "b", "price": 1, "quantity": 1, "tax": None}])
    (chunk,) = drain(pipeline, 1)
    assert chunk["outputs"] == [{"id": "a", "total": 1430.0}, {"id": "b", "total": 1.0}]
    assert chunk["errors"] == [None, None]


def test_summaries(pipeline):
    summary = {"aggregation": [{"output_name": "total", "operator": "SUM"}], "ignore_error": False}
    pipeline.push(data=spark.ChunkData(PRICES, {}, summary))
    (chunk,) = drain(pipeline, 1)
    assert chunk["summary_output"][0][0] == ["total_SUM"]
    assert chunk["summary_output"][0][1][0] == pytest.approx(1753.48)
    assert chunk["outputs"] == [["id"], [1], [2], [3]]


def test_close_completes_and_results_stay(client, pipeline):
    pipeline.push(inputs=PRICES)
    closed = pipeline.dispose().data
    assert closed["data"]["batch_status"] in ("closed", "completed")
    deadline = time.monotonic() + 30
    while (status := pipeline.get_status().data)["batch_status"] != "completed":
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    assert status["records_completed"] == status["record_submitted"] == 3
    assert [chunk["outputs"] for chunk in pipeline.pull().data["data"]] == [TOTALS]
    info = pipeline.get_info().data["data"]
    assert info["summary"]["chunks_completed"] == 1 and info["summary"]["records_failed"] == 0
    assert info["configuration"]["input_buffer_allocated_bytes"] == 70_000_000


def test_cancel_is_final(client, service):
    batch = client.batches.create(service)
    pipeline = client.batches.of(batch.data["id"])
    pipeline.push(inputs=PRICES)
    assert pipeline.cancel().data["data"]["batch_status"] == "cancelled"
    # The SDK guards its own object; another one asks the server.
    again = client.batches.of(batch.data["id"])
    with pytest.raises(errors.ConflictError):
        again.pull()
    with pytest.raises(errors.ConflictError):
        again.push(inputs=PRICES)
    assert again.get_status().data["batch_status"] == "cancelled"


def test_describe(client, pipeline):
    overview = client.batches.describe().data
    assert pipeline.batch_id in {batch["id"] for batch in overview["in_progress_batches"]}
    tenant = overview["tenant"]
    assert tenant["status"]["input_buffer_used_bytes"] + tenant["status"]["input_buffer_remaining_bytes"] == (
        tenant["configuration"]["input_buffer_allocated_bytes"]
    )


def test_an_empty_pull_has_a_status(pipeline):
    answer = pipeline.pull(0).data
    assert answer["data"] == [] and answer["status"]["records_available"] == 0
    assert pipeline.pull(500).status == 200


def test_pushing_the_same_chunk_again_counts_once(fleet, client, pipeline):
    chunk = {"id": str(uuid.uuid4()), "data": {"inputs": PRICES}}
    for _ in range(3):
        # Straight to the server: the SDK itself would give a repeated chunk a new id.
        url = f"{pipeline.config.base_url.full}/api/v4/batch/{pipeline.batch_id}/chunks"
        answer = client.http_client.post(url, json={"chunks": [chunk]}, headers={"x-synthetic-key": fleet.key})
        assert answer.status_code == 200 and answer.json()["chunks_submitted"] == 1
    assert len(drain(pipeline, 1)) == 1


def test_errors_are_typed(client, service, fleet):
    with pytest.raises(errors.NotFoundError):
        client.batches.create("no-such-folder/no-such-service")
    with pytest.raises(errors.NotFoundError):
        client.batches.of(str(uuid.uuid4())).get_status()
    with pytest.raises(errors.UnprocessableEntityError):
        client.batches.create(service, extras={"acceptable_error_percentage": 101})
    with client_of(fleet, api_key="not-a-key") as stranger, pytest.raises(errors.UnauthorizedError):
        stranger.batches.describe()


def test_oauth_fetches_a_token_when_it_is_refused(fleet, service):
    key_id, secret = oauth_credentials(fleet)
    with client_of(fleet, oauth={"client_id": key_id, "client_secret": secret}) as client:
        assert client.services.execute(service, inputs={"price": 1, "quantity": 1, "tax": 0}).data["outputs"] == [{"total": 1.0}]


def test_bad_oauth_credentials_end_at_once(fleet):
    with client_of(fleet, oauth={"client_id": str(uuid.uuid4()), "client_secret": "wrong"}) as client:
        with pytest.raises(spark.SparkError):
            client.batches.describe()


def test_a_token_of_an_issuer_is_a_credential(fleet, service, issuer):
    with client_of(fleet, token=issuer.token()) as client:
        assert client.services.execute(service, inputs={"price": 1, "quantity": 1, "tax": 0}).data["outputs"] == [{"total": 1.0}]
        batch = client.batches.create(service)
        assert batch.data["data"]["created_by"] == "ann"
        client.batches.of(batch.data["id"]).cancel()
        with pytest.raises(errors.ForbiddenError):
            client.folders.create(f"sdk-{uuid.uuid4().hex[:8]}")
    for token in (issuer.token(exp=time.time() - 3600), issuer.token(aud="account"), issuer.token() + "x"):
        with client_of(fleet, token=token) as client:
            with pytest.raises(errors.UnauthorizedError):
                client.batches.describe()


def oauth_credentials(fleet):
    """A key is an OAuth client: its id, and the key itself as the secret."""
    binaries = pathlib.Path(os.environ.get("MRT_BIN_DIR", pathlib.Path(__file__).resolve().parents[2] / "target" / "debug"))
    listed = subprocess.run(
        [binaries / "millrace", "--output-format", "json", "key", "list", "--tenant", fleet.tenant],
        env={**os.environ, "MILLRACE_DATABASE__URL": fleet.database_url},
        capture_output=True,
        text=True,
        check=True,
    )
    keys = json.loads(listed.stdout)
    (key,) = [key for key in keys if fleet.key.startswith(key["hint"].rstrip("…."))] if len(keys) > 1 else keys
    return key["id"], fleet.key
