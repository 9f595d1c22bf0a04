//! Counters of batches and of their nodes.

use super::run;
use crate::model::recipe::running::Running;
use crate::model::recipe::{BatchCounts, JobCounts, NodeMetrics};
use crate::store::data::DataClient;
use crate::store::{StoreError, WorkerSlot};

const COUNT_BATCHES: &str = "
-- recipes: count
INSERT INTO recipe_batch_counters AS c (batch_id, slot, jobs_pending, jobs_blocked, jobs_queued, jobs_running, jobs_failed,
    jobs_completed, jobs_canceled, recipes_total, recipes_completed, touched_at)
SELECT batch_id, $2::int2, pending, blocked, queued, running, failed, completed, canceled, total, done, $12::timestamptz
FROM unnest($1::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
            $11::int8[])
    AS n (batch_id, pending, blocked, queued, running, failed, completed, canceled, total, done)
ON CONFLICT (batch_id, slot) DO UPDATE SET jobs_pending = c.jobs_pending + excluded.jobs_pending,
    jobs_blocked = c.jobs_blocked + excluded.jobs_blocked, jobs_queued = c.jobs_queued + excluded.jobs_queued,
    jobs_running = c.jobs_running + excluded.jobs_running, jobs_failed = c.jobs_failed + excluded.jobs_failed,
    jobs_completed = c.jobs_completed + excluded.jobs_completed, jobs_canceled = c.jobs_canceled + excluded.jobs_canceled,
    recipes_total = c.recipes_total + excluded.recipes_total,
    recipes_completed = c.recipes_completed + excluded.recipes_completed, touched_at = excluded.touched_at";

const COUNT_NODES: &str = "
-- recipes: count nodes
INSERT INTO recipe_batch_nodes AS c (batch_id, node_name, slot, jobs_pending, jobs_blocked, jobs_queued, jobs_running,
    jobs_failed, jobs_completed, jobs_canceled, job_count, job_sum, job_min, job_max, seed_count, seed_sum, seed_min, seed_max)
SELECT batch_id, node_name, $3::int2, pending, blocked, queued, running, failed, completed, canceled, job_count, job_sum,
    CASE WHEN job_count > 0 THEN job_min END, CASE WHEN job_count > 0 THEN job_max END, seed_count, seed_sum,
    CASE WHEN seed_count > 0 THEN seed_min END, CASE WHEN seed_count > 0 THEN seed_max END
FROM unnest($1::int8[], $2::text[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
            $11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int8[], $16::int8[], $17::int8[], $18::int8[])
    AS n (batch_id, node_name, pending, blocked, queued, running, failed, completed, canceled, job_count, job_sum, job_min,
          job_max, seed_count, seed_sum, seed_min, seed_max)
ON CONFLICT (batch_id, node_name, slot) DO UPDATE SET jobs_pending = c.jobs_pending + excluded.jobs_pending,
    jobs_blocked = c.jobs_blocked + excluded.jobs_blocked, jobs_queued = c.jobs_queued + excluded.jobs_queued,
    jobs_running = c.jobs_running + excluded.jobs_running, jobs_failed = c.jobs_failed + excluded.jobs_failed,
    jobs_completed = c.jobs_completed + excluded.jobs_completed, jobs_canceled = c.jobs_canceled + excluded.jobs_canceled,
    job_count = c.job_count + excluded.job_count, job_sum = c.job_sum + excluded.job_sum,
    job_min = least(c.job_min, excluded.job_min), job_max = greatest(c.job_max, excluded.job_max),
    seed_count = c.seed_count + excluded.seed_count, seed_sum = c.seed_sum + excluded.seed_sum,
    seed_min = least(c.seed_min, excluded.seed_min), seed_max = greatest(c.seed_max, excluded.seed_max)";

/// Adds what changed, in this slot.
pub(super) async fn write(
    client: &DataClient,
    slot: WorkerSlot,
    running: &Running,
) -> Result<(), StoreError> {
    let counted = running.counted();
    let slot = slot.number();
    if !counted.batches.is_empty() {
        let batches: Vec<(i64, BatchCounts)> = counted.batches.into_iter().collect();
        let jobs = |count: fn(&JobCounts) -> i64| -> Vec<i64> {
            batches.iter().map(|(_, counts)| count(&counts.jobs)).collect()
        };
        run(
            client,
            COUNT_BATCHES,
            &[
                &batches.iter().map(|(batch, _)| *batch).collect::<Vec<_>>(),
                &slot,
                &jobs(|counts| counts.pending),
                &jobs(|counts| counts.blocked),
                &jobs(|counts| counts.queued),
                &jobs(|counts| counts.running),
                &jobs(|counts| counts.failed),
                &jobs(|counts| counts.completed),
                &jobs(|counts| counts.canceled),
                &batches.iter().map(|(_, counts)| counts.recipes_total).collect::<Vec<_>>(),
                &batches.iter().map(|(_, counts)| counts.recipes_completed).collect::<Vec<_>>(),
                &running.at(),
            ],
        )
        .await?;
    }
    if !counted.nodes.is_empty() {
        let nodes: Vec<_> = counted.nodes.into_iter().collect();
        let column = |value: fn(&NodeMetrics) -> i64| -> Vec<i64> {
            nodes.iter().map(|(_, metrics)| value(metrics)).collect()
        };
        run(
            client,
            COUNT_NODES,
            &[
                &nodes.iter().map(|((batch, _), _)| *batch).collect::<Vec<_>>(),
                &nodes.iter().map(|((_, name), _)| name.as_ref()).collect::<Vec<&str>>(),
                &slot,
                &column(|node| node.jobs.pending),
                &column(|node| node.jobs.blocked),
                &column(|node| node.jobs.queued),
                &column(|node| node.jobs.running),
                &column(|node| node.jobs.failed),
                &column(|node| node.jobs.completed),
                &column(|node| node.jobs.canceled),
                &column(|node| node.job.count),
                &column(|node| node.job.sum),
                &column(|node| node.job.min),
                &column(|node| node.job.max),
                &column(|node| node.seed.count),
                &column(|node| node.seed.sum),
                &column(|node| node.seed.min),
                &column(|node| node.seed.max),
            ],
        )
        .await?;
    }
    Ok(())
}
