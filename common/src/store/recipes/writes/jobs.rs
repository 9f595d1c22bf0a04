//! Jobs: made, finished, queued, moved, superseded; executions that another one follows, put by.

use super::{NewRows, run, text};
use crate::model::recipe::running::{JobRow, JobWrite, PutBy, Running};
use crate::store::StoreError;
use crate::store::data::DataClient;

const FINISH_JOBS: &str = "
-- recipes: finish jobs
UPDATE jobs j SET status = n.status, num_exes = n.num_exes, priority = coalesce(n.priority, j.priority),
    queued = CASE WHEN n.priority IS NULL THEN j.queued ELSE $10 END, started = n.started, ended = $10,
    output = n.output::jsonb, error_id = n.error_id, error_detail = n.error_detail, seed_micros = n.seed_micros,
    worker_id = $11, worker_name = $12, last_status_change = $10, last_modified = $10
FROM unnest($1::int8[], $2::text[], $3::int4[], $4::int8[], $5::timestamptz[], $6::text[], $7::int8[], $8::text[],
            $9::int8[])
    AS n (id, status, num_exes, priority, started, output, error_id, error_detail, seed_micros)
WHERE j.id = n.id";

const QUEUE_JOBS: &str = "
-- recipes: queue jobs
UPDATE jobs j SET status = 'QUEUED', num_exes = n.num_exes, max_tries = n.max_tries, priority = n.priority, queued = $5,
    started = NULL, ended = NULL, output = NULL, error_id = NULL, error_detail = NULL, seed_micros = NULL, worker_id = NULL,
    worker_name = NULL, last_status_change = $5, last_modified = $5
FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int8[]) AS n (id, num_exes, max_tries, priority)
WHERE j.id = n.id";

const MOVE_JOBS: &str = "
-- recipes: move jobs
UPDATE jobs j SET status = n.status, started = coalesce(n.started, j.started), error_id = n.error_id,
    error_detail = n.error_detail, worker_id = n.worker_id, worker_name = n.worker_name, last_status_change = $8,
    last_modified = $8
FROM unnest($1::int8[], $2::text[], $3::timestamptz[], $4::int8[], $5::text[], $6::uuid[], $7::text[])
    AS n (id, status, started, error_id, error_detail, worker_id, worker_name)
WHERE j.id = n.id";

const SUPERSEDE_JOBS: &str = "
-- recipes: supersede jobs
UPDATE jobs SET is_superseded = true, superseded = $2, last_modified = $2 WHERE id = ANY($1)";

const PUT_BY_STORED: &str = "
-- recipes: put executions by
INSERT INTO job_executions (job_id, exe_num, status, worker_id, worker_name, queued, started, ended, seed_micros, error_id,
    error_detail)
SELECT id, num_exes, status, worker_id, worker_name, queued, started, ended, seed_micros, error_id, error_detail
FROM jobs WHERE id = ANY($1)
ON CONFLICT DO NOTHING";

const PUT_BY_FAILED: &str = "
-- recipes: put failed executions by
INSERT INTO job_executions (job_id, exe_num, status, worker_id, worker_name, queued, started, ended, seed_micros, error_id,
    error_detail)
SELECT n.job_id, n.exe_num, 'FAILED', $7::uuid, $8::text, j.queued, coalesce(n.started, j.started), $9::timestamptz, n.seed_micros, n.error_id,
    n.error_detail
FROM unnest($1::int8[], $2::int4[], $3::timestamptz[], $4::int8[], $5::int8[], $6::text[])
    AS n (job_id, exe_num, started, seed_micros, error_id, error_detail)
JOIN jobs j ON j.id = n.job_id
ON CONFLICT DO NOTHING";

/// Writes what changed in jobs.
pub(super) async fn write(client: &DataClient, running: &Running, new: &NewRows) -> Result<(), StoreError> {
    let mut all: Vec<&JobRow> = running.jobs.values().collect();
    all.sort_unstable_by_key(|row| row.id);
    put_executions_by(client, running, &all).await?;
    new.copy_jobs(client).await?;
    let with = |write: JobWrite| -> Vec<&JobRow> {
        all.iter().copied().filter(|row| row.before.is_some() && row.write == write).collect()
    };
    macro_rules! column {
        ($rows:ident, $row:ident => $value:expr) => {
            &$rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let finished = with(JobWrite::Finish);
    if !finished.is_empty() {
        let outputs: Vec<Option<String>> = finished
            .iter()
            .map(|row| row.report.output.as_deref().map(text).transpose())
            .collect::<Result<_, _>>()?;
        let worker = finished.iter().find_map(|row| row.report.worker.as_ref());
        run(
            client,
            FINISH_JOBS,
            &[
                column!(finished, j => j.id),
                column!(finished, j => j.job.status.as_str()),
                column!(finished, j => j.job.num_exes),
                column!(finished, j => j.priority),
                column!(finished, j => j.report.started),
                &outputs,
                column!(finished, j => j.report.error.as_ref().map(|(id, _)| *id)),
                column!(finished, j => j.report.error.as_ref().map(|(_, detail)| detail.as_str())),
                column!(finished, j => j.report.seed_micros),
                &running.at(),
                &worker.map(|worker| worker.id),
                &worker.map(|worker| worker.name.as_ref()),
            ],
        )
        .await?;
    }
    let queued = with(JobWrite::Queue);
    if !queued.is_empty() {
        run(
            client,
            QUEUE_JOBS,
            &[
                column!(queued, j => j.id),
                column!(queued, j => j.job.num_exes),
                column!(queued, j => j.job.max_tries),
                column!(queued, j => j.priority),
                &running.at(),
            ],
        )
        .await?;
    }
    let moved = with(JobWrite::Move);
    if !moved.is_empty() {
        let worker = |row: &JobRow| row.report.worker.as_ref().map(|worker| worker.id);
        run(
            client,
            MOVE_JOBS,
            &[
                column!(moved, j => j.id),
                column!(moved, j => j.job.status.as_str()),
                column!(moved, j => j.report.started),
                column!(moved, j => j.report.error.as_ref().map(|(id, _)| *id)),
                column!(moved, j => j.report.error.as_ref().map(|(_, detail)| detail.as_str())),
                column!(moved, j => worker(j)),
                column!(moved, j => j.report.worker.as_ref().map(|worker| worker.name.as_ref())),
                &running.at(),
            ],
        )
        .await?;
    }
    let superseded: Vec<i64> =
        all.iter().filter(|row| row.superseded_now && row.before.is_some()).map(|row| row.id).collect();
    if !superseded.is_empty() {
        run(client, SUPERSEDE_JOBS, &[&superseded, &running.at()]).await?;
    }
    Ok(())
}

async fn put_executions_by(
    client: &DataClient,
    running: &Running,
    rows: &[&JobRow],
) -> Result<(), StoreError> {
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for row in rows {
        match &row.put_by {
            Some(PutBy::AsStored) => stored.push(row.id),
            Some(PutBy::Failed { exe_num, report }) => failed.push((row.id, *exe_num, report)),
            None => {}
        }
    }
    if !stored.is_empty() {
        run(client, PUT_BY_STORED, &[&stored]).await?;
    }
    if !failed.is_empty() {
        let worker = failed.iter().find_map(|(_, _, report)| report.worker.as_ref());
        macro_rules! column {
            ($row:pat => $value:expr) => {
                &failed.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        run(
            client,
            PUT_BY_FAILED,
            &[
                column!((id, _, _) => *id),
                column!((_, exe_num, _) => *exe_num),
                column!((_, _, report) => report.started),
                column!((_, _, report) => report.seed_micros),
                column!((_, _, report) => report.error.as_ref().map(|(id, _)| *id)),
                column!((_, _, report) => report.error.as_ref().map(|(_, detail)| detail.as_str())),
                &worker.map(|worker| worker.id),
                &worker.map(|worker| worker.name.as_ref()),
                &running.at(),
            ],
        )
        .await?;
    }
    Ok(())
}
