//! Batches of recipes: listed, shown, compared (control plane; contract section 2).

mod create;
mod edit;
mod metrics;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::super::{Store, StoreError};
use super::{BatchBase, Event, Modified, RecipeTypeBase, Revision, Sort, SortField, Window, order_by};
use crate::model::recipe::{BatchCounts, JobCounts};

pub use create::{BatchAdmission, BatchRequest};
pub use edit::{BatchEdit, EditedBatch};
pub use metrics::{BatchDetails, Comparison};

/// How many slots the counters of a batch, and of a node of it, have.
pub const RECIPE_BATCH_SLOTS: i16 = 10;

/// A batch of recipes.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeBatch {
    /// Id, title, description and time of creation.
    pub base: BatchBase,
    /// What it runs.
    pub recipe_type: RecipeTypeBase,
    /// The revision of it, fixed at creation.
    pub revision: Revision,
    /// Why it was created.
    pub event: Event,
    /// Whether it has a successor.
    pub is_superseded: bool,
    /// When it got one.
    pub superseded: Option<DateTime<Utc>>,
    /// The first batch of its chain.
    pub root: BatchBase,
    /// The batch before it.
    pub previous: Option<BatchBase>,
    /// Whether all of its top-level recipes exist.
    pub is_creation_done: bool,
    /// Since when it is paused, if it is.
    pub paused: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Its counters, summed up.
    pub counts: BatchCounts,
    /// How many recipes it would have, sub-recipes included.
    pub recipes_estimated: i64,
    /// When it, or one of its counters, changed last.
    pub last_modified: DateTime<Utc>,
    /// As submitted, without `version`.
    pub definition: Value,
    /// As submitted, without `version`.
    pub configuration: Value,
}

/// Which batches to list. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct BatchFilter {
    /// When they changed last.
    pub modified: Modified,
    /// Any of these recipe types.
    pub recipe_type_ids: Option<Vec<i64>>,
    /// Whether all of their recipes exist.
    pub is_creation_done: Option<bool>,
    /// Whether they have a successor.
    pub is_superseded: Option<bool>,
    /// In any of these chains, the root itself included.
    pub root_batch_ids: Option<Vec<i64>>,
}

/// Declares what a list can be sorted by, with the name in requests and the expression in the list's query.
macro_rules! sort_fields {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $field:literal, $sql:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "they are named as the fields of the answer")]
        pub enum $name {
            $($variant),+
        }

        impl crate::store::recipes::SortField for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $field),+
                }
            }

            fn sql(self) -> &'static str {
                match self {
                    $(Self::$variant => $sql),+
                }
            }
        }
    };
}
pub(super) use sort_fields;

sort_fields! {
    /// What batches can be sorted by (contract 1.8).
    BatchField {
        Id = "id", "b.id";
        Title = "title", "lower(b.title)";
        Description = "description", "lower(b.description)";
        RecipeType = "recipe_type", "lower(t.title)";
        RecipeTypeId = "recipe_type_id", "b.recipe_type_id";
        RecipeTypeRev = "recipe_type_rev", "b.recipe_type_rev_id";
        RecipeTypeRevId = "recipe_type_rev_id", "b.recipe_type_rev_id";
        Event = "event", "b.event_id";
        EventId = "event_id", "b.event_id";
        IsSuperseded = "is_superseded", "b.is_superseded";
        RootBatch = "root_batch", "b.root_batch_id";
        RootBatchId = "root_batch_id", "b.root_batch_id";
        SupersededBatch = "superseded_batch", "b.superseded_batch_id";
        SupersededBatchId = "superseded_batch_id", "b.superseded_batch_id";
        IsCreationDone = "is_creation_done", "b.is_creation_done";
        JobsTotal = "jobs_total", "c.jobs";
        JobsPending = "jobs_pending", "c.jobs_pending";
        JobsBlocked = "jobs_blocked", "c.jobs_blocked";
        JobsQueued = "jobs_queued", "c.jobs_queued";
        JobsRunning = "jobs_running", "c.jobs_running";
        JobsFailed = "jobs_failed", "c.jobs_failed";
        JobsCompleted = "jobs_completed", "c.jobs_completed";
        JobsCanceled = "jobs_canceled", "c.jobs_canceled";
        RecipesEstimated = "recipes_estimated", "b.recipes_estimated";
        RecipesTotal = "recipes_total", "c.recipes_total";
        RecipesCompleted = "recipes_completed", "c.recipes_completed";
        Created = "created", "b.created";
        Superseded = "superseded", "b.superseded";
        LastModified = "last_modified", "greatest(b.last_modified, c.touched)";
    }
}

/// The batches of a list's query, each with the sums of its slots.
const LISTED: &str = "
    FROM recipe_batches b JOIN recipe_types t ON t.id = b.recipe_type_id
    CROSS JOIN LATERAL (
        SELECT sum(jobs_pending) AS jobs_pending, sum(jobs_blocked) AS jobs_blocked, sum(jobs_queued) AS jobs_queued,
            sum(jobs_running) AS jobs_running, sum(jobs_failed) AS jobs_failed, sum(jobs_completed) AS jobs_completed,
            sum(jobs_canceled) AS jobs_canceled, sum(jobs_pending + jobs_blocked + jobs_queued + jobs_running
                + jobs_failed + jobs_completed + jobs_canceled) AS jobs,
            sum(recipes_total) AS recipes_total, sum(recipes_completed) AS recipes_completed, max(touched_at) AS touched
        FROM recipe_batch_counters WHERE batch_id = b.id
    ) c
    WHERE b.removed IS NULL AND b.tenant_id = ";

impl BatchFilter {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        const MODIFIED: &str = "greatest(b.last_modified, c.touched)";
        if let Some(started) = self.modified.started {
            query.push(format!(" AND {MODIFIED} >= ")).push_bind(started);
        }
        if let Some(ended) = self.modified.ended {
            query.push(format!(" AND {MODIFIED} <= ")).push_bind(ended);
        }
        if let Some(ids) = &self.recipe_type_ids {
            query.push(" AND b.recipe_type_id = ANY(").push_bind(ids.clone()).push(")");
        }
        if let Some(done) = self.is_creation_done {
            query.push(" AND b.is_creation_done = ").push_bind(done);
        }
        if let Some(superseded) = self.is_superseded {
            query.push(" AND b.is_superseded = ").push_bind(superseded);
        }
        if let Some(ids) = &self.root_batch_ids {
            query.push(" AND b.root_batch_id = ANY(").push_bind(ids.clone()).push(")");
        }
    }
}

impl Store {
    /// How many batches the filter lets through.
    pub async fn count_recipe_batches(
        &self,
        tenant_id: Uuid,
        filter: &BatchFilter,
    ) -> Result<i64, StoreError> {
        let mut query = QueryBuilder::new("SELECT count(*)");
        query.push(LISTED).push_bind(tenant_id);
        filter.push(&mut query);
        Ok(query.build_query_scalar().fetch_one(&self.control).await?)
    }

    /// A part of the batches that the filter lets through. By default those that changed longest ago come first.
    pub async fn recipe_batches(
        &self,
        tenant_id: Uuid,
        filter: &BatchFilter,
        order: &[Sort<BatchField>],
        window: Window,
    ) -> Result<Vec<RecipeBatch>, StoreError> {
        let mut query = QueryBuilder::new("SELECT b.id");
        query.push(LISTED).push_bind(tenant_id);
        filter.push(&mut query);
        let order = order_by(order, BatchField::LastModified.sql(), BatchField::Id.sql());
        query.push(" ORDER BY ").push(order);
        query.push(" LIMIT ").push_bind(window.limit).push(" OFFSET ").push_bind(window.offset);
        let mut connection = self.control.acquire().await?;
        let ids: Vec<i64> = query.build_query_scalar().fetch_all(&mut *connection).await?;
        batches(&mut connection, tenant_id, &ids).await
    }
}

/// The tenant's batches with these ids, in their order.
async fn batches(
    connection: &mut PgConnection,
    tenant_id: Uuid,
    ids: &[i64],
) -> Result<Vec<RecipeBatch>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT b.id, b.title, b.description, b.created, b.recipe_type_id, t.name AS type_name, t.title AS type_title,
               t.description AS type_description, t.revision_num AS type_revision, b.recipe_type_rev_id,
               r.revision_num, b.event_id, e.type AS event_type, e.description AS event_description, e.occurred,
               b.is_superseded, b.superseded, o.id AS root_id, o.title AS root_title, o.description AS root_description,
               o.created AS root_created, p.id AS "previous_id?", p.title AS "previous_title?",
               p.description AS "previous_description?", p.created AS "previous_created?", b.is_creation_done,
               w.paused_at AS "paused_at?", w.paused_by AS "paused_by?", b.recipes_estimated, greatest(b.last_modified, c.touched) AS "last_modified!", b.definition, b.configuration,
               c.pending AS "pending!", c.blocked AS "blocked!", c.queued AS "queued!", c.running AS "running!",
               c.failed AS "failed!", c.completed AS "completed!", c.canceled AS "canceled!",
               c.recipes_total AS "recipes_total!", c.recipes_completed AS "recipes_completed!"
           FROM recipe_batches b
           JOIN recipe_types t ON t.id = b.recipe_type_id
           JOIN recipe_type_revisions r ON r.id = b.recipe_type_rev_id
           JOIN events e ON e.id = b.event_id
           JOIN recipe_batches o ON o.id = b.root_batch_id
           LEFT JOIN recipe_batches p ON p.id = b.superseded_batch_id AND p.removed IS NULL
           LEFT JOIN workloads w ON w.batch_id = b.id
           CROSS JOIN LATERAL (
               SELECT coalesce(sum(jobs_pending), 0)::bigint AS pending, coalesce(sum(jobs_blocked), 0)::bigint AS blocked,
                   coalesce(sum(jobs_queued), 0)::bigint AS queued, coalesce(sum(jobs_running), 0)::bigint AS running,
                   coalesce(sum(jobs_failed), 0)::bigint AS failed, coalesce(sum(jobs_completed), 0)::bigint AS completed,
                   coalesce(sum(jobs_canceled), 0)::bigint AS canceled,
                   coalesce(sum(n.recipes_total), 0)::bigint AS recipes_total,
                   coalesce(sum(n.recipes_completed), 0)::bigint AS recipes_completed, max(touched_at) AS touched
               FROM recipe_batch_counters n WHERE n.batch_id = b.id
           ) c
           WHERE b.tenant_id = $1 AND b.id = ANY($2) AND b.removed IS NULL
           ORDER BY array_position($2, b.id)"#,
        tenant_id,
        ids
    )
    .fetch_all(connection)
    .await?;
    let batches = rows.into_iter().map(|row| RecipeBatch {
        base: BatchBase { id: row.id, title: row.title, description: row.description, created: row.created },
        recipe_type: RecipeTypeBase {
            id: row.recipe_type_id,
            name: row.type_name,
            title: row.type_title,
            description: row.type_description,
            revision_num: row.type_revision,
        },
        revision: Revision {
            id: row.recipe_type_rev_id,
            type_id: row.recipe_type_id,
            revision_num: row.revision_num,
        },
        event: Event {
            id: row.event_id,
            kind: row.event_type,
            description: row.event_description,
            occurred: row.occurred,
        },
        is_superseded: row.is_superseded,
        superseded: row.superseded,
        root: BatchBase {
            id: row.root_id,
            title: row.root_title,
            description: row.root_description,
            created: row.root_created,
        },
        previous: row.previous_id.zip(row.previous_created).map(|(id, created)| BatchBase {
            id,
            title: row.previous_title,
            description: row.previous_description,
            created,
        }),
        is_creation_done: row.is_creation_done,
        paused: row.paused_at,
        paused_by: row.paused_by,
        counts: BatchCounts {
            jobs: JobCounts {
                pending: row.pending,
                blocked: row.blocked,
                queued: row.queued,
                running: row.running,
                failed: row.failed,
                completed: row.completed,
                canceled: row.canceled,
            },
            recipes_total: row.recipes_total,
            recipes_completed: row.recipes_completed,
        },
        recipes_estimated: row.recipes_estimated,
        last_modified: row.last_modified,
        definition: row.definition,
        configuration: row.configuration,
    });
    Ok(batches.collect())
}
