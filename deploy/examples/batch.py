"""A batch with the official Spark SDK: python3 batch.py URL TENANT KEY_FILE  (needs `pip install cspark`)."""

import sys
import time

import cspark.sdk as Spark

url, tenant, key_file = sys.argv[1:4]
with open(key_file) as file:
    key = file.read().strip()

records = [[i, 20 + i, 65, 0.1] for i in range(1_000)]
chunks = Spark.create_chunks(records, headers=["id", "price", "quantity", "tax"], chunk_size=200)

spark = Spark.Client(base_url=Spark.BaseUrl(url=url, tenant=tenant), api_key=key)
batches = spark.batches
batch = batches.create("sales/SalesExample", unique_record_key="id")
pipeline = batches.of(batch.data["id"])
pipeline.push(chunks=chunks)

results = []
while len(results) < len(records):
    for chunk in pipeline.pull().data["data"]:
        header, *rows = chunk["outputs"]
        results += rows
    time.sleep(0.01)
pipeline.dispose()

print(header, *sorted(results)[:5], "…", sep="\n")
print(f"{len(results)} records, total {sum(row[1] for row in results):,.2f}")
