//! Creation, field by field (contract 1.1), and what a batch keeps of it.

use millrace_tests::{Client, Fleet, FleetOptions, PATIENCE, SALES};
use serde_json::{Value, json};

use super::{chunks, refused};

/// A service with one input `x`, whose output `y` is a multiple of it.
fn multiple(factor: u32) -> Vec<u8> {
    json!({
        "inputs": [{"name": "x", "type": "number", "default": 1}],
        "outputs": [{"name": "y", "formula": format!("{factor} * x")}],
    })
    .to_string()
    .into_bytes()
}

async fn information(client: &Client, batch: &str) -> Value {
    client.info(batch).await.unwrap().success().unwrap().body["data"].clone()
}

#[tokio::test]
async fn what_is_not_asked_for_is_the_tenants_and_what_is_too_much_is_its_cap() {
    let options = FleetOptions::workers(0).set("tenants.capacity_bytes", 9_000_000_000_u64);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let nothing = json!({"service": SALES, "version_id": null, "output": null, "subservice": null, "unique_record_key": null,
        "source_system": null, "correlation_id": null, "initial_workers": null, "max_workers": null,
        "max_input_size": null, "chunks_per_request": null, "an_extra": [1]});
    let silent = client.open_batch(&nothing).await.unwrap();
    let data = information(client, &silent).await;
    assert_eq!(
        (&data["source_system"], &data["correlation_id"], &data["unique_record_key"]),
        (&json!(null), &json!(null), &json!(null))
    );
    let configuration = &data["configuration"];
    for (field, value) in [
        ("initial_workers", json!(10)),
        ("max_workers", json!(3_000)),
        ("chunks_per_request", json!(1)),
        ("chunks_per_thread", json!(1)),
        ("runner_thread_count", json!(1)),
        ("acceptable_error_percentage", json!(0.0)),
        ("input_buffer_allocated_bytes", json!(70_000_000)),
        ("output_buffer_allocated_bytes", json!(80_000_000)),
        ("max_input_in_mb", json!(70.0)),
        ("max_output_in_mb", json!(80.0)),
        ("output", json!([])),
        ("subservice", json!([])),
        ("version_by_timestamp", json!(null)),
        ("call_purpose", json!("Async Batch Execution")),
    ] {
        assert_eq!(configuration[field], value, "{field}");
    }

    // Beyond the caps: the caps, and they are shown. More slots at first than at most: as many as at most.
    let huge = json!({"service": SALES, "max_input_size": 1e9, "max_output_size_in_mb": "451", "max_workers": 1e9,
        "initial_workers": 4_000, "runner_thread_count": 7});
    let configuration =
        information(client, &client.open_batch(&huge).await.unwrap()).await["configuration"].clone();
    for (field, value) in [
        ("input_buffer_allocated_bytes", 450_000_000),
        ("output_buffer_allocated_bytes", 450_000_000),
        ("max_workers", 3_000),
        ("initial_workers", 3_000),
        ("runner_thread_count", 7),
    ] {
        assert_eq!(configuration[field], value, "{field}");
    }
    let few =
        json!({"service": SALES, "initial_workers": "9", "max_workers": 2, "max_input_size_in_mb": 0.5});
    let configuration =
        information(client, &client.open_batch(&few).await.unwrap()).await["configuration"].clone();
    assert_eq!((&configuration["initial_workers"], &configuration["max_workers"]), (&json!(2), &json!(2)));
    assert_eq!(configuration["input_buffer_allocated_bytes"], 500_000);
}

#[tokio::test]
async fn a_batch_keeps_the_version_that_was_in_force_when_it_was_created() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    client.create_folder("maths").await.unwrap().success().unwrap();
    let first = client.upload_and_publish("maths", "Multiple", "m.json", &multiple(2)).await.unwrap();
    let old = client.create_batch(&json!({"service": "maths/Multiple"})).await.unwrap().success().unwrap();
    assert_eq!(
        (old.text("/data/version_id").unwrap(), old.text("/data/version").unwrap()),
        (first.as_str(), "0.1.0")
    );
    let second = client.upload_and_publish("maths", "Multiple", "m.json", &multiple(3)).await.unwrap();
    let new = client.create_batch(&json!({"service": "MATHS/multiple[]"})).await.unwrap().success().unwrap();
    assert_eq!(new.text("/data/version_id").unwrap(), second);
    assert_eq!(new.text("/data/service_uri").unwrap(), "maths/Multiple[0.2.0]");

    for (batch, y) in [(&old, 10.0), (&new, 15.0)] {
        let batch = batch.text("/id").unwrap();
        let push = chunks(&[json!({"id": "a", "data": {"inputs": [["x"], [5]]}})]);
        client.push(batch, &push).await.unwrap().success().unwrap();
        let results = client.pull_all(batch, 1, PATIENCE).await.unwrap();
        assert_eq!(results[0]["outputs"], json!([["y"], [y]]));
    }

    // `version_id` wins; an empty `service` is none; a time decides where no exact version is named.
    let long_ago = "2001-01-01T00:00:00.000001";
    for (wanted, version) in [
        (json!({"service": "", "version_id": first.to_uppercase()}), &first),
        (
            json!({"service": "maths/Multiple[0.2.0]", "version_id": first, "version_by_timestamp": long_ago}),
            &first,
        ),
        (json!({"service": "maths/Multiple[0.1.0]", "version_by_timestamp": long_ago}), &first),
        (json!({"service_uri": "/folders/maths/services/Multiple[0.1]"}), &first),
        (json!({"service_id": old.text("/data/service_id").unwrap(), "service": "no/such"}), &second),
    ] {
        let created = client.create_batch(&wanted).await.unwrap().success().unwrap();
        assert_eq!(created.text("/data/version_id").unwrap(), version, "{wanted}");
        client.patch(created.text("/id").unwrap(), "cancelled").await.unwrap().success().unwrap();
    }
    let before = json!({"service": "maths/Multiple", "version_by_timestamp": long_ago});
    refused(&client.create_batch(&before).await.unwrap(), 404, "VERSION_NOT_FOUND");
    let kept = json!({"service": "maths/Multiple", "version_by_timestamp": "2030-01-01"});
    let kept = client.open_batch(&kept).await.unwrap();
    let shown = information(client, &kept).await["configuration"]["version_by_timestamp"].clone();
    assert_eq!(shown, "2030-01-01T00:00:00.000Z");
}
