//! Recipe types (scale-v6 5.2).

use millrace_common::recipes::RecipeRevisions;
use serde_json::{Value, json};

use super::{around, doubling, refusal};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_type_gets_its_name_from_its_title_and_revisions_from_edits() {
    let Some(server) = Server::start().await else { return };
    server.double().await;
    let body = json!({"title": "My First_Recipe", "description": "d", "definition": doubling(1)});
    let made = server.post("/v6/recipe-types/", &body).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
    assert_eq!(made.headers["location"], "http://127.0.0.1:8123/v6/recipe-types/my-first-recipe/");
    let made = made.json();
    assert_eq!((&made["name"], &made["revision_num"]), (&json!("my-first-recipe"), &json!(1)));
    assert_eq!((&made["definition"], &made["is_active"]), (&doubling(1), &json!(true)));
    assert_eq!(made["job_types"][0]["name"], "double");
    assert_eq!((&made["sub_recipe_types"], &made["super_recipe_types"]), (&json!([]), &json!([])));
    let path = "/v6/recipe-types/my-first-recipe/";
    assert_eq!(server.get(path).await.ok(), made);
    assert_eq!(refusal(&server.post("/v6/recipe-types/", &body).await).2, "NAME_TAKEN");

    server.patch(path, &json!({"title": "Other", "description": ""})).await.ok();
    let shown = server.get(path).await.ok();
    assert_eq!((&shown["title"], &shown["description"]), (&json!("Other"), &json!("")));
    assert_eq!(shown["revision_num"], 1, "texts make no revision");
    let done = server.patch(path, &json!({"definition": doubling(1)})).await.ok();
    assert_eq!(done, json!({"is_valid": true, "errors": [], "warnings": [], "diff": {}}));
    let revisions = server.get(&format!("{path}revisions/")).await.ok();
    assert_eq!((&revisions["count"], &revisions["results"][0]["revision_num"]), (&json!(2), &json!(2)));
    assert_eq!(revisions["results"][0]["recipe_type"]["name"], "my-first-recipe");
    let first = server.get(&format!("{path}revisions/1/")).await.ok();
    assert_eq!((&first["definition"], &first["recipe_type"]["is_active"]), (&doubling(1), &json!(true)));
    for missing in ["revisions/3/", "revisions/x/", "revisions/99999999999/"] {
        assert_eq!(server.get(&format!("{path}{missing}")).await.status, 404, "{missing}");
    }
    assert_eq!(server.get("/v6/recipe-types/nothing/").await.status, 404);
    assert_eq!(server.patch("/v6/recipe-types/nothing/", &json!({})).await.status, 404);
    for (title, name) in [(" ", "INVALID_TITLE"), ("Validation", "RESERVED_NAME")] {
        let body = json!({"title": title, "definition": {}});
        assert_eq!(refusal(&server.post("/v6/recipe-types/", &body).await).2, name);
    }
    let item = &server.get("/v6/recipe-types/?keyword=OTHER&is_active=true").await.ok()["results"][0];
    assert_eq!(item["job_types"], json!([{"name": "double", "version": "1.0.0"}]));
    assert_eq!(server.get("/v6/recipe-types/?keyword=nothing").await.ok()["count"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_checked_against_what_exists() {
    let Some(server) = Server::start().await else { return };
    server.double().await;
    let with = |change: fn(&mut Value)| {
        let mut changed = doubling(1);
        change(&mut changed);
        changed
    };
    for (definition, name) in [
        (json!([]), "INVALID_DEFINITION_JSON"),
        (with(|definition| definition["more"] = json!(1)), "INVALID_DEFINITION"),
        (doubling(2), "JOB_TYPE_DOES_NOT_EXIST"),
        (around("nothing", 1), "RECIPE_TYPE_DOES_NOT_EXIST"),
        (with(|definition| definition["input"] = json!({})), "UNKNOWN_INPUT"),
        (with(|definition| definition["nodes"]["first"]["input"] = json!({})), "NODE_INTERFACE"),
        (
            with(|definition| definition["nodes"]["first"]["dependencies"] = json!([{"name": "second"}])),
            "UNKNOWN_NODE",
        ),
        (
            with(|definition| definition["nodes"]["first"]["dependencies"] = json!([{"name": "first"}])),
            "CIRCULAR_DEPENDENCY",
        ),
    ] {
        let checked =
            server.post("/v6/recipe-types/validation/", &json!({"definition": definition})).await.ok();
        let found: Vec<&Value> =
            checked["errors"].as_array().unwrap().iter().map(|error| &error["name"]).collect();
        assert!(found.contains(&&json!(name)), "{name} is not in {found:?}");
        assert_eq!((&checked["is_valid"], &checked["diff"]), (&json!(false), &json!({})));
        let body = json!({"title": "t", "definition": definition});
        assert_eq!(server.post("/v6/recipe-types/", &body).await.status, 400, "{name}");
    }
    assert_eq!(server.get("/v6/recipe-types/").await.ok()["count"], 0, "nothing was made");

    // Against an existing type there is a difference, and a warning when its recipes cannot be reprocessed.
    server.recipe_type("Doubling", &doubling(1)).await;
    let body = json!({"name": "doubling", "definition": doubling(1)});
    let checked = server.post("/v6/recipe-types/validation/", &body).await.ok();
    assert_eq!(checked["diff"]["nodes"]["first"]["status"], "UNCHANGED");
    let mut wider = doubling(1);
    wider["input"]["json"] = json!([{"name": "x", "type": "number"}, {"name": "y", "type": "number"}]);
    let checked = server
        .post("/v6/recipe-types/validation/", &json!({"name": "doubling", "definition": wider}))
        .await
        .ok();
    assert_eq!(
        (&checked["is_valid"], &checked["warnings"][0]["name"]),
        (&json!(true), &json!("REPROCESS_WARNING"))
    );
    assert_eq!(checked["diff"]["can_be_reprocessed"], false);
    let body = json!({"definition": around("doubling", 1)});
    assert_eq!(refusal(&server.patch("/v6/recipe-types/doubling/", &body).await).2, "RECURSIVE_SUBRECIPES");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_reach_the_recipe_types_around() {
    let Some(server) = Server::start().await else { return };
    server.double().await;
    server.recipe_type("Inner", &doubling(1)).await;
    server.recipe_type("Outer", &around("inner", 1)).await;
    let newest = async |name: &str| server.get(&format!("/v6/recipe-types/{name}/")).await.ok();

    // A revision of the job type goes all the way up.
    server.patch("/v6/job-types/double/1.0.0/", &json!({"model": {"formulas": {"y": "x+x"}}})).await.ok();
    let (inner, outer) = (newest("inner").await, newest("outer").await);
    assert_eq!(inner["definition"], doubling(2));
    assert_eq!(outer["definition"], around("inner", 2));
    assert_eq!((&outer["revision_num"], &outer["sub_recipe_types"][0]["name"]), (&json!(2), &json!("inner")));
    assert_eq!(inner["super_recipe_types"][0]["name"], "outer");

    // One that would be invalid is left alone, and that is said; others can be told not to follow.
    let mut wider = doubling(2);
    wider["input"]["json"] = json!([{"name": "x", "type": "number"}, {"name": "z", "type": "number"}]);
    let done = server.patch("/v6/recipe-types/inner/", &json!({"definition": wider})).await.ok();
    let names: Vec<&Value> =
        done["warnings"].as_array().unwrap().iter().map(|warning| &warning["name"]).collect();
    assert!(names.contains(&&json!("RECIPE_TYPE_NOT_UPDATED")), "{names:?}");
    assert_eq!(newest("outer").await["revision_num"], 2);
    let body = json!({"definition": doubling(2), "auto_update": false});
    server.patch("/v6/recipe-types/inner/", &body).await.ok();
    assert_eq!(
        (&newest("inner").await["revision_num"], &newest("outer").await["revision_num"]),
        (&json!(4), &json!(2))
    );

    // What runs is known by revision.
    let tenant_id = server.state.store.tenant("acme").await.unwrap().unwrap().id;
    let revisions = RecipeRevisions::new(server.state.store.clone());
    let stored = server.state.store.recipe_type(tenant_id, "outer").await.unwrap().unwrap();
    let outer = revisions.get(stored.revision_id).await.unwrap();
    let node = outer.graph.find("inner").unwrap();
    assert!(outer.job_type(node).is_none());
    let inner = revisions.get(outer.sub_recipe(node).unwrap()).await.unwrap();
    assert_eq!((inner.name.as_str(), inner.revision_num), ("inner", 2));
    let job_type = inner.job_type(inner.graph.find("first").unwrap()).unwrap();
    assert_eq!((job_type.name.as_str(), job_type.revision_num), ("double", 2));
    assert_eq!(&revisions.job_type(job_type.id).await.unwrap(), job_type);
    assert!(revisions.get(i64::MAX).await.is_err());

    // Deprecation goes up as well.
    let done = server.patch("/v6/recipe-types/inner/", &json!({"is_active": false})).await.ok();
    assert_eq!(done["warnings"][0]["name"], "DEPRECATED_RECIPES");
    assert_eq!(newest("outer").await["is_active"], false);
    server.stop().await;
}
