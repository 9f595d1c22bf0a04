//! Whether a batch's counters, budgets, rows and lane agree with each other: promises 3 and 4.

use anyhow::{Result, bail, ensure};
use millrace_common::broker::{LaneId, Topology};
use millrace_common::config::{BrokerConfig, Secret};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::PATIENCE;
use crate::fleet::Fleet;
use crate::wait::wait_until;

/// Each column is a counter and what the rows say; both must be equal.
const PAIRS: &str = "
SELECT v.state, v.dropped_at IS NOT NULL AS dropped, v.chunks_pulled,
       ARRAY['chunks_submitted', 'chunks_queued', 'records_submitted', 'chunks_completed', 'chunks_failed', 'records_completed',
             'chunks_pulled', 'input_bytes', 'output_bytes'] AS names,
       ARRAY[v.chunks_submitted, v.chunks_queued, v.records_submitted, v.chunks_completed, v.chunks_failed, v.records_completed,
             v.chunks_pulled, v.input_bytes, v.output_bytes] AS counted,
       ARRAY[c.chunks, c.queued, c.records, r.completed, r.failed, r.records,
             r.pulled, c.waiting_bytes, r.unpulled_bytes] AS found
FROM batch_views v
CROSS JOIN LATERAL (
    SELECT count(*) AS chunks, count(c.queued_at) AS queued, coalesce(sum(c.records), 0)::bigint AS records,
           coalesce(sum(c.bytes) FILTER (WHERE r.chunk_no IS NULL), 0)::bigint AS waiting_bytes
    FROM chunks c LEFT JOIN results r ON r.day = c.day AND r.chunk_no = c.chunk_no
    WHERE c.batch_id = v.id
) c
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE outcome = 'completed') AS completed, count(*) FILTER (WHERE outcome = 'failed') AS failed,
           coalesce(sum(records), 0)::bigint AS records, count(pulled_at) AS pulled,
           coalesce(sum(bytes) FILTER (WHERE pulled_at IS NULL), 0)::bigint AS unpulled_bytes
    FROM results WHERE batch_id = v.id AND outcome <> 'withdrawn'
) r
WHERE v.id = $1";

/// Compares every counter and budget of a batch that is at rest with the sum of its rows. Those of a batch whose results were
/// dropped (cancel, expiry) must be zero where they are budgets.
///
/// # Errors
///
/// What does not agree, by name.
pub async fn reconcile(fleet: &Fleet, batch: &str) -> Result<()> {
    let database = fleet.database().connect().await?;
    let id = Uuid::parse_str(batch)?;
    // Commits that were under way when the last answer came may still end.
    wait_until("counters and rows agree", PATIENCE, || async {
        let row = database.query_one(PAIRS, &[&id]).await?;
        let wrong = disagreements(&row);
        if wrong.is_empty() { Ok(Some(())) } else { bail!("batch {batch}: {}", wrong.join("; ")) }
    })
    .await?;
    let negative = database
        .query_one(
            "SELECT count(*) FROM batch_views WHERE id = $1
               AND least(input_bytes, output_bytes, chunks_submitted - chunks_completed - chunks_failed) < 0",
            &[&id],
        )
        .await?;
    ensure!(negative.get::<_, i64>(0) == 0, "a budget of batch {batch} is below zero");
    Ok(())
}

fn disagreements(row: &Row) -> Vec<String> {
    let names: Vec<String> = row.get("names");
    let (counted, mut found): (Vec<i64>, Vec<i64>) = (row.get("counted"), row.get("found"));
    if row.get("dropped") {
        for (name, found) in names.iter().zip(&mut found) {
            if name.ends_with("_bytes") {
                *found = 0;
            }
        }
    }
    let pairs = names.iter().zip(counted.iter().zip(&found));
    pairs
        .filter(|(_, (counted, found))| counted != found)
        .map(|(name, (counted, found))| format!("{name} is {counted}, its rows make {found}"))
        .collect()
}

/// Waits until the lane of a batch that has ended is back in the pool with nothing in it, and no dead letter waits.
///
/// # Errors
///
/// When that does not happen.
pub async fn released(fleet: &Fleet, batch: &str) -> Result<()> {
    let database = fleet.database().connect().await?;
    let id = Uuid::parse_str(batch)?;
    wait_until("the batch's lane is free", PATIENCE, || async {
        let leased = database.query_opt("SELECT 1 FROM lanes WHERE batch_id = $1", &[&id]).await?;
        Ok(leased.is_none().then_some(()))
    })
    .await?;
    let broker = broker(fleet);
    let lanes = database.query("SELECT id FROM lanes WHERE batch_id IS NULL AND declared", &[]).await?;
    for lane in lanes {
        let lane = LaneId(lane.get(0));
        wait_until("a free lane is empty", PATIENCE, || async {
            let depth = broker.lane_depth(lane).await?;
            if depth.ready == 0 {
                Ok(Some(()))
            } else {
                bail!("{} messages wait in lane {lane}", depth.ready)
            }
        })
        .await?;
    }
    wait_until("no dead letter waits", PATIENCE, || async {
        let depth = broker.dead_depth().await?;
        if depth.ready == 0 { Ok(Some(())) } else { bail!("{} dead letters wait", depth.ready) }
    })
    .await
}

/// The broker as the fleet's processes see it, without a proxy.
pub fn broker(fleet: &Fleet) -> Topology {
    Topology::new(&BrokerConfig {
        url: Secret::new(fleet.services().broker_url.clone()),
        prefix: fleet.prefix().to_owned(),
        ..BrokerConfig::default()
    })
}
