//! What becomes of jobs: results, and what callers ask for (data plane). One transaction each, which does nothing when it is
//! done again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::bundles::{FinishedBundle, JobOutcome};
use super::publication::BundleRef;
use super::transaction::transaction;
use crate::model::recipe::running::{Report, Running, WorkerName};
use crate::model::recipe::{JobEvent, JobStatus};
use crate::store::data::DataClient;
use crate::store::retry::retrying;
use crate::store::{Store, StoreError, WorkerSlot};

/// What a transaction did.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// Bundles to publish.
    pub bundles: Vec<BundleRef>,
    /// Jobs that completed.
    pub completed: u64,
    /// Jobs that failed for good.
    pub failed: u64,
}

const TAKE: &str = "
-- bundles: take
DELETE FROM job_bundles WHERE id IN (SELECT id FROM job_bundles WHERE id = ANY($1) ORDER BY id FOR UPDATE) RETURNING id";

const HOLD: &str = "
-- bundles: hold
SELECT FROM job_bundles WHERE id = $1 FOR UPDATE";

const ERRORS: &str = "
-- recipes: built-in errors
SELECT name, id FROM job_errors WHERE job_type_id IS NULL";

/// The built-in error of a job that is canceled because of its input.
const INVALID_INPUT: &str = "invalid-input";

impl Store {
    /// Commits bundles: their jobs, what follows in their recipes, counters. A bundle that somebody else committed counts for
    /// nothing, nor does a result of an execution that is not the current one.
    pub async fn finish_bundles(
        &self,
        slot: WorkerSlot,
        bundles: &[FinishedBundle],
    ) -> Result<Settled, StoreError> {
        retrying("finish_bundles", || async {
            let client = self.data_client().await?;
            transaction(&client, "bundles.commit", self.finish(&client, slot, bundles)).await
        })
        .await
    }

    /// Notes that a worker is at these executions of jobs of a bundle: those that wait become RUNNING. Of a bundle that was
    /// committed nothing is noted.
    pub async fn start_bundle(
        &self,
        slot: WorkerSlot,
        id: i64,
        jobs: &[(i64, i32)],
        worker: &WorkerName,
        started: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        retrying("start_bundle", || async {
            let client = self.data_client().await?;
            transaction(&client, "bundles.start", async {
                let statement = client.prepare_cached(HOLD).await?;
                if client.query_opt(&statement, &[&id]).await?.is_none() {
                    return Ok(());
                }
                let ids: Vec<i64> = jobs.iter().map(|(job, _)| *job).collect();
                let mut running = Box::pin(self.load_of_jobs(&client, &ids)).await?;
                for (job, exe_num) in jobs {
                    let report =
                        Report { started: Some(started), worker: Some(worker.clone()), ..Report::default() };
                    running.happen(*job, JobEvent::Start { exe_num: *exe_num }, report)?;
                }
                Box::pin(self.settle(&client, slot, running)).await?;
                Ok(())
            })
            .await
        })
        .await
    }

    async fn finish(
        &self,
        client: &DataClient,
        slot: WorkerSlot,
        bundles: &[FinishedBundle],
    ) -> Result<Settled, StoreError> {
        let ids: Vec<i64> = bundles.iter().map(|bundle| bundle.id).collect();
        let statement = client.prepare_cached(TAKE).await?;
        let mut mine = Vec::new();
        for row in client.query(&statement, &[&ids]).await? {
            mine.push(row.try_get::<_, i64>(0)?);
        }
        let bundles: Vec<&FinishedBundle> =
            bundles.iter().filter(|bundle| mine.contains(&bundle.id)).collect();
        let jobs: Vec<i64> =
            bundles.iter().flat_map(|bundle| &bundle.results).map(|result| result.job_id).collect();
        if jobs.is_empty() {
            return Ok(Settled::default());
        }
        let mut running = Box::pin(self.load_of_jobs(client, &jobs)).await?;
        let errors = built_in_errors(client, &bundles).await?;
        for bundle in bundles {
            for (place, output, seed_micros) in &bundle.foreseen {
                let report = Report {
                    output: Some(output.clone()),
                    error: None,
                    started: Some(bundle.started),
                    seed_micros: Some(*seed_micros),
                    worker: Some(bundle.worker.clone()),
                };
                running.foreseen.insert(*place, report);
            }
            for result in &bundle.results {
                let exe_num = result.exe_num;
                let mut report = Report {
                    started: Some(bundle.started),
                    seed_micros: Some(result.seed_micros),
                    worker: Some(bundle.worker.clone()),
                    ..Report::default()
                };
                let event = match &result.outcome {
                    JobOutcome::Completed(output) => {
                        report.output = Some(output.clone());
                        JobEvent::Succeed { exe_num }
                    }
                    JobOutcome::Refused(detail) => {
                        let error = errors.get(INVALID_INPUT).map(|id| (*id, detail.clone()));
                        report = Report { error, ..Report::default() };
                        JobEvent::RefuseInput { exe_num }
                    }
                    JobOutcome::Failed { error, detail, retryable } => {
                        report.error = errors.get(*error).map(|id| (*id, detail.clone()));
                        JobEvent::Fail { exe_num, retryable: *retryable }
                    }
                };
                running.happen(result.job_id, event, report)?;
            }
        }
        Box::pin(self.settle(client, slot, running)).await
    }

    /// Carries out what follows and writes it.
    pub(super) async fn settle(
        &self,
        client: &DataClient,
        slot: WorkerSlot,
        mut running: Running,
    ) -> Result<Settled, StoreError> {
        self.reserve(client, &mut running).await?;
        running.settle()?;
        let bundles = Box::pin(self.write(client, slot, &running)).await?;
        let ended = |status: JobStatus| {
            let changed = |row: &&crate::model::recipe::running::JobRow| {
                row.job.status == status && row.before != Some(status) && row.before.is_some()
            };
            running.jobs.values().filter(changed).count() as u64
        };
        Ok(Settled { bundles, completed: ended(JobStatus::Completed), failed: ended(JobStatus::Failed) })
    }
}

async fn built_in_errors(
    client: &DataClient,
    bundles: &[&FinishedBundle],
) -> Result<HashMap<String, i64>, StoreError> {
    let mut results = bundles.iter().flat_map(|bundle| &bundle.results);
    let mut errors = HashMap::new();
    if results.any(|result| !matches!(result.outcome, JobOutcome::Completed(_))) {
        let statement = client.prepare_cached(ERRORS).await?;
        for row in client.query(&statement, &[]).await? {
            errors.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(errors)
}
