//! Answers about folders and services, field by field (contract 4.2, 4.3, 4.5).

use serde_json::{Value, json};

use crate::server::{Server, rectangle, sales};

#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let missing: Vec<_> = fields.iter().filter(|field| !object.contains_key(**field)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_folders_have_every_field() {
    const FOLDER: [&str; 14] = [
        "id",
        "name",
        "category",
        "description",
        "coverImagePath",
        "createdAt",
        "isStarred",
        "status",
        "startDate",
        "launchDate",
        "lastModifiedDate",
        "kanbanStatus",
        "createdBy",
        "activeServiceCount",
    ];
    let Some(server) = Server::start().await else { return };
    let created = server.create_folder("geo").await.ok();
    has(&created, &["status", "message", "errorCode", "data"]);
    let id = created["data"]["folderId"].as_str().unwrap();
    server.release("geo", "Rect", &rectangle(), json!({})).await;
    let shown = server.get("/api/v1/product/GetProduct/geo?noOfCalculationEngines=20").await.ok();
    has(&shown, &["status", "message", "errorCode", "data"]);
    has(&shown["data"], &FOLDER);
    has(&shown["data"], &["calculationEngines", "sections"]);
    let engines = &shown["data"]["calculationEngines"];
    has(engines, &["count", "next", "previous", "message", "data", "errorCode", "status"]);
    assert_eq!((&engines["count"], &engines["data"][0]["serviceName"]), (&json!(1), &json!("Rect")));
    assert_eq!(
        (&shown["data"]["createdBy"], &shown["data"]["activeServiceCount"]),
        (&json!("ann"), &json!(1))
    );

    let wanted = json!({"search": [{"field": "id", "value": id}, {"field": "status", "value": "Design"},
        {"field": "isstarred", "value": false}], "page": 1, "pageSize": 5, "sort": "-updated", "shouldFetchActiveServicesCount": true});
    let listed = server.post("/api/v1/product/list", &wanted).await.ok();
    has(&listed, &["status", "count", "next", "previous", "message", "errorCode", "data"]);
    has(&listed["data"][0], &FOLDER);
    assert_eq!((&listed["count"], &listed["data"][0]["totalServiceCount"]), (&json!(1), &json!(1)));

    let nothing = json!({"status": "Success", "data": null, "message": null, "errorCode": null});
    let update = json!({"shouldTrackUserAction": "true", "category": "Sales", "launchDate": "2030-01-01"});
    assert_eq!(server.post(&format!("/api/v1/product/update/{id}"), &update).await.ok(), nothing);
    let shown = server.get("/api/v1/product/GetProduct/geo").await.ok();
    assert_eq!(
        (&shown["data"]["category"], &shown["data"]["launchDate"], &shown["data"]["description"]),
        (&json!("Sales"), &json!("2030-01-01T00:00:00.000Z"), &json!("A folder"))
    );
    let categories = server.get("/api/v1/lookup/getcategories").await.ok();
    for category in categories["data"].as_array().unwrap() {
        has(category, &["key", "value", "icon"]);
    }
    assert_eq!(server.delete(&format!("/api/v1/product/delete/{id}")).await.ok(), nothing);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_services_have_every_field() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("sales").await.ok();
    let uploaded = server.upload("sales", "Example", "Sales.xlsx", &sales()).await.ok();
    has(&uploaded, &["status", "response_data", "response_meta", "error"]);
    has(
        &uploaded["response_data"],
        &[
            "lines_of_code",
            "hours_saved",
            "nodegen_compilation_jobid",
            "original_file_documentid",
            "engine_file_documentid",
            "warnings",
            "current_statistics",
            "no_of_sheets",
            "no_of_inputs",
            "no_of_outputs",
            "no_of_formulas",
            "no_of_cellswithdata",
        ],
    );
    let meta = &uploaded["response_meta"];
    has(
        meta,
        &[
            "service_id",
            "version_id",
            "version",
            "process_time",
            "call_id",
            "compiler_type",
            "compiler_version",
            "source_hash",
            "engine_id",
            "correlation_id",
            "parameterset_version_id",
            "system",
            "request_timestamp",
        ],
    );
    assert_eq!((&meta["compiler_type"], &meta["system"]), (&json!("Neuron"), &json!("SPARK")));
    let document = &uploaded["response_data"]["engine_file_documentid"];
    for (difference, number) in
        [("patch", "0.0.1"), ("minor", "0.1.0"), ("major", "1.0.0"), ("patch", "1.0.1")]
    {
        let more = json!({"version_difference": difference, "should_track_user_action": "false"});
        let released = match number {
            "0.0.1" => server.publish("sales", "Example", document, more).await.ok(),
            _ => server.release("sales", "Example", &sales(), more).await,
        };
        assert_eq!(released["response_meta"]["version"], number);
    }
    let versions = server.get("/api/v1/product/sales/engines/getversions/Example").await.ok();
    has(&versions, &["status", "data", "errorCode", "message"]);
    let numbers: Vec<_> =
        versions["data"].as_array().unwrap().iter().map(|version| &version["revision"]).collect();
    assert_eq!(numbers, ["1.0.1", "1.0.0", "0.1.0", "0.0.1"], "newest first");
    has(
        &versions["data"][0],
        &[
            "id",
            "createdAt",
            "engine",
            "revision",
            "effectiveStartDate",
            "effectiveEndDate",
            "isActive",
            "releaseNote",
            "childEngines",
            "versionLabel",
            "defaultEngineType",
            "tags",
            "product",
            "author",
            "originalFileName",
        ],
    );

    let schema = server.get("/api/v1/product/sales/engines/get/Example").await.ok()["data"].clone();
    has(
        &schema,
        &[
            "bookSummary",
            "bookProperties",
            "xlInputs",
            "xOutput",
            "inputMetadata",
            "outputMetadata",
            "metadata",
            "effectiveStartDate",
            "effectiveEndDate",
            "compilerResult",
        ],
    );
    let place = ["name", "value", "dataType", "sheetName", "address", "rows", "columns", "subServiceName"];
    has(&schema["xlInputs"][0], &place);
    has(&schema["xlInputs"][0], &["validation"]);
    has(&schema["xOutput"][0], &place);
    has(&schema["metadata"]["xInputTable"][0], &["Input Name", "Description", "Address"]);
    has(&schema["metadata"]["xOutputTable"][0], &["Output Name", "Description", "Address"]);

    let about = json!({"request_data": {"page": 1, "page_size": 1, "sort": "name", "search": [{"field": "name", "value": "example"}], "fields": []}});
    let found = server.post("/acme/api/v3/services/search", &about).await.ok();
    has(&found["response_meta"], &["count", "page", "page_size", "page_total"]);
    assert_eq!(
        (&found["response_meta"]["count"], &found["response_data"][0]["name"]),
        (&json!(1), &json!("Example"))
    );
    let other = json!({"request_data": {"search": [{"field": "name", "value": "other"}]}});
    assert_eq!(server.post("/acme/api/v3/services/search", &other).await.ok()["response_data"], json!([]));
    let listed = json!({"page": 1, "pageSize": 10, "search": [], "sort": "-updated"});
    let listed = server.post("/api/v1/product/sales/engines", &listed).await.ok();
    assert_eq!((&listed["count"], &listed["data"][0]["serviceName"]), (&json!(1), &json!("Example")));

    let first = versions["data"][3]["id"].as_str().unwrap();
    let swagger = "/acme/api/v3/folders/sales/services/Example/downloadswagger";
    for (path, version) in
        [("All/true", "1.0.1"), ("All/False/", "1.0.1"), (&format!("%23Default%23/False/{first}"), "0.0.1")]
    {
        let answer = server.get(&format!("{swagger}/{path}")).await;
        assert_eq!(answer.headers.contains_key("content-disposition"), path.ends_with("true"), "{path}");
        let swagger = answer.ok();
        assert_eq!(
            (&swagger["swagger"], &swagger["info"]["version"]),
            (&json!("2.0"), &json!(version)),
            "{path}"
        );
        let text = swagger["paths"].to_string();
        assert!(
            text.contains("/acme/api/v3/folders/sales/services/Example/execute") && text.contains("quantity"),
            "{text}"
        );
    }
    let nobodys = server.get(&format!("{swagger}/nobodys/False")).await.ok()["paths"].to_string();
    assert!(!nobodys.contains("quantity"), "{nobodys}");

    let file =
        server.get("/api/v1/product/sales/engines/Example/download?filename=x.xlsx&type=withmetadata").await;
    assert_eq!(
        file.headers["content-type"],
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    );
    assert!(file.headers["content-disposition"].to_str().unwrap().contains("x.xlsx"));
    let nothing = json!({"status": "Success", "data": null, "message": null, "errorCode": null});
    assert_eq!(server.delete("/api/v1/product/sales/engines/delete/Example").await.ok(), nothing);
    server.stop().await;
}
