"""Validation, schemas and batch totals: the SDK's calls where it has them, plain HTTP where it has none."""

import io
import json
import pathlib
import time
import urllib.request
import uuid
import zipfile

import cspark.sdk as spark
import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

SHEET = f"""<worksheet xmlns="{MAIN}"><sheetData>
<row r="1"><c r="A1"><v>40</v></c><c r="B1"><f>A1*2</f><v>80</v></c></row>
<row r="2"><c r="A2" t="inlineStr"><is><t>EU</t></is></c><c r="B2" t="inlineStr"><is><t>ann</t></is></c></row>
<row r="3"><c r="A3" t="inlineStr"><is><t>Paris</t></is></c></row>
<row r="4"><c r="D4" t="inlineStr"><is><t>Paris</t></is></c><c r="E4" t="inlineStr"><is><t>Boston</t></is></c></row>
<row r="5"><c r="D5" t="inlineStr"><is><t>Rome</t></is></c><c r="E5" t="inlineStr"><is><t>Denver</t></is></c></row>
</sheetData><dataValidations count="3">
<dataValidation type="whole" allowBlank="1" showErrorMessage="1" error="From 18 to 99." sqref="A1"><formula1>18</formula1><formula2>99</formula2></dataValidation>
<dataValidation type="list" allowBlank="1" showErrorMessage="1" sqref="A2"><formula1>"EU,US"</formula1></dataValidation>
<dataValidation type="list" allowBlank="1" showErrorMessage="1" sqref="A3"><formula1>INDIRECT($A$2)</formula1></dataValidation>
</dataValidations></worksheet>"""

NAMES = {
    "Xinput_age": "S!$A$1", "Xinput_country": "S!$A$2", "Xinput_city": "S!$A$3", "Xoutput_fee": "S!$B$1",
    "Xoutput_Metadata.Owner": "S!$B$2", "EU": "S!$D$4:$D$5", "US": "S!$E$4:$E$5",
}


def workbook() -> bytes:
    names = "".join(f'<definedName name="{name}">{cells}</definedName>' for name, cells in NAMES.items())
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override PartName="/xl/workbook.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships><Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets>'
        f"<definedNames>{names}</definedNames></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships><Relationship Id="r1" Type="{OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": SHEET,
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.fixture(scope="module")
def client(fleet):
    base = spark.BaseUrl(url=fleet.url, tenant=fleet.tenant)
    with spark.Client(base_url=base, logger=False, timeout=30_000, api_key=fleet.key) as made:
        yield made


@pytest.fixture(scope="module")
def folder(client):
    name = f"rules-{uuid.uuid4().hex[:8]}"
    client.folders.create(name)
    return name


@pytest.fixture(scope="module")
def quote(client, folder):
    client.services.create("quote", folder=folder, file=io.BytesIO(workbook()), file_name="quote.xlsx", versioning="minor")
    return f"{folder}/quote"


@pytest.fixture(scope="module")
def premium(client, folder):
    content = (ROOT / "deploy" / "examples" / "premium.json").read_bytes()
    client.services.create("premium", folder=folder, file=io.BytesIO(content), file_name="premium.json", versioning="minor")
    return f"{folder}/premium"


def get(fleet, path, key=True):
    headers = {"x-synthetic-key": fleet.key, "x-tenant-name": fleet.tenant} if key else {}
    with urllib.request.urlopen(urllib.request.Request(fleet.url + path, headers=headers), timeout=30) as answer:
        return json.load(answer)


def test_validate(client, quote):
    answer = client.services.validate(quote, inputs={}).data
    outputs = answer["response_data"]["outputs"]
    assert list(sorted(outputs)) == ["age", "city", "country"]
    assert (outputs["age"]["validation_allow"], outputs["age"]["min"], outputs["age"]["max"]) == ("Whole number", 18, 99)
    assert outputs["country"]["validation_type"] == "static" and outputs["country"]["dependent_inputs"] == ["city"]
    assert outputs["city"]["validation_type"] == "dynamic" and outputs["city"]["options"] == ["Paris", "Rome"]
    dynamic = client.services.validate(quote, inputs={"country": "US"}, validation_type="dynamic").data
    assert dynamic["response_data"]["outputs"]["city"]["options"] == ["Boston", "Denver"]
    assert list(dynamic["response_data"]["outputs"]) == ["city"]


def test_execute_tells_what_is_not_allowed(client, quote):
    sound = client.services.execute(quote, inputs={"age": 50}, response_format="original").data["response_data"]
    assert sound["errors"] is None and sound["outputs"]["fee"] == 100
    broken = client.services.execute(quote, inputs={"age": 17, "city": "Boston"}, response_format="original").data
    assert broken["status"] == "Success" and broken["response_data"]["outputs"]["fee"] == 34
    errors = broken["response_data"]["errors"]
    assert [error["message"] for error in errors] == ["From 18 to 99.", "city must be one of Paris, Rome"]
    assert {error["error_type"] for error in errors} == {"error.VALIDATION"}


def test_schema_and_metadata(client, quote):
    folder, name = quote.split("/")
    schema = client.services.get_schema(folder=folder, service=name).data["data"]
    validation = {field["name"]: field["validation"] for field in schema["xlInputs"]}
    assert validation["age"]["kind"] == "whole" and validation["age"]["minimum"] == 18
    assert validation["city"]["options"] == ["Paris", "Rome"] and validation["city"]["depends_on"] == ["country"]
    metadata = client.services.get_metadata(quote).data
    assert metadata["response_data"]["outputs"] == {"Metadata.Owner": "ann"}


def test_json_schemas_judge_records_as_the_server_does(fleet, client, quote, premium):
    for service, records in {
        quote: [
            ({}, True), ({"age": 18, "country": "US"}, True), ({"age": None}, True), ({"age": 17}, False),
            ({"age": 20.5}, False), ({"country": "FR"}, False), ({"anything": "else"}, True),
        ],
        premium: [
            ({}, True), ({"age": 75, "smoker": True, "tariff": "plus"}, True), ({"age": 76}, False), ({"term": 1.5}, False),
            ({"tariff": "gold"}, False), ({"sum_insured": -1}, False), ({"smoker": None, "tariff": None}, True),
        ],
    }.items():
        folder, name = service.split("/")
        schema = get(fleet, f"/{fleet.tenant}/api/v3/folders/{folder}/services/{name}/schema")
        validator = jsonschema.Draft202012Validator(schema)
        validator.check_schema(schema)
        for record, is_sound in records:
            assert validator.is_valid(record) == is_sound, (service, record)
            answer = client.services.execute(service, inputs=record, response_format="original").data
            assert (answer["response_data"]["errors"] is None) == is_sound, (service, record, answer["response_data"]["errors"])


def test_the_schema_of_formula_documents(fleet):
    schema = get(fleet, "/schemas/formula-document.json", key=False)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    text = (ROOT / "common" / "calc" / "FORMULAS.md").read_text(encoding="utf-8")
    for document in (
        (ROOT / "deploy" / "examples" / "premium.json").read_text(encoding="utf-8"),
        text.split("```json")[1].split("```")[0],
    ):
        document = json.loads(document)
        validator.validate(document)
        for change in (
            lambda d: d.update(extra=1),
            lambda d: d.pop("outputs"),
            lambda d: d["inputs"][0].update(dafault=1),
            lambda d: d["inputs"][0].update(type="float"),
            lambda d: d["inputs"][0].update(default="x"),
            lambda d: d["inputs"][0].update(name="A1"),
            lambda d: d["inputs"][0].update(maximum_length=3),
            lambda d: d["tables"][0]["rows"].append([[]]),
            lambda d: d["outputs"][0].update(formula=" "),
        ):
            broken = json.loads(json.dumps(document))
            change(broken)
            assert not validator.is_valid(broken)


def test_totals_over_a_batch(client, quote):
    batch = client.batches.create(quote, extras={"summary_total": [{"output_name": "fee", "quantiles": [0.5]}]})
    pipeline = client.batches.of(batch.data["id"])
    for first in (0, 10, 20):
        pipeline.push(inputs=[["age"]] + [[age] for age in range(first, first + 10)])
    pipeline.dispose()
    deadline = time.monotonic() + 30
    while pipeline.get_status().data["batch_status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    totals = pipeline.get_info().data["data"]["summary_total"]
    assert (totals["chunks"], totals["records"]) == (3, 30)
    (fee,) = totals["outputs"]
    assert (fee["count"], fee["sum"], fee["min"], fee["max"], fee["mean"]) == (30, 870, 0, 58, 29)
    assert fee["quantiles"]["0.5"] == pytest.approx(28, rel=1 / 256)
