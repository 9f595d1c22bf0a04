"""What exists on the fleet that is tried out, so that requests reach beyond 404: made over HTTP, as a caller would."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass

import recipes
from fleet import Fleet

FOLDER, SERVICE = "sales", "SalesExample"
KEY = "sales_id"


def chunk(number: int, *, keyed: bool = True) -> dict:
    """Two records, the second with an Excel error in its result."""
    rows = [[KEY if keyed else "other", "price", "quantity", "tax"], [1, number, 2, 0.1], [2, number, "x", 0.1]]
    return {"id": f"w{number}", "data": {"inputs": rows}}


# The last two fail in a batch that wants the key.
CHUNKS = {"chunks": [chunk(number, keyed=number <= 18) for number in range(1, 21)]}


@dataclass(frozen=True)
class World:
    """Names and ids."""

    url: str
    tenant: str
    key: str
    service: str
    version: str
    upload: str
    document: str
    folder: str
    webhook: str
    spare_key: str
    spare_secret: str
    open: str
    finished: str
    cancelled: str
    cursor: str
    # Ids of the Scale v6 part, by kind.
    v6: dict[str, int]

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Caller:
    """Calls the fleet, and expects success."""

    def __init__(self, url: str, tenant: str, key: str):
        self.url, self.tenant, self.key = url, tenant, key

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> dict:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"x-synthetic-key": self.key, "content-type": content_type}
        path = path.replace("{tenant}", self.tenant)
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def batch(self, *, state: str | None = None) -> str:
        """A batch in this state, in which some chunks failed."""
        terms = {"service": f"{FOLDER}/{SERVICE}", "unique_record_key": KEY, "acceptable_error_percentage": 100}
        id = self.call("POST", "/{tenant}/api/v4/batch", terms)["id"]
        path = f"/{{tenant}}/api/v4/batch/{id}"
        self.call("POST", f"{path}/chunks", CHUNKS)
        if state:
            self.call("PATCH", path, {"batch_status": state})
        wanted = "completed" if state == "closed" else state
        deadline = time.monotonic() + 120
        while True:
            status = self.call("GET", f"{path}/status")
            finished = status["chunks_completed"] == len(CHUNKS["chunks"]) if wanted is None else status["batch_status"] == wanted
            if finished:
                return id
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def upload(self, name: str, document: bytes) -> dict:
        """Uploads a formula document."""
        boundary = "b0undary"
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="serviceFile"; filename="{name}.json"\r\n\r\n'.encode()
            + document
            + f"\r\n--{boundary}--\r\n".encode()
        )
        path = f"/{{tenant}}/api/v3/folders/{FOLDER}/services/{name}/upload"
        return self.call("POST", path, body, f"multipart/form-data; boundary={boundary}")


def make(fleet: Fleet, formulas: bytes) -> World:
    """Makes one of everything."""
    caller = Caller(fleet.url, fleet.tenant, fleet.key)
    versions = caller.call("GET", f"/api/v1/product/{FOLDER}/engines/getversions/{SERVICE}")["data"]
    folder = caller.call("GET", f"/api/v1/product/GetProduct/{FOLDER}")["data"]
    uploaded = caller.upload("Premium", formulas)["response_data"]
    spare = caller.call("POST", "/{tenant}/api/v4/keys", {"owner": "spare", "scopes": ["batch"]})
    hook = caller.call("POST", "/{tenant}/api/v4/webhooks", {"url": "https://receiver.example/", "active": False})
    finished = caller.batch(state="closed")
    page = caller.call("GET", f"/{{tenant}}/api/v4/batch/{finished}/results?max=5")
    return World(
        url=fleet.url,
        tenant=fleet.tenant,
        key=fleet.key,
        service=folder["calculationEngines"]["data"][0]["id"],
        version=versions[0]["id"],
        upload=uploaded["nodegen_compilation_jobid"],
        document=uploaded["engine_file_documentid"],
        folder=folder["id"],
        webhook=hook["id"],
        spare_key=spare["id"],
        spare_secret=spare["key"],
        open=caller.batch(),
        finished=finished,
        cancelled=caller.batch(state="cancelled"),
        cursor=page["next_cursor"],
        v6=recipes.make(caller),
    )
