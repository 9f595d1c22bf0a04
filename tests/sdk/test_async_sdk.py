"""The unmodified cspark SDK against a fleet: the async client, and the public async-batch pattern."""

import asyncio
import csv
import io
import random
import threading
import time
import uuid

import cspark.sdk as spark
from cspark.sdk import _errors as errors
import pytest
from test_sdk import PRICES, TOTALS, client_of


@pytest.fixture(scope="module")
def service(fleet, sales_workbook):
    folder = f"async-{uuid.uuid4().hex[:8]}"
    with client_of(fleet) as client:
        client.folders.create(folder)
        client.services.create("SalesExample", folder=folder, file=io.BytesIO(sales_workbook), file_name="sales.xlsx")
    return f"{folder}/SalesExample"


def test_the_async_client(fleet, service):
    async def run():
        base = spark.BaseUrl(url=fleet.url, tenant=fleet.tenant)
        async with spark.AsyncClient(base_url=base, api_key=fleet.key, logger=False) as client:
            executed = await client.services.execute(service, inputs=[{"price": 2, "quantity": 3, "tax": 0}])
            assert executed.data["outputs"] == [{"total": 6.0}]
            batch = await client.batches.create(service, unique_record_key="id", accuracy=0.9)
            pipeline = client.batches.of(batch.data["id"])
            await asyncio.gather(*(pipeline.push(inputs=PRICES) for _ in range(10)))
            pulled = []
            for _ in range(1_000):
                pulled += (await pipeline.pull()).data["data"]
                if len(pulled) == 10:
                    break
                await asyncio.sleep(0.02)
            assert [chunk["outputs"] for chunk in pulled] == [TOTALS] * 10
            info = (await pipeline.get_info()).data["data"]
            assert info["configuration"]["acceptable_error_percentage"] == 10
            assert pipeline.batch_id in str((await client.batches.describe()).data)
            await pipeline.dispose()
            assert (await pipeline.get_status()).data["batch_status"] == "completed"

    asyncio.run(run())


def sales_csv(records):
    """Rows as text, the way a CSV reader gives them; and the totals in cents, computed apart."""
    random.seed(42)
    rows = [["id", "price", "quantity", "tax"]]
    for i in range(records):
        rows.append([str(i), f"{random.randint(100, 99_999) / 100}", str(random.randint(1, 500)), random.choice(["0", "0.07", "0.2"])])
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def expected_cents(row):
    """price * quantity * (1 + tax), rounded half away from zero, in whole numbers only."""
    cents = round(float(row["price"]) * 100)
    percent = round(float(row["tax"]) * 100)
    return (cents * int(row["quantity"]) * (100 + percent) + 50) // 100


def test_the_async_batch_pattern(fleet, service):
    """Push and pull in threads while polling the status, every value a string, as the SDK's async_batch example does."""
    records, chunk_size = 20_000, 150
    source = sales_csv(records)
    rows = list(csv.reader(io.StringIO(source)))
    with client_of(fleet) as client:
        batch = client.batches.create(service, unique_record_key="id", max_runners=4)
        pipeline = client.batches.of(batch.data["id"])
        chunks = make_chunks(rows, chunk_size)
        downloaded, outputs, failures = [], {}, []

        def push():
            try:
                for chunk in chunks:
                    while True:
                        try:
                            pipeline.push(chunks=[chunk], if_chunk_id_duplicated="ignore")
                            break
                        except errors.RateLimitError:
                            time.sleep(0.2)
            except Exception as error:  # noqa: BLE001 - shown by the test's own thread
                failures.append(error)

        def pull():
            deadline = time.monotonic() + 120
            try:
                while len(downloaded) < len(chunks) and time.monotonic() < deadline and not failures:
                    status = pipeline.get_status().data
                    if status["chunks_available"] == 0:
                        time.sleep(0.02)
                        continue
                    answer = pipeline.pull(status["chunks_available"]).data
                    assert isinstance(answer["data"], list)
                    for chunk in answer["data"]:
                        downloaded.append(chunk["id"])
                        headers, *values = chunk["outputs"]
                        for row in values:
                            record = dict(zip(headers, row))
                            outputs[record["id"]] = record["total"]
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=push), threading.Thread(target=pull)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            status = pipeline.get_status().data
            used, free = status["input_buffer_used_bytes"], status["input_buffer_remaining_bytes"]
            assert 0 <= used / (used + free) <= 1
            assert status["records_completed"] <= status["record_submitted"]
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        assert not failures, failures
        pipeline.dispose()
        final = pipeline.get_status().data
    assert len(downloaded) == len(set(downloaded)) == len(chunks)
    assert final["record_submitted"] == final["records_completed"] == records
    expected = {row["id"]: expected_cents(row) for row in csv.DictReader(io.StringIO(source))}
    assert {key: round(total * 100) for key, total in outputs.items()} == expected
    print(f"{records} records in {time.monotonic() - began:.2f} s")


def make_chunks(rows, chunk_size):
    """The example's own chunker: a header in front of every slice, a constant `size` even for the short last chunk."""
    header, records = rows[0], rows[1:]
    return [
        spark.BatchChunk(str(uuid.uuid4()), spark.ChunkData([header, *records[at : at + chunk_size]], {}), size=chunk_size)
        for at in range(0, len(records), chunk_size)
    ]
