//! Job types (scale-v6 5.1 and 12).

use serde_json::{Value, json};

use super::{doubling, manifest, refusal};
use crate::server::{Server, rectangle};

fn names(answer: &Value) -> Vec<&str> {
    answer.as_array().unwrap().iter().map(|finding| finding["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_type_lives_from_its_first_revision_to_its_deprecation() {
    let Some(server) = Server::start().await else { return };
    let (inputs, outputs) =
        (json!([{"name": "x", "type": "number"}]), json!([{"name": "y", "type": "number"}]));
    let document = manifest("double", inputs, outputs);
    let body =
        json!({"manifest": document, "model": {"formulas": {"y": "=2*x"}}, "configuration": {"priority": 7}});
    let made = server.post("/v6/job-types/", &body).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
    assert_eq!(made.headers["location"], "http://127.0.0.1:8123/v6/job-types/double/1.0.0/");
    let made = made.json();
    for (key, value) in [
        ("name", json!("double")),
        ("version", json!("1.0.0")),
        ("title", json!("The double")),
        ("revision_num", json!(1)),
        ("max_tries", json!(3)),
        ("is_active", json!(true)),
        ("is_paused", json!(false)),
        ("manifest", document.clone()),
        ("configuration", json!({"priority": 7})),
        ("deprecated", Value::Null),
        ("unmet_resources", Value::Null),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    let path = "/v6/job-types/double/1.0.0/";
    assert_eq!(server.get(path).await.ok(), made);

    // The same name and version again is an edit.
    let edited = server.post("/v6/job-types/", &body).await.ok();
    assert_eq!(edited, json!({"is_valid": true, "errors": [], "warnings": []}));
    assert_eq!(server.get(path).await.ok()["revision_num"], 2);
    // Formulas alone make a revision, too; settings do not.
    server.patch(path, &json!({"model": {"formulas": {"y": "x + x"}}})).await.ok();
    server.patch(path, &json!({"is_paused": true, "max_tries": 5})).await.ok();
    let shown = server.get(path).await.ok();
    assert_eq!((&shown["revision_num"], &shown["max_tries"]), (&json!(3), &json!(5)));
    assert!(shown["paused"].is_string());
    let revisions = server.get("/v6/job-types/double/1.0.0/revisions/?page_size=2").await.ok();
    assert_eq!(revisions["count"], 3);
    let numbers: Vec<&Value> =
        revisions["results"].as_array().unwrap().iter().map(|revision| &revision["revision_num"]).collect();
    assert_eq!(numbers, [&json!(3), &json!(2)]);
    let first = server.get("/v6/job-types/double/1.0.0/revisions/1/").await.ok();
    assert_eq!((&first["model"], &first["manifest"]), (&json!({"formulas": {"y": "=2*x"}}), &document));
    assert_eq!(server.get("/v6/job-types/double/1.0.0/revisions/4/").await.status, 404);

    // What a worker would load computes.
    server.recipe_type("Doubling", &doubling(3)).await;
    let tenant_id = server.state.store.tenant("acme").await.unwrap().unwrap().id;
    let stored = server.state.store.recipe_type(tenant_id, "doubling").await.unwrap().unwrap();
    let source = server.state.store.revision_source(stored.revision_id).await.unwrap().unwrap();
    let program = server.state.programs.get(source.jobs[0].program_id).await.unwrap();
    assert!(program.interface().output("y", &[]).is_some());

    // Deprecating it takes the recipe types with it, and says so.
    let done = server.patch(path, &json!({"is_active": false})).await.ok();
    assert_eq!(names(&done["warnings"]), ["DEPRECATED_RECIPES"]);
    assert_eq!(server.get("/v6/recipe-types/doubling/").await.ok()["is_active"], false);
    assert!(server.get(path).await.ok()["deprecated"].is_string());
    server.patch(path, &json!({"is_active": true})).await.ok();
    assert_eq!(server.get(path).await.ok()["deprecated"], Value::Null);

    // Every change is in the audit trail.
    let trail = server.get("/acme/api/v4/audit?action=job_type").await.ok();
    let actions: Vec<&Value> =
        trail["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions.len(), 6, "{actions:?}");
    assert_eq!(actions[0], "job_type.create");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_can_be_the_model_when_it_covers_the_manifest() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("f").await.ok();
    server.release("f", "rect", &rectangle(), json!({})).await;
    let inputs =
        json!([{"name": "width", "type": "number"}, {"name": "height", "type": "number", "required": false}]);
    let outputs = json!([{"name": "surface", "type": "number", "key": "area"}]);
    let body = json!({
        "manifest": manifest("rect", inputs.clone(), outputs), "model": {"service": "f/rect[0.1.0]"},
        "configuration": {},
    });
    let made = server.post("/v6/job-types/", &body).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
    assert_eq!(made.json()["model"], json!({"service": "f/rect[0.1.0]"}));
    for (inputs, outputs, service, text) in [
        (json!([{"name": "depth", "type": "number"}]), json!([]), "f/rect[0.1.0]", "no input \"depth\""),
        (json!([]), json!([{"name": "surface", "type": "number"}]), "f/rect[0.1.0]", "no output \"surface\""),
        (json!([]), json!([]), "f/rect[9.0.0]", "model.service: "),
        (json!([]), json!([]), "f/nothing", "model.service: "),
    ] {
        let body = json!({"manifest": manifest("other", inputs, outputs), "model": {"service": service}});
        let (status, detail, name) = refusal(&server.post("/v6/job-types/", &body).await);
        assert_eq!((status, name.as_str()), (400, "INVALID_MODEL"), "{detail}");
        assert!(detail.contains(text), "{detail}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_place() {
    let Some(server) = Server::start().await else { return };
    let (inputs, outputs) =
        (json!([{"name": "x", "type": "number"}]), json!([{"name": "y", "type": "number"}]));
    let good = manifest("double", inputs, outputs);
    let with = |change: fn(&mut Value)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    let formula = json!({"formulas": {"y": "2*x"}});
    for (document, model, name, place) in [
        (
            with(|manifest| manifest["job"]["name"] = json!("a b")),
            formula.clone(),
            "JSON_VALIDATION_ERROR",
            "manifest.job.name",
        ),
        (
            with(|manifest| manifest["job"]["more"] = json!(1)),
            formula.clone(),
            "JSON_VALIDATION_ERROR",
            "manifest.job.more",
        ),
        (
            with(|manifest| {
                manifest["job"]["interface"]["inputs"]["json"] =
                    json!([{"name": "x", "type": "number"}, {"name": "X", "type": "number"}]);
            }),
            formula.clone(),
            "NAME_COLLISION_ERROR",
            "manifest.job.interface.inputs.json[1].name",
        ),
        (
            with(|manifest| {
                manifest["job"]["errors"] = json!([{"code": 1, "name": "e"}, {"code": 2, "name": "e"}]);
            }),
            formula.clone(),
            "DUPLICATE_ERROR_NAMES",
            "manifest.job.errors[1].name",
        ),
        (good.clone(), Value::Null, "INVALID_MODEL", "model"),
        (good.clone(), json!({}), "INVALID_MODEL", "model"),
        (good.clone(), json!({"formulas": {}}), "INVALID_MODEL", "model.formulas"),
        (good.clone(), json!({"formulas": {"y": 2}}), "INVALID_MODEL", "model.formulas.y"),
        (good.clone(), json!({"formulas": {"y": "2*"}}), "INVALID_MODEL", "model.formulas.y"),
        (good.clone(), json!({"formulas": {"y": "2*z"}}), "INVALID_MODEL", "model.formulas.y"),
        (good.clone(), json!({"formulas": {"y": "x", "z": "x"}}), "INVALID_MODEL", "model.formulas.z"),
    ] {
        let body = json!({"manifest": document, "model": model, "configuration": {}});
        let (status, detail, found) = refusal(&server.post("/v6/job-types/", &body).await);
        assert_eq!((status, found.as_str()), (400, name), "{detail}");
        assert!(detail.starts_with(place), "{detail}");
        let checked = server.post("/v6/job-types/validation/", &body).await.ok();
        assert_eq!((&checked["is_valid"], &checked["errors"][0]["name"]), (&json!(false), &json!(name)));
    }
    let unknown = json!({"manifest": good, "model": formula, "colour": "red"});
    assert_eq!(refusal(&server.post("/v6/job-types/", &unknown).await).2, "UNKNOWN_PARAMETER");
    let missing = refusal(&server.post("/v6/job-types/", &json!({"model": formula})).await);
    assert_eq!(missing.1, "Missing required parameter: \"manifest\"");
    let missing = refusal(&server.post("/v6/job-types/validation/", &json!({"manifest": good})).await);
    assert_eq!(missing.1, "Missing required parameter: \"configuration\"");
    let priority = json!({"manifest": good, "model": formula, "configuration": {"priority": 0}});
    assert!(refusal(&server.post("/v6/job-types/", &priority).await).1.starts_with("configuration.priority"));
    assert_eq!(server.get("/v6/job-types/").await.ok()["count"], 0, "nothing was made");

    // An edit keeps name and version.
    server.double().await;
    let other = manifest("treble", json!([]), json!([{"name": "y", "type": "number"}]));
    let body = json!({"manifest": other, "model": {"formulas": {"y": "1"}}});
    assert_eq!(refusal(&server.patch("/v6/job-types/double/1.0.0/", &body).await).2, "INVALID_IDENTITY");
    assert_eq!(server.patch("/v6/job-types/double/2.0.0/", &body).await.status, 404);
    assert_eq!(server.get("/v6/job-types/double/1.0.0/").await.ok()["revision_num"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered() {
    let Some(server) = Server::start().await else { return };
    let output = || json!([{"name": "y", "type": "number"}]);
    for name in ["beta", "alpha", "alphabet"] {
        server.job_type(name, json!([]), output(), json!({"y": "1"})).await;
    }
    server.patch("/v6/job-types/beta/1.0.0/", &json!({"is_active": false})).await.ok();
    for (query, found) in [
        ("", vec!["alpha", "alphabet", "beta"]),
        ("?keyword=ALPHA", vec!["alpha", "alphabet"]),
        ("?keyword=bet&keyword=nothing", vec!["alphabet", "beta"]),
        ("?keyword=%25", vec![]),
        ("?is_active=false", vec!["beta"]),
        ("?is_system=1", vec![]),
        ("?page_size=1&page=last", vec!["beta"]),
    ] {
        let answer = server.get(&format!("/v6/job-types/{query}")).await.ok();
        let names: Vec<&str> =
            answer["results"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(names, found, "{query}");
    }
    assert_eq!(server.get("/v6/job-types/?id=x").await.status, 400);
    assert_eq!(server.get("/v6/job-types/alpha/").await.ok()["count"], 1);
    assert_eq!(server.get("/v6/job-types/?keyword=%00").await.status, 400);
    server.stop().await;
}
