//! One job: its input, which in a recipe is stored nowhere, its output, its executions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::super::{Store, StoreError};
use super::super::graphs::Graphs;
use super::{Job, JobFailure, Worker, jobs};
use crate::model::recipe::{Data, Source};

/// A job with what it computes.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDetails {
    /// The job.
    pub job: Job,
    /// `{files, json}`. Before everything that the job depends on is there, it holds what is.
    pub input: Data,
    /// `{files, json}`, of a COMPLETED job.
    pub output: Option<Value>,
    /// Of its job type: priority and settings.
    pub configuration: Value,
    /// The evaluation limit of its revision, in seconds.
    pub timeout: Option<i64>,
    /// The job that does its work now.
    pub superseded_by_job_id: Option<i64>,
}

/// One try to run a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobExecution {
    /// Its number, from 1.
    pub exe_num: i32,
    /// Where it stands, or how it ended.
    pub status: String,
    /// Who worked on it.
    pub worker: Option<Worker>,
    /// Why it failed.
    pub error: Option<JobFailure>,
    /// When its row was made.
    pub created: DateTime<Utc>,
    /// When it was queued.
    pub queued: Option<DateTime<Utc>>,
    /// When a worker began.
    pub started: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// How long the evaluation alone took, in microseconds.
    pub seed_micros: Option<i64>,
}

impl Job {
    /// The current execution; none of a job that was never queued.
    pub fn execution(&self) -> Option<JobExecution> {
        (self.num_exes > 0).then(|| JobExecution {
            exe_num: self.num_exes,
            status: self.status.clone(),
            worker: self.worker.clone(),
            error: self.error.clone(),
            created: self.queued.unwrap_or(self.created),
            queued: self.queued,
            started: self.started,
            ended: self.ended,
            seed_micros: self.seed_micros,
        })
    }
}

impl Store {
    /// One job with its input and output.
    pub async fn job_details(&self, tenant_id: Uuid, id: i64) -> Result<Option<JobDetails>, StoreError> {
        let mut connection = self.control.acquire().await?;
        let Some(job) = jobs(&mut connection, tenant_id, &[id]).await?.pop() else { return Ok(None) };
        let row = sqlx::query!(
            r#"SELECT j.input, j.output, t.configuration, v.manifest #> '{job,timeout}' AS timeout,
                   (SELECT max(n.id) FROM jobs n LEFT JOIN recipe_batches h ON h.id = n.batch_id
                    WHERE n.superseded_job_id = j.id AND h.removed IS NULL) AS newer_id
               FROM jobs j JOIN job_types t ON t.id = j.job_type_id JOIN job_type_revisions v ON v.id = j.job_type_rev_id
               WHERE j.id = $1"#,
            id
        )
        .fetch_one(&mut *connection)
        .await?;
        let input = match (&job.recipe, job.node, row.input) {
            (_, _, Some(input)) => data(input, id)?,
            (Some((recipe_id, _)), Some(node), None) => node_input(&mut connection, *recipe_id, node).await?,
            _ => Data::default(),
        };
        Ok(Some(JobDetails {
            job,
            input,
            output: row.output,
            configuration: row.configuration,
            timeout: row.timeout.and_then(|timeout| timeout.as_i64()),
            superseded_by_job_id: row.newer_id,
        }))
    }

    /// The executions of a job, the newest first; `None` when the tenant has no such job.
    pub async fn job_executions(
        &self,
        tenant_id: Uuid,
        id: i64,
    ) -> Result<Option<(Job, Vec<JobExecution>)>, StoreError> {
        let mut connection = self.control.acquire().await?;
        let Some(job) = jobs(&mut connection, tenant_id, &[id]).await?.pop() else { return Ok(None) };
        let earlier = sqlx::query!(
            r#"SELECT x.exe_num, x.status, x.worker_id, x.worker_name, x.queued, x.started, x.ended, x.seed_micros,
                   x.error_detail, x.created, f.id AS "error_id?", f.name AS "error_name?", f.title AS "error_title?",
                   f.description AS "error_description?", f.category AS "error_category?",
                   f.should_be_retried AS "error_retried?", t.name AS "error_job_type?"
               FROM job_executions x
               LEFT JOIN job_errors f ON f.id = x.error_id
               LEFT JOIN job_types t ON t.id = f.job_type_id
               WHERE x.job_id = $1 AND x.exe_num < $2 ORDER BY x.exe_num DESC"#,
            id,
            job.num_exes
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut executions: Vec<JobExecution> = job.execution().into_iter().collect();
        executions.extend(earlier.into_iter().map(|row| {
            let error = match (row.error_id, row.error_name, row.error_category) {
                (Some(id), Some(name), Some(category)) => Some(JobFailure {
                    id,
                    name,
                    title: row.error_title.unwrap_or_default(),
                    description: row.error_description.unwrap_or_default(),
                    job_type_name: row.error_job_type,
                    category,
                    should_be_retried: row.error_retried.unwrap_or_default(),
                    detail: row.error_detail,
                }),
                _ => None,
            };
            JobExecution {
                exe_num: row.exe_num,
                status: row.status,
                worker: row.worker_id.map(|id| Worker { id, name: row.worker_name }),
                error,
                created: row.queued.unwrap_or(row.created),
                queued: row.queued,
                started: row.started,
                ended: row.ended,
                seed_micros: row.seed_micros,
            }
        }));
        Ok(Some((job, executions)))
    }
}

fn data(value: Value, job_id: i64) -> Result<Data, StoreError> {
    serde_json::from_value(value)
        .map_err(|_| StoreError::Corrupt(format!("job {job_id}: stored data cannot be read")))
}

/// What a node of a recipe gets, as far as it is there (contract 6.2 rule 3).
async fn node_input(connection: &mut PgConnection, recipe_id: i64, number: i16) -> Result<Data, StoreError> {
    let recipe = sqlx::query!("SELECT recipe_type_rev_id, input FROM recipes WHERE id = $1", recipe_id)
        .fetch_one(&mut *connection)
        .await?;
    let Some(input) = recipe.input else { return Ok(Data::default()) };
    let input: Data = serde_json::from_value(input)
        .map_err(|_| StoreError::Corrupt(format!("recipe {recipe_id}: its input cannot be read")))?;
    let graphs = Graphs::load(connection, &[recipe.recipe_type_rev_id]).await?;
    let graph = graphs.revision(recipe.recipe_type_rev_id)?;
    let index = graph.by_number(number).ok_or_else(|| {
        StoreError::Corrupt(format!("recipe {recipe_id}: its revision has no node {number}"))
    })?;
    let from: Vec<i16> = graph
        .node(index)
        .sources
        .iter()
        .filter_map(|(_, source)| match source {
            Source::JobOutput { node, .. } => Some(node.number()),
            Source::RecipeInput(_) => None,
        })
        .collect();
    let rows = sqlx::query!(
        r#"SELECT node AS "node!", output AS "output!" FROM (
               SELECT node, output FROM jobs WHERE recipe_id = $1 AND node = ANY($2) AND status = 'COMPLETED'
               UNION ALL
               SELECT l.node, o.output FROM recipe_links l JOIN jobs o ON o.id = l.job_id
               WHERE l.recipe_id = $1 AND l.node = ANY($2) AND o.status = 'COMPLETED'
           ) done WHERE output IS NOT NULL"#,
        recipe_id,
        &from
    )
    .fetch_all(&mut *connection)
    .await?;
    let outputs: HashMap<i16, Data> = rows
        .into_iter()
        .map(|row| Ok((row.node, data(row.output, recipe_id)?)))
        .collect::<Result<_, StoreError>>()?;
    Ok(graph.node_input(index, &input, |node| outputs.get(&node.number())))
}
