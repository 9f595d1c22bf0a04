//! What reaches the workers of a batch's terms, and what is delivered of their results (contract 1.3, 1.4, 2.3 to 2.6).

use std::collections::BTreeSet;

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use rust_xlsxwriter::{Formula, Workbook};
use serde_json::{Value, json};

use super::{chunk, chunks, open};

/// A workbook with an input of its own, and the subservices `life` and `fire`.
fn insurance() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (row, value) in [(0, 1), (1, 10), (2, 100)] {
        sheet.write(row, 0, value).unwrap();
    }
    sheet.write_formula(0, 1, Formula::new("=A1+A2+A3").set_result("111")).unwrap();
    sheet.write_formula(1, 1, Formula::new("=A1*A2").set_result("10")).unwrap();
    sheet.write_formula(2, 1, Formula::new("=A1*A3").set_result("100")).unwrap();
    for (name, cell) in [
        ("Xinput_all", "A$1"),
        ("Xinput_life.x", "A$2"),
        ("Xinput_fire.x", "A$3"),
        ("Xoutput_sum", "B$1"),
        ("Xoutput_life.premium", "B$2"),
        ("Xoutput_fire.premium", "B$3"),
    ] {
        book.define_name(name, &format!("=Sheet1!${cell}")).unwrap();
    }
    book.save_to_buffer().unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_terms_of_a_batch_decide_what_its_workers_evaluate_and_answer() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    client.create_folder("risks").await.unwrap().success().unwrap();
    client.upload_and_publish("risks", "Insurance", "i.xlsx", &insurance()).await.unwrap();
    let inputs = json!([["id", "Region", "all", "life.x", "fire.x"], [7, "north", 2, 3, 4], [8, null, 5, 6]]);
    for (terms, key, outputs) in [
        (
            json!({}),
            json!(null),
            json!([["sum", "life.premium", "fire.premium"], [9.0, 6.0, 8.0], [12.0, 30.0, 5.0]]),
        ),
        (json!({"subservice": "LIFE"}), json!(null), json!([["life.premium"], [3.0], [6.0]])),
        (
            json!({"subservice": ["life", "#Default#"], "output": "SUM"}),
            json!(null),
            json!([["sum"], [105.0], [111.0]]),
        ),
        (
            json!({"output": ["prem*", "nothing"], "unique_record_key": "ID,region"}),
            json!("ID,region"),
            json!([
                ["ID", "region", "life.premium", "fire.premium"],
                [7, "north", 6.0, 8.0],
                [8, null, 30.0, 5.0]
            ]),
        ),
        (
            json!({"output": "s.m,fire\\.p.{6}", "unique_record_key": ["id"]}),
            json!("id"),
            json!([["id", "sum", "fire.premium"], [7, 9.0, 8.0], [8, 12.0, 5.0]]),
        ),
    ] {
        let mut wanted = terms.clone();
        wanted["service"] = json!("risks/Insurance");
        let created = client.create_batch(&wanted).await.unwrap().success().unwrap();
        assert_eq!(created.body["data"]["unique_record_key"], key, "{terms}");
        let batch = created.text("/id").unwrap();
        // The last record has no `fire.x` of its own: the parameter is it.
        let pushed =
            json!({"id": "a", "data": {"inputs": inputs, "parameters": {"FIRE.X": 1, "unknown": {}}}});
        client.push(batch, &chunks(&[pushed])).await.unwrap().success().unwrap();
        let results = client.pull_all(batch, 1, PATIENCE).await.unwrap();
        assert_eq!(results[0]["outputs"], outputs, "{terms}");
        client.patch(batch, "cancelled").await.unwrap().success().unwrap();
    }
}

#[tokio::test]
async fn delivered_chunks_have_every_field_and_the_status_beside_them_counts_them() {
    const FIELDS: [&str; 9] = [
        "id",
        "outputs",
        "summary_output",
        "summary_errors",
        "warnings",
        "errors",
        "process_time",
        "status",
        "size",
    ];
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let keyed = json!({"service": SALES, "unique_record_key": "sales_id"});
    let batch = client.open_batch(&keyed).await.unwrap();
    let summed = json!({"id": "summed", "size": 99, "data": {
        "inputs": [["sales_id", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, "x", 1, 0]],
        "summary": {"ignore_error": true, "aggregation": [{"output_name": "total", "operator": "sum"}]},
    }});
    let keyless = json!({"id": "keyless", "data": {"inputs": [["price"], [1], [2]]}});
    client.push(&batch, &chunks(&[chunk("plain", 3), summed, keyless])).await.unwrap().success().unwrap();
    let completed = || async {
        let status = client.status(&batch).await?.success()?;
        Ok((status.integer("/chunks_completed")? == 3).then_some(status))
    };
    let before = wait_until("all chunks have an outcome", PATIENCE, completed).await.unwrap();
    assert_eq!(
        (before.integer("/chunks_available").unwrap(), before.integer("/records_available").unwrap()),
        (3, 7)
    );

    let pulled = client.pull(&batch, 100).await.unwrap().success().unwrap();
    let found = |id: &str| {
        let results = pulled.list("/data").unwrap();
        results
            .iter()
            .find(|result| result["id"] == id)
            .unwrap_or_else(|| panic!("no {id}: {}", pulled.describe()))
            .clone()
    };
    let (plain, summed, failed) = (found("plain"), found("summed"), found("keyless"));
    assert_eq!(keys(&plain), BTreeSet::from(FIELDS));
    assert_eq!((&plain["summary_output"], &plain["summary_errors"]), (&json!([[]]), &json!([[]])));
    assert_eq!(
        (&plain["warnings"], &plain["errors"]),
        (&json!([null, null, null]), &json!([null, null, null]))
    );
    assert_eq!((&plain["status"], &plain["size"]), (&json!("completed"), &json!(3)));
    assert_eq!(summed["summary_output"], json!([[["total_SUM"], [1430.0]]]));
    assert_eq!((&summed["outputs"], &summed["size"]), (&json!([["sales_id"], [1], [2]]), &json!(2)));
    assert!(summed["warnings"][1][0]["message"].as_str().unwrap().contains("total (#VALUE!)"), "{summed}");
    // A chunk that failed as a whole: empty lists, one error with the five keys of the engine, no summary.
    assert_eq!(keys(&failed), BTreeSet::from(FIELDS));
    for list in ["outputs", "warnings", "process_time"] {
        assert_eq!(failed[list], json!([]), "{list}");
    }
    assert_eq!((&failed["summary_output"], &failed["summary_errors"]), (&json!(null), &json!(null)));
    assert_eq!((&failed["status"], &failed["size"]), (&json!("failed"), &json!(2)));
    assert_eq!(failed["errors"].as_array().unwrap().len(), 1);
    assert_eq!(
        keys(&failed["errors"][0]),
        BTreeSet::from(["source_path", "error_category", "error_type", "message", "additional_details"])
    );

    // The status is that after the pull, nested and flat alike, and its times are those of the records.
    let mut flat = pulled.body.clone();
    let nested = flat["status"].take();
    for (field, value) in nested.as_object().unwrap() {
        assert_eq!(&flat[field], value, "{field}");
    }
    assert_eq!((&nested["chunks_available"], &nested["records_available"]), (&json!(0), &json!(0)));
    assert_eq!(nested["output_buffer_used_bytes"], 0);
    let times = [&plain, &summed].into_iter().flat_map(|result| result["process_time"].as_array().unwrap());
    let times: Vec<i64> = times.map(|time| time.as_i64().unwrap()).collect();
    assert!(times.len() == 5 && times.iter().all(|time| *time >= 1), "{times:?}");
    assert_eq!(nested["compute_time_ms"].as_i64().unwrap(), times.iter().sum::<i64>());
    assert_eq!((&nested["chunks_failed"], &nested["records_failed"]), (&json!(1), &json!(2)));

    // Failed, and all the same everything is still answered.
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    let ended = client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();
    assert_eq!(ended.text("/pipeline_status").unwrap(), "closed");
    assert_eq!(client.pull(&batch, 1).await.unwrap().success().unwrap().body["data"], json!([]));
    let summary = client.info(&batch).await.unwrap().success().unwrap().body["data"]["summary"].clone();
    assert_eq!((&summary["records_submitted"], &summary["records_completed"]), (&json!(7), &json!(5)));
    assert_eq!(summary["avg_compute_time_ms"], times.iter().sum::<i64>() / 7);
    // The wall time ends with the batch.
    let again = client.info(&batch).await.unwrap().success().unwrap();
    assert_eq!(again.body["data"]["summary"]["batch_time_ms"], summary["batch_time_ms"]);
    let cancelled = client.patch(&batch, "cancelled").await.unwrap().success().unwrap();
    assert_eq!(cancelled.text("/batch_status").unwrap(), "failed");
}

#[tokio::test]
async fn busy_slots_are_shown_and_one_slot_or_one_byte_of_output_is_enough() {
    let mut fleet =
        Fleet::sales(FleetOptions::workers(0).set("worker.slots", 2).set("worker.heartbeat_ms", 100))
            .await
            .unwrap();
    fleet.start_failing_worker("evaluate=sleep:50").await.unwrap();
    let client = fleet.client();
    let narrow =
        json!({"service": SALES, "max_workers": 1, "max_output_in_mb": 0.000_001, "chunks_per_request": 3});
    let (narrow, wide) = (client.open_batch(&narrow).await.unwrap(), open(client).await);
    for (batch, count) in [(&narrow, 12), (&wide, 60)] {
        let many: Vec<Value> = (0..count).map(|index| chunk(&format!("c{index}"), 2)).collect();
        client.push(batch, &chunks(&many)).await.unwrap().success().unwrap();
    }
    let busy = || async {
        let status = client.status(&wide).await?.success()?;
        let tenant = client.overview().await?.success()?;
        let shown = status.integer("/workers_in_use")? >= 1 && status.integer("/chunks_in_progress")? >= 1;
        Ok((shown && tenant.integer("/tenant/status/workers_in_use")? >= 1).then_some(()))
    };
    wait_until("busy slots are shown", PATIENCE, busy).await.unwrap();
    // Each result is larger than the whole buffer, and is let through while that is empty.
    let mut pulled = 0;
    while pulled < 12 {
        let page = client.pull(&narrow, 100).await.unwrap().success().unwrap();
        pulled += page.list("/data").unwrap().len();
        assert!(page.integer("/status/workers_in_use").unwrap() <= 1, "{}", page.describe());
    }
    client.pull_all(&wide, 60, PATIENCE).await.unwrap();
    let idle = || async {
        let status = client.status(&wide).await?.success()?;
        Ok((status.integer("/workers_in_use")? == 0 && status.text("/pipeline_status")? == "idle")
            .then_some(()))
    };
    wait_until("nothing is busy", PATIENCE, idle).await.unwrap();
}
