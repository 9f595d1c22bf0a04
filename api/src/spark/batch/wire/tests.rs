//! Every answer, field by field.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_common::model::BatchState;
use millrace_common::store::{Batch, Counters, RedriveLinks};
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// An open batch: 10 chunks of 20 records; 6 completed, 1 failed, 4 pulled.
pub(in super::super) fn view() -> BatchView {
    BatchView {
        batch: Batch {
            id: Uuid::from_u128(1),
            tenant_id: Uuid::from_u128(2),
            version_id: Uuid::from_u128(3),
            service_id: Uuid::from_u128(4),
            service_uri: "sales/SalesExample[0.1.0]".to_owned(),
            version: "0.1.0".to_owned(),
            compiler_version: "Millrace_v0.1.0".to_owned(),
            created_by: "ann".to_owned(),
            day: at("2026-11-21T00:00:00Z").date_naive(),
            state: BatchState::Open,
            created_at: at("2026-11-21T10:00:00Z"),
            updated_at: at("2026-11-21T10:00:01Z"),
            started_at: Some(at("2026-11-21T10:00:02Z")),
            closed_at: None,
            finished_at: None,
            released_at: None,
            dropped_at: None,
            lane_id: Some(1),
            lane_epoch: Some(1),
            unique_record_key: Some("sales_id".to_owned()),
            output_filter: vec!["total".to_owned(), "value_*".to_owned()],
            subservices: Vec::new(),
            version_by_timestamp: None,
            call_purpose: "Async Batch Execution".to_owned(),
            source_system: None,
            correlation_id: Some("c-1".to_owned()),
            initial_workers: 10,
            max_workers: 3_000,
            chunks_per_request: 1,
            runner_thread_count: 1,
            acceptable_error_percentage: 0.0,
            acceptable_record_error_percentage: Some(0.5),
            early_stop: true,
            stopped_at: None,
            paused_at: None,
            paused_by: None,
            input_allocated: 70_000_000,
            output_allocated: 80_000_000,
            priority: 0,
            seed: 1,
            totals: Vec::new(),
            webhook_url: None,
        },
        counters: Counters {
            chunks_submitted: 10,
            records_submitted: 200,
            chunks_queued: 10,
            chunks_completed: 6,
            chunks_failed: 1,
            records_completed: 140,
            records_failed: 21,
            chunks_retried: 2,
            records_retried: 40,
            chunks_pulled: 4,
            records_pulled: 80,
            input_bytes: 1_500,
            output_bytes: 402,
            input_total: 5_000,
            output_total: 4_000,
            largest_chunk: 500,
            compute_ms: 280,
            touched_at: at("2026-11-21T10:00:05Z"),
        },
        workers_in_use: 2,
        now: at("2026-11-21T10:00:06.5Z"),
    }
}

fn clocks() -> ClocksConfig {
    ClocksConfig::default()
}

#[test]
fn the_status_has_every_field_of_the_contract() {
    let view = view();
    let status = StatusFields::new(&view, at("2026-11-21T10:00:06Z"), &clocks());
    let body = serde_json::to_value(StatusBody { id: view.batch.id, status }).unwrap();
    assert_eq!(
        body,
        json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "request_timestamp": "2026-11-21T10:00:06.000Z",
            "response_timestamp": "2026-11-21T10:00:06.500Z",
            "batch_status": "in_progress",
            "pipeline_status": "running",
            "chunks_submitted": 10,
            "chunks_completed": 7,
            "chunks_available": 3,
            "record_submitted": 200,
            "records_submitted": 200,
            "records_completed": 140,
            "records_available": 60,
            "compute_time_ms": 280,
            "input_buffer_used_bytes": 1_500,
            "input_buffer_remaining_bytes": 69_998_500,
            "output_buffer_used_bytes": 402,
            "output_buffer_remaining_bytes": 79_999_598,
            "workers_in_use": 2,
            "chunks_failed": 1,
            "records_failed": 21,
            "expires_at": "2026-11-21T10:30:05.000Z",
            "reserved_until": null,
            "chunks_in_progress": 2,
            "chunks_pending": 1,
            "paused": false,
            "paused_timestamp": null,
            "paused_by": null,
        })
    );
}

#[test]
fn information_separates_what_failed() {
    let configuration = json!({
        "initial_workers": 10,
        "chunks_per_request": 1,
        "chunks_per_thread": 1,
        "runner_thread_count": 1,
        "acceptable_error_percentage": 0.0,
        "acceptable_record_error_percentage": 0.5,
        "early_stop": true,
        "priority": 0,
        "input_buffer_allocated_bytes": 70_000_000,
        "output_buffer_allocated_bytes": 80_000_000,
        "max_workers": 3_000,
        "max_input_in_mb": 70.0,
        "max_output_in_mb": 80.0,
        "output": ["total", "value_*"],
        "subservice": [],
        "version_by_timestamp": null,
        "call_purpose": "Async Batch Execution",
        "webhook_url": null,
    });
    let body = serde_json::to_value(InfoBody::new(&view(), None, RedriveLinks::default())).unwrap();
    assert_eq!(
        body,
        json!({
            "object": "batch",
            "id": "00000000-0000-0000-0000-000000000001",
            "data": {
                "service_id": "00000000-0000-0000-0000-000000000004",
                "version_id": "00000000-0000-0000-0000-000000000003",
                "version": "0.1.0",
                "compiler_version": "Millrace_v0.1.0",
                "correlation_id": "c-1",
                "source_system": null,
                "unique_record_key": "sales_id",
                "response_timestamp": "2026-11-21T10:00:06.500Z",
                "batch_status": "in_progress",
                "created_by": "ann",
                "created_timestamp": "2026-11-21T10:00:00.000Z",
                "updated_timestamp": "2026-11-21T10:00:05.000Z",
                "service_uri": "sales/SalesExample[0.1.0]",
                "summary": {
                    "chunks_submitted": 10,
                    "chunks_retried": 2,
                    "chunks_completed": 6,
                    "chunks_failed": 1,
                    "records_retried": 40,
                    "input_size_bytes": 5_000,
                    "output_size_bytes": 4_000,
                    "avg_compute_time_ms": 2,
                    "records_submitted": 200,
                    "records_failed": 21,
                    "records_completed": 119,
                    "compute_time_ms": 280,
                    "batch_time_ms": 6_500,
                },
                "stopped_timestamp": null,
                "paused": false,
                "paused_timestamp": null,
                "paused_by": null,
                "summary_total": null,
                "configuration": configuration,
            },
        })
    );
}

#[test]
fn creation_and_change_merge_description_and_status() {
    let view = view();
    let data = BatchData::new(&view);
    let status = StatusFields::new(&view, view.now, &clocks());
    let body = BatchBody { object: OBJECT, id: view.batch.id, data, meta: None, status };
    let text = serde_json::to_string(&body).unwrap();
    assert_eq!(text.matches("\"id\":").count(), 1, "a flattened field must not repeat another");
    let created: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&created["object"], &created["record_submitted"]), (&json!("batch"), &json!(200)));
    assert!(created.get("meta").is_none());
    assert_eq!(created["data"].as_object().unwrap().len(), 13);
    let changed = serde_json::to_value(BatchBody { meta: Some(body.data.clone()), ..body }).unwrap();
    assert_eq!(changed["meta"], changed["data"]);
}

#[test]
fn the_overview_shows_batches_in_short() {
    let body = serde_json::to_value(OverviewBatch::new(&view())).unwrap();
    assert_eq!(
        body,
        json!({
            "object": "batch",
            "id": "00000000-0000-0000-0000-000000000001",
            "data": {
                "pipeline_status": "running",
                "summary": {
                    "records_submitted": 200,
                    "records_failed": 21,
                    "records_completed": 119,
                    "compute_time_ms": 280,
                    "batch_time_ms": 6_500,
                },
                "response_timestamp": "2026-11-21T10:00:06.500Z",
                "batch_status": "in_progress",
                "created_by": "ann",
                "created_timestamp": "2026-11-21T10:00:00.000Z",
                "updated_timestamp": "2026-11-21T10:00:05.000Z",
                "service_uri": "sales/SalesExample[0.1.0]",
            },
        })
    );
}

#[test]
fn a_finished_batch_expires_with_its_results_and_a_closed_one_not_yet() {
    let mut closed = view();
    closed.batch.state = BatchState::Closed;
    closed.batch.closed_at = Some(at("2026-11-21T10:00:06Z"));
    assert_eq!(expires_at(&closed, &clocks()), None);
    assert_eq!(reserved_until(&closed, &clocks()), None);
    closed.batch.state = BatchState::Completed;
    closed.batch.finished_at = Some(at("2026-11-21T10:00:06Z"));
    assert_eq!(expires_at(&closed, &clocks()), Some(at("2026-11-22T10:00:06Z")));
    assert_eq!(reserved_until(&closed, &clocks()), Some(at("2026-11-21T10:02:06Z")));
    let released = BatchView {
        batch: Batch { released_at: Some(closed.now), ..closed.batch.clone() },
        ..closed.clone()
    };
    assert_eq!(reserved_until(&released, &clocks()), None);
    // The wall time ends with the batch.
    assert_eq!(Summary::new(&closed).batch_time_ms, 6_000);
    let dropped =
        BatchView { batch: Batch { dropped_at: Some(closed.now), ..closed.batch.clone() }, ..closed.clone() };
    assert_eq!(expires_at(&dropped, &clocks()), None);
    let status = StatusFields::new(&closed, closed.now, &clocks());
    assert_eq!((status.workers_in_use, status.chunks_in_progress), (0, 0));
}

#[test]
fn a_paused_batch_says_since_when_by_whom_and_until_when() {
    let mut paused = view();
    paused.batch.paused_at = Some(at("2026-11-21T10:00:06Z"));
    paused.batch.paused_by = Some("ann".to_owned());
    let told = |view: &BatchView| {
        let status = StatusFields::new(view, view.now, &clocks());
        let status = serde_json::to_value(status).unwrap();
        ["pipeline_status", "paused", "paused_timestamp", "paused_by", "expires_at"]
            .map(|name| status[name].clone())
    };
    let since = "2026-11-21T10:00:06.000Z";
    let expected = json!(["paused", true, since, "ann", "2026-11-22T10:00:06.000Z"]);
    assert_eq!(json!(told(&paused)), expected);
    paused.batch.state = BatchState::Closed;
    paused.batch.closed_at = Some(paused.now);
    assert_eq!(json!(told(&paused)), expected);
    let body = serde_json::to_value(InfoBody::new(&paused, None, RedriveLinks::default())).unwrap();
    let info = ["paused", "paused_timestamp", "paused_by"].map(|name| body["data"][name].clone());
    assert_eq!(json!(info), json!([true, since, "ann"]));
    // What an older worker left behind at the end means nothing.
    paused.batch.state = BatchState::Failed;
    paused.batch.finished_at = Some(paused.now);
    assert_eq!(told(&paused)[..4], [json!("closed"), json!(false), Value::Null, Value::Null]);
}

#[test]
fn chunks_and_an_empty_output_buffer_always_add_up() {
    let mut view = view();
    view.counters.output_bytes = 90_000_000;
    let status = StatusFields::new(&view, view.now, &clocks());
    assert_eq!(status.output_buffer_remaining_bytes, 0);
    assert_eq!(
        status.chunks_submitted,
        status.chunks_completed + status.chunks_in_progress + status.chunks_pending
    );
}
