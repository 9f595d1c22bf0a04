//! Jobs as they are answered (scale-v6 5.6).

use millrace_common::store::recipes::{Job, JobDetails, JobExecution, JobFailure, Worker};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::v6::http::{datetime, duration};
use crate::v6::recipes::RecipeBase;
use crate::v6::wire::{
    DataDocument, EventAnswer, Id, JobTypeAnswerBase, JobTypeRevisionBase, RecipeBatchBase, event_details,
};

/// Who worked on a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobNode {
    /// The worker.
    pub id: Uuid,
    /// Its name.
    pub hostname: Option<String>,
}

impl From<Worker> for JobNode {
    fn from(worker: Worker) -> Self {
        Self { id: worker.id, hostname: worker.name }
    }
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobErrorAnswer {
    /// The kind of error.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// The job type whose manifest names it.
    pub job_type_name: Option<String>,
    /// `SYSTEM`, `DATA` or `ALGORITHM`
    pub category: String,
    /// Whether it is one of Millrace's own.
    pub is_builtin: bool,
    /// Whether another try can help.
    pub should_be_retried: bool,
    /// What happened this time.
    pub detail: Option<String>,
}

impl From<JobFailure> for JobErrorAnswer {
    fn from(failure: JobFailure) -> Self {
        Self {
            id: failure.id,
            name: failure.name,
            title: failure.title,
            description: failure.description,
            is_builtin: failure.job_type_name.is_none(),
            job_type_name: failure.job_type_name,
            category: failure.category,
            should_be_retried: failure.should_be_retried,
            detail: failure.detail,
        }
    }
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobAnswer {
    /// The job.
    pub id: i64,
    /// What it runs.
    pub job_type: JobTypeAnswerBase,
    /// The revision of it.
    pub job_type_rev: JobTypeRevisionBase,
    /// Why it was created.
    pub event: EventAnswer,
    /// The recipe that it was created in.
    pub recipe: Option<RecipeBase>,
    /// The batch that it was created for.
    pub batch: Option<RecipeBatchBase>,
    /// Whether a newer job does its work.
    pub is_superseded: bool,
    /// The job whose work it does again.
    pub superseded_job: Option<Id>,
    /// `PENDING`, `BLOCKED`, `QUEUED`, `RUNNING`, `FAILED`, `COMPLETED` or `CANCELED`
    pub status: String,
    /// Who worked on it last.
    pub node: Option<JobNode>,
    /// Why it failed.
    pub error: Option<JobErrorAnswer>,
    /// How many executions it may have.
    pub max_tries: i32,
    /// How many it had, the current one included.
    pub num_exes: i32,
    /// Always `{}`.
    #[schema(value_type = Object)]
    pub input_files: Value,
    /// Always null.
    pub input_file_size: Option<f64>,
    /// Always null.
    pub source_started: Option<String>,
    /// Always null.
    pub source_ended: Option<String>,
    /// Always null.
    pub source_sensor_class: Option<String>,
    /// Always null.
    pub source_sensor: Option<String>,
    /// Always null.
    pub source_collection: Option<String>,
    /// Always null.
    pub source_task: Option<String>,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it was queued last.
    #[schema(format = DateTime)]
    pub queued: Option<String>,
    /// When a worker began.
    #[schema(format = DateTime)]
    pub started: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub ended: Option<String>,
    /// When the status changed last.
    #[schema(format = DateTime)]
    pub last_status_change: String,
    /// When it was superseded.
    #[schema(format = DateTime)]
    pub superseded: Option<String>,
    /// When it changed last.
    #[schema(format = DateTime)]
    pub last_modified: String,
}

impl From<Job> for JobAnswer {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            job_type: job.job_type.into(),
            job_type_rev: job.revision.into(),
            event: (&job.event).into(),
            recipe: job.recipe.map(|(id, recipe_type)| RecipeBase { id, recipe_type: recipe_type.into() }),
            batch: job.batch.map(Into::into),
            is_superseded: job.is_superseded,
            superseded_job: job.superseded_job_id.map(|id| Id { id }),
            status: job.status,
            node: job.worker.map(Into::into),
            error: job.error.map(Into::into),
            max_tries: job.max_tries,
            num_exes: job.num_exes,
            input_files: json!({}),
            input_file_size: None,
            source_started: None,
            source_ended: None,
            source_sensor_class: None,
            source_sensor: None,
            source_collection: None,
            source_task: None,
            created: datetime(job.created),
            queued: job.queued.map(datetime),
            started: job.started.map(datetime),
            ended: job.ended.map(datetime),
            last_status_change: datetime(job.last_status_change),
            superseded: job.superseded.map(datetime),
            last_modified: datetime(job.last_modified),
        }
    }
}

/// A job with what it computes.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobDetailsAnswer {
    /// As in lists; `event` has `description` as well.
    #[serde(flatten)]
    pub job: JobAnswer,
    /// Before everything that the job depends on is there, it holds what is.
    #[schema(value_type = DataDocument)]
    pub input: Value,
    /// Of a completed job.
    #[schema(value_type = Option<DataDocument>)]
    pub output: Option<Value>,
    /// Of its job type, with the `priority` that it was queued with last.
    #[schema(value_type = Object)]
    pub configuration: Value,
    /// Always `{}`.
    #[schema(value_type = Object)]
    pub resources: Value,
    /// The current execution.
    pub execution: Option<JobExecutionAnswer>,
    /// The job that does its work now.
    pub superseded_by_job: Option<Id>,
}

/// One try to run a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobExecutionAnswer {
    /// Its number, from 1.
    pub exe_num: i32,
    /// Where it stands, or how it ended.
    pub status: String,
    /// The job.
    pub job: Id,
    /// What it runs.
    pub job_type: JobTypeAnswerBase,
    /// Who worked on it.
    pub node: Option<JobNode>,
    /// Why it failed.
    pub error: Option<JobErrorAnswer>,
    /// Always null.
    pub cluster_id: Option<String>,
    /// Always null.
    pub input_file_size: Option<f64>,
    /// How long the evaluation alone took, as an ISO-8601 duration.
    pub seed_duration: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it was queued.
    #[schema(format = DateTime)]
    pub queued: Option<String>,
    /// When a worker began.
    #[schema(format = DateTime)]
    pub started: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub ended: Option<String>,
}

impl JobExecutionAnswer {
    pub(super) fn new(job: &Job, execution: JobExecution) -> Self {
        Self {
            exe_num: execution.exe_num,
            status: execution.status,
            job: Id { id: job.id },
            job_type: job.job_type.clone().into(),
            node: execution.worker.map(Into::into),
            error: execution.error.map(Into::into),
            cluster_id: None,
            input_file_size: None,
            seed_duration: execution.seed_micros.map(duration),
            created: datetime(execution.created),
            queued: execution.queued.map(datetime),
            started: execution.started.map(datetime),
            ended: execution.ended.map(datetime),
        }
    }
}

/// The details of a job.
pub(super) fn details(found: JobDetails) -> Value {
    let event = event_details(&found.job.event);
    let mut configuration = found.configuration;
    if let (Some(priority), Some(map)) = (found.job.priority, configuration.as_object_mut()) {
        map.insert("priority".to_owned(), json!(priority));
    }
    let execution = found.job.execution().map(|execution| JobExecutionAnswer::new(&found.job, execution));
    let mut answer = json!(JobDetailsAnswer {
        input: json!(found.input),
        output: found.output,
        configuration,
        resources: json!({}),
        execution,
        superseded_by_job: found.superseded_by_job_id.map(|id| Id { id }),
        job: found.job.into(),
    });
    answer["event"] = event;
    answer
}
