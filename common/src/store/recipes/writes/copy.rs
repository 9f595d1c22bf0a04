//! New recipes and jobs, which are many: by COPY, in the binary form that the database stores fastest.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::types::{IsNull, Json, ToSql, Type};

use crate::model::recipe::JobStatus;
use crate::model::recipe::running::{JobRow, RecipeRow, Running};
use crate::store::StoreError;
use crate::store::data::DataClient;

const COPY_RECIPES: &str = "
-- recipes: copy
COPY recipes (id, tenant_id, batch_id, recipe_type_id, recipe_type_rev_id, event_id, member_id, source_recipe_id,
    parent_recipe_id, parent_node, root_recipe_id, superseded_recipe_id, root_superseded_recipe_id, input, input_hash,
    is_blocked, is_completed, completed, created, last_modified) FROM STDIN (FORMAT binary)";

const RECIPE: [Type; 20] = [
    Type::INT8,
    Type::UUID,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT2,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::JSONB,
    Type::BYTEA,
    Type::BOOL,
    Type::BOOL,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
];

const COPY_JOBS: &str = "
-- recipes: copy jobs
COPY jobs (id, tenant_id, batch_id, recipe_id, node, job_type_id, job_type_rev_id, event_id, status, priority, num_exes,
    max_tries, superseded_job_id, input, output, queued, started, ended, seed_micros, worker_id, worker_name, created,
    last_status_change, last_modified) FROM STDIN (FORMAT binary)";

const JOB: [Type; 24] = [
    Type::INT8,
    Type::UUID,
    Type::INT8,
    Type::INT8,
    Type::INT2,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::INT8,
    Type::INT4,
    Type::INT4,
    Type::INT8,
    Type::JSONB,
    Type::JSONB,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::INT8,
    Type::UUID,
    Type::TEXT,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
];

/// What begins such a file: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Bytes of a message.
const MESSAGE: usize = 65_536;

/// Every new row, encoded.
#[derive(Debug)]
pub(in crate::store::recipes) struct NewRows {
    recipes: Option<Bytes>,
    jobs: Option<Bytes>,
}

impl NewRows {
    /// Encodes the rows that do not exist yet.
    pub(in crate::store::recipes) fn of(running: &Running) -> Result<Self, StoreError> {
        let (mut recipes, mut jobs) = (Rows::new(&RECIPE), Rows::new(&JOB));
        for recipe in running.recipes.values().filter(|recipe| !recipe.stored && recipe.changed) {
            push_recipe(&mut recipes, recipe, running)?;
        }
        let mut new: Vec<&JobRow> = running.jobs.values().filter(|row| row.before.is_none()).collect();
        new.sort_unstable_by_key(|row| row.id);
        for row in new {
            push_job(&mut jobs, row, running)?;
        }
        Ok(Self { recipes: recipes.finish(), jobs: jobs.finish() })
    }

    /// Stores the recipes.
    pub(super) async fn copy_recipes(&self, client: &DataClient) -> Result<(), StoreError> {
        copy(client, COPY_RECIPES, self.recipes.as_ref()).await
    }

    /// Stores the jobs.
    pub(super) async fn copy_jobs(&self, client: &DataClient) -> Result<(), StoreError> {
        copy(client, COPY_JOBS, self.jobs.as_ref()).await
    }
}

fn push_recipe(rows: &mut Rows, recipe: &RecipeRow, running: &Running) -> Result<(), StoreError> {
    let at = running.at();
    rows.push(&[
        &recipe.id,
        &recipe.tenant_id,
        &recipe.batch_id,
        &recipe.revision.recipe_type_id,
        &recipe.revision.id,
        &recipe.event_id,
        &recipe.member_id,
        &recipe.source_recipe_id,
        &recipe.parent.map(|(parent, _)| parent),
        &recipe.parent.map(|(_, node)| node.number()),
        &recipe.root_id,
        &recipe.superseded_recipe_id,
        &recipe.root_superseded_recipe_id,
        &recipe.input.as_ref().map(Json),
        &recipe.input_hash.as_ref().map(|hash| hash.0.as_slice()),
        &recipe.is_blocked,
        &recipe.is_completed,
        &recipe.is_completed.then_some(at),
        &at,
        &at,
    ])
}

/// A new job that has ended was evaluated before it was made.
fn push_job(rows: &mut Rows, row: &JobRow, running: &Running) -> Result<(), StoreError> {
    let at = running.at();
    let worker = row.report.worker.as_ref();
    rows.push(&[
        &row.id,
        &row.tenant_id,
        &row.batch_id,
        &row.place.map(|(recipe, _)| recipe),
        &row.place.map(|(_, node)| node.number()),
        &row.node.job_type_id,
        &row.node.job_type_rev_id,
        &row.event_id,
        &row.job.status.as_str(),
        &row.priority,
        &row.job.num_exes,
        &row.job.max_tries,
        &row.superseded_job_id,
        &row.input.as_deref().map(Json),
        &row.report.output.as_deref().map(Json),
        &(row.job.num_exes > 0).then_some(at),
        &row.report.started,
        &(row.job.status == JobStatus::Completed).then_some(at),
        &row.report.seed_micros,
        &worker.map(|worker| worker.id),
        &worker.map(|worker| worker.name.as_ref()),
        &at,
        &at,
        &at,
    ])
}

/// Rows in the binary form of COPY.
struct Rows {
    types: &'static [Type],
    buffer: BytesMut,
}

impl Rows {
    fn empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn new(types: &'static [Type]) -> Self {
        Self { types, buffer: BytesMut::new() }
    }

    fn push(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        let broken = |what: &dyn std::fmt::Display| StoreError::Corrupt(format!("a row to copy: {what}"));
        if self.empty() {
            self.buffer.put_slice(HEADER);
        }
        self.buffer.put_i16(i16::try_from(values.len()).map_err(|error| broken(&error))?);
        for (value, of) in values.iter().zip(self.types) {
            let at = self.buffer.len();
            self.buffer.put_i32(-1);
            let written = value.to_sql_checked(of, &mut self.buffer).map_err(|error| broken(&error))?;
            if matches!(written, IsNull::No) {
                let length = i32::try_from(self.buffer.len() - at - 4).map_err(|error| broken(&error))?;
                self.buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Option<Bytes> {
        (!self.empty()).then(|| {
            self.buffer.put_i16(-1);
            self.buffer.freeze()
        })
    }
}

async fn copy(client: &DataClient, statement: &str, rows: Option<&Bytes>) -> Result<(), StoreError> {
    let Some(mut rows) = rows.cloned() else { return Ok(()) };
    let statement = client.prepare_cached(statement).await?;
    let mut sink = Box::pin(client.copy_in::<_, Bytes>(&statement).await?);
    while !rows.is_empty() {
        sink.send(rows.split_to(rows.len().min(MESSAGE))).await?;
    }
    sink.as_mut().finish().await?;
    Ok(())
}
