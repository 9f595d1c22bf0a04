//! Data validation and JSON Schemas (contract 4.5, 5.5).

use axum::body::Body;
use axum::http::Method;
use rust_xlsxwriter::{DataValidation, DataValidationErrorStyle, DataValidationRule, Formula, Workbook};
use serde_json::{Value, json};

use crate::server::{Server, rectangle};

/// A quote whose inputs are under data validation; `fee` is twice the age.
fn quote() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let age = DataValidation::new()
        .allow_whole_number(DataValidationRule::Between(18, 99))
        .set_error_title("Age")
        .unwrap()
        .set_error_message("Give an age from 18 to 99.")
        .unwrap()
        .set_input_message("In years")
        .unwrap();
    let country = DataValidation::new().allow_list_strings(&["EU", "US"]).unwrap();
    let city = DataValidation::new().allow_list_formula(Formula::new("=IF($B$2=\"EU\",$D$1:$D$2,$E$1:$E$2)"));
    let odd = DataValidation::new()
        .allow_custom(Formula::new("=MOD(B4,2)=1"))
        .set_error_style(DataValidationErrorStyle::Warning);
    sheet
        .write(0, 1, 40)
        .unwrap()
        .write(1, 1, "EU")
        .unwrap()
        .write(2, 1, "Paris")
        .unwrap()
        .write(3, 1, 7)
        .unwrap();
    for (row, rule) in [(0, &age), (1, &country), (2, &city), (3, &odd)] {
        sheet.add_data_validation(row, 1, row, 1, rule).unwrap();
    }
    sheet.write(0, 3, "Paris").unwrap().write(1, 3, "Rome").unwrap();
    sheet.write(0, 4, "Boston").unwrap().write(1, 4, "Denver").unwrap();
    sheet.write_formula(5, 1, Formula::new("=B1*2").set_result("80")).unwrap();
    let message = Formula::new("=IF(AND(B2=\"US\",B1<21),\"21 in the US\",\"\")").set_result("");
    sheet.write_formula(6, 1, message).unwrap();
    for (name, cell) in [
        ("Xinput_age", "$B$1"),
        ("Xinput_country", "$B$2"),
        ("Xinput_city", "$B$3"),
        ("Xinput_odd", "$B$4"),
        ("Xoutput_fee", "$B$6"),
        ("Xvalidate_age", "$B$7"),
    ] {
        book.define_name(name, &format!("=Sheet1!{cell}")).unwrap();
    }
    book.save_to_buffer().unwrap()
}

async fn with_quote() -> Option<(Server, String)> {
    let server = Server::start().await?;
    server.create_folder("f").await.ok();
    let released = server.release("f", "quote", &quote(), json!({})).await;
    let version = released["response_data"]["version_id"].as_str().unwrap().to_owned();
    Some((server, version))
}

#[tokio::test(flavor = "multi_thread")]
async fn v3_tells_what_is_not_allowed_and_still_computes() {
    let Some((server, _)) = with_quote().await else { return };
    let call = async |inputs: Value| {
        let body = json!({"request_data": {"inputs": inputs}, "request_meta": {}});
        server.post("/acme/api/v3/folders/f/services/quote/execute", &body).await.ok()["response_data"].take()
    };
    let sound = call(json!({"age": 30, "country": "US", "city": "Denver", "odd": 3})).await;
    assert_eq!(
        (&sound["errors"], &sound["warnings"], &sound["outputs"]["fee"]),
        (&json!(null), &json!(null), &json!(60.0))
    );

    let broken = call(json!({"age": 17, "country": "US", "city": "Paris", "odd": 4})).await;
    assert_eq!(broken["outputs"]["fee"], 34.0, "the outputs are there all the same");
    assert_eq!(
        broken["errors"][0],
        json!({
            "source_path": "request_data.inputs.age", "error_category": "validation_error", "error_type": "error.VALIDATION",
            "message": "Give an age from 18 to 99.", "additional_details": {"title": "Age"},
        })
    );
    let places: Vec<&str> = broken["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["source_path"].as_str().unwrap())
        .collect();
    assert_eq!(places, ["request_data.inputs.age", "request_data.inputs.city", "request_data.inputs.age"]);
    assert_eq!(broken["errors"][1]["message"], "city must be one of Boston, Denver");
    assert_eq!(broken["errors"][2]["message"], "21 in the US");
    assert_eq!(broken["warnings"][0]["source_path"], "request_data.inputs.odd", "Excel only warns about it");

    // Neither v4 nor a batch holds records to it.
    let answer = server
        .post(
            "/acme/api/v4/execute",
            &json!({"service": "f/quote", "inputs": [{"age": 17, "country": "US", "city": "x", "odd": 4}]}),
        )
        .await
        .ok();
    assert_eq!((&answer["errors"], &answer["outputs"][0]["fee"]), (&json!([null]), &json!(34.0)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_validation_call_tells_what_inputs_allow() {
    let Some((server, version)) = with_quote().await else { return };
    let named = "/acme/api/v3/folders/f/services/quote/validation";
    let call = async |path: &str, inputs: Value, meta: Value| {
        let body = json!({"request_data": {"inputs": inputs}, "request_meta": meta});
        server.post(path, &body).await.ok()
    };
    let answer =
        call(named, json!({}), json!({"correlation_id": "c", "validation_type": "default_values"})).await;
    assert_eq!(
        (&answer["status"], &answer["response_meta"]["correlation_id"]),
        (&json!("Success"), &json!("c"))
    );
    assert_eq!(answer["response_meta"]["version_id"], version.as_str());
    let usual = &answer["response_data"]["outputs"];
    assert_eq!(
        usual["age"],
        json!({
            "validation_allow": "Whole number", "validation_type": "static", "dependent_inputs": null, "min": 18.0, "max": 99.0,
            "options": null, "ignore_blank": true, "input_message_title": null, "input_message": "In years",
            "error_style": "stop", "error_title": "Age", "error_message": "Give an age from 18 to 99.",
            "default_value": 40.0, "operator": "between", "depends_on": null,
        })
    );
    assert_eq!(usual["city"]["options"], json!(["Paris", "Rome"]));
    assert_eq!(
        (&usual["city"]["validation_type"], &usual["city"]["depends_on"]),
        (&json!("dynamic"), &json!(["country"]))
    );
    assert_eq!(usual["country"]["dependent_inputs"], json!(["city"]));

    let changed = call(named, json!({"country": "US"}), json!({"validation_type": "dynamic"})).await;
    let outputs = changed["response_data"]["outputs"].as_object().unwrap();
    assert_eq!(outputs.keys().collect::<Vec<_>>(), ["city"]);
    assert_eq!(outputs["city"]["options"], json!(["Boston", "Denver"]));
    let same = call(named, json!({"country": "EU"}), json!({"validation_type": "dynamic"})).await;
    assert_eq!(same["response_data"]["outputs"], json!({}));

    for (path, meta) in [
        (format!("/acme/api/v3/version/{version}/validation"), json!({})),
        ("/acme/api/v3/validation".to_owned(), json!({"service_uri": "f/quote"})),
    ] {
        assert_eq!(call(&path, json!(null), meta).await["response_data"]["outputs"], *usual, "{path}");
    }
    let body = json!({"request_data": {"inputs": {}}, "request_meta": {"validation_type": "all"}});
    assert_eq!(
        server.post(named, &body).await.refusal(),
        (422, "INVALID_VALUE".into(), Some("request_meta.validation_type".into()))
    );
    let body = json!({"request_data": {"inputs": [1, 2]}});
    assert_eq!(server.post(named, &body).await.refusal().2.as_deref(), Some("request_data.inputs"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_schema_shows_validation_and_json_schemas_are_served() {
    let Some((server, version)) = with_quote().await else { return };
    let schema = server.get("/api/v1/product/f/engines/get/quote").await.ok();
    let city =
        schema["data"]["xlInputs"].as_array().unwrap().iter().find(|field| field["name"] == "city").unwrap();
    assert_eq!(city["validation"]["kind"], "list");
    assert_eq!(city["validation"]["options"], json!(["Paris", "Rome"]));
    assert_eq!(city["validation"]["depends_on"], json!(["country"]));

    let by_name = server.get("/acme/api/v3/folders/f/services/quote/schema").await.ok();
    assert_eq!(by_name["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(
        (&by_name["$id"], &by_name["title"]),
        (&json!(format!("urn:uuid:{version}")), &json!("f/quote[0.1.0]"))
    );
    assert_eq!(by_name["properties"]["age"]["maximum"], 99.0);
    assert_eq!(by_name["properties"]["country"]["enum"], json!(["EU", "US", null]));
    assert_eq!(by_name["properties"]["age"]["description"], "In years");
    let service = server.get("/acme/api/v3/folders/f/services/quote/exists").await.ok();
    let service = service["response_meta"]["service_id"].as_str().unwrap().to_owned();
    for path in [format!("version/{version}"), format!("service/{service}")] {
        assert_eq!(server.get(&format!("/acme/api/v3/{path}/schema")).await.ok(), by_name, "{path}");
    }
    server.release("f", "rect", &rectangle(), json!({})).await;
    let document = server.get("/acme/api/v3/folders/f/services/rect/schema").await.ok();
    assert_eq!(
        document["properties"]["height"],
        json!({"type": ["number", "null"], "default": 3.0, "description": "In metres"})
    );
    assert_eq!(server.get("/acme/api/v3/folders/f/services/none/schema").await.refusal().0, 404);
    assert_eq!(server.get("/acme/api/v3/version/x/schema").await.refusal().0, 404);

    // Editors have no credentials.
    let request = axum::http::Request::builder().method(Method::GET).uri("/schemas/formula-document.json");
    let format = server.send(request.body(Body::empty()).unwrap()).await.ok();
    assert_eq!(format, millrace_calc::document::schema());
    server.stop().await;
}
