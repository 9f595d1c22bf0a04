//! The life of batches beyond the protocol's happy path, end to end: terms that change, the early stop, the reaper's clocks,
//! budgets, and what is measured of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lifecycle {
    mod failed_work;
    mod metrics;
    mod quotas;
    mod reconciliation;
    mod redrive;
    mod stats;
    mod terms;

    use millrace_tests::Answer;
    use serde_json::{Value, json};

    /// A chunk of `records` records, each with the total `20 × 65 × 1.1`.
    pub fn chunk(id: &str, records: usize) -> Value {
        let mut inputs = vec![json!(["sales_id", "price", "quantity", "tax"])];
        inputs.extend((0..records).map(|record| json!([record, 20, 65, 0.1])));
        json!({"id": id, "data": {"inputs": inputs}})
    }

    /// A chunk that fails in a batch whose key is `sales_id`.
    pub fn keyless(id: &str) -> Value {
        json!({"id": id, "data": {"inputs": [["price"], [1], [2]]}})
    }

    pub fn chunks(chunks: &[Value]) -> Value {
        json!({"chunks": chunks})
    }

    pub fn refused(answer: &Answer, status: u16, code: &str) {
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
    }

    /// Promise 4, in every answer with a status.
    pub fn adds_up(status: &Value) {
        let number = |field: &str| status[field].as_i64().unwrap_or_else(|| panic!("no {field} in {status}"));
        assert_eq!(
            number("chunks_submitted"),
            number("chunks_completed") + number("chunks_in_progress") + number("chunks_pending"),
            "{status}"
        );
        assert!(number("chunks_pending") >= 0 && number("chunks_in_progress") >= 0, "{status}");
    }
}
