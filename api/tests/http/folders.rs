//! Folders (contract 4.2).

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::server::{Server, rectangle};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_lives_from_creation_to_deletion() {
    let Some(server) = Server::start().await else { return };
    let created = server.create_folder("My folder").await.ok();
    assert_eq!((&created["status"], &created["errorCode"]), (&json!("Success"), &Value::Null));
    let id = created["data"]["folderId"].as_str().unwrap().to_owned();
    let url = created["data"]["get_product_url"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:8123").expect("absolute");

    let shown = server.get(path).await.ok();
    assert_eq!((&shown["data"]["id"], &shown["data"]["name"]), (&json!(id), &json!("My folder")));
    assert_eq!(shown["data"]["startDate"], "2026-01-01T00:00:00.000Z");
    assert_eq!(shown["data"]["calculationEngines"]["count"], 0);
    assert_eq!(server.get("/api/v1/PRODUCT/getproduct/MY%20FOLDER/?x=1").await.ok()["data"]["id"], json!(id));

    // The same name again, in another case: the code that the SDK makes a ConflictError of.
    let again = server.create_folder("MY FOLDER").await.ok();
    assert_eq!((&again["errorCode"], &again["data"]), (&json!("PRODUCT_ALREADY_EXISTS"), &Value::Null));

    let exists = |name: &'static str| server.post(name, &Value::Null);
    assert_eq!(exists("/api/v1/product/IsProductExists/my%20folder").await.ok()["data"], true);
    assert_eq!(exists("/api/v1/product/isproductexists/nope").await.ok()["data"], false);

    let update = json!({"description": "New", "shouldTrackUserAction": "true", "startDate": "2027-01-01"});
    server.post(&format!("/api/v1/product/update/{id}"), &update).await.ok();
    let shown = server.get(path).await.ok();
    assert_eq!((&shown["data"]["description"], &shown["data"]["category"]), (&json!("New"), &json!("Other")));

    server.release("My%20folder", "rectangle", &rectangle(), json!({})).await;
    assert_eq!(
        server.get(path).await.ok()["data"]["calculationEngines"]["data"][0]["serviceName"],
        "rectangle"
    );
    server.delete(&format!("/api/v1/product/delete/{id}")).await.ok();
    assert_eq!(server.get(path).await.status, 404);
    assert_eq!(server.delete(&format!("/api/v1/product/delete/{id}")).await.status, 404);
    let exists = server.get("/acme/api/v3/folders/My%20folder/services/rectangle/exists").await.ok();
    assert_eq!(exists["response_data"]["is_exists"], false);
    // The name is free again.
    assert_eq!(server.create_folder("My folder").await.ok()["status"], "Success");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_searched_and_paged_within_the_tenant() {
    let Some(server) = Server::start().await else { return };
    for name in ["alpha", "beta", "alpha_2", "100%"] {
        server.create_folder(name).await.ok();
    }
    let search = |field: &str, value: &str| json!({"search": [{"field": field, "value": value}]});
    for (body, count, names) in [
        (json!({}), 4, vec!["100%", "alpha_2", "beta", "alpha"]),
        (json!({"page": 2, "pageSize": 3, "sort": "-updated"}), 4, vec!["alpha"]),
        (json!({"sort": "updated", "pageSize": 1}), 4, vec!["alpha"]),
        (search("name", "ALPHA"), 2, vec!["alpha_2", "alpha"]),
        (search("name", "a_2"), 1, vec!["alpha_2"]),
        (search("name", "%"), 1, vec!["100%"]),
        (search("category", "other"), 4, vec!["100%", "alpha_2", "beta", "alpha"]),
        (search("id", "not an id"), 0, vec![]),
    ] {
        let answer = server.post("/api/v1/product/list", &body).await.ok();
        let found: Vec<&str> = answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|folder| folder["name"].as_str().unwrap())
            .collect();
        assert_eq!((answer["count"].as_i64().unwrap(), found), (count, names), "{body}");
    }
    let answer = server.post("/api/v1/product/list", &search("colour", "red")).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (422, &json!("INVALID_SEARCH")));
    // Another tenant sees none of them.
    let request =
        axum::http::Request::post("/api/v1/product/list").header("x-synthetic-key", &server.other_key);
    assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.ok()["count"], 0);
    assert_eq!(server.get("/api/v1/lookup/GetCategories").await.ok()["data"].as_array().unwrap().len(), 6);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_forms_bring_a_cover_image() {
    let Some(server) = Server::start().await else { return };
    let form = |image: &[u8]| {
        let mut body = b"--x\r\nContent-Disposition: form-data; name=\"Name\"\r\n\r\ncovered\r\n\
            --x\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\ncovered\r\n\
            --x\r\nContent-Disposition: form-data; name=\"coverImage\"; filename=\"c.png\"\r\n\r\n"
            .to_vec();
        body.extend_from_slice(image);
        body.extend_from_slice(b"\r\n--x--\r\n");
        Body::from(body)
    };
    let send = |path: &str, body: Body| {
        let request =
            server.request(Method::POST, path).header("content-type", "multipart/form-data; boundary=x");
        server.send(request.body(body).unwrap())
    };
    let png = b"\x89PNG\r\n\x1a\nfirst";
    let created = send("/api/v1/product/create", form(png)).await.ok();
    let id = created["data"]["folderId"].as_str().unwrap();
    let image = server.get(&format!("/api/v1/product/coverimage/{id}")).await;
    assert_eq!((image.status, image.headers["content-type"].to_str().unwrap()), (200, "image/png"));
    assert_eq!(image.bytes, png);
    send("/api/v1/product/UploadCoverImage", form(b"\x89PNGsecond")).await.ok();
    assert_eq!(server.get(&format!("/api/v1/product/coverimage/{id}")).await.bytes, b"\x89PNGsecond");
    let answer = send("/api/v1/product/uploadcoverimage", form(b"<svg/>")).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (422, &json!("INVALID_IMAGE")));
    let answer = send("/api/v1/product/create", Body::from("--x\r\nbroken")).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (400, &json!("MALFORMED_FORM")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_folders_are_refused() {
    let Some(server) = Server::start().await else { return };
    for name in ["", "a/b", "a[1]"] {
        let answer = server.create_folder(name).await;
        assert_eq!((answer.status, &answer.json()["errorCode"]), (422, &json!("INVALID_NAME")), "{name}");
    }
    for path in ["/api/v1/product/GetProduct/a%00b", "/acme/api/v3/folders/f%00/services/s/exists"] {
        assert_eq!(server.get(path).await.status, 422, "{path}");
    }
    let answer = server.get("/api/v1/product/GetProduct/nope").await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (404, &json!("FOLDER_NOT_FOUND")));
    assert_eq!(server.post("/api/v1/product/list", &Value::Null).await.status, 400);
    server.stop().await;
}
