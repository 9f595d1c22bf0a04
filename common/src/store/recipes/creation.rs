//! Recipes of batches, made page by page (contract 4.2–4.4, 4.7; data plane). A page is one transaction that holds the batch's
//! row: whoever comes second sees the cursor of the first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::commit::Settled;
use super::families::data;
use super::known::document;
use super::transaction::transaction;
use crate::failpoint;
use crate::model::recipe::running::{NewRecipe, Revision, Running};
use crate::model::recipe::{
    BatchConfiguration, BatchDefinition, Data, DatasetDefinition, ForcedNodes, InputHash, NodeKind, Place,
    RecipeTypes, ReprocessPlan, pair,
};
use crate::store::data::DataClient;
use crate::store::retry::retrying;
use crate::store::{Store, StoreError, WorkerSlot};

/// What was made of a batch.
#[derive(Debug, Clone)]
pub struct CreationStep {
    /// The batch.
    pub batch_id: i64,
    /// Members or recipes that were looked at.
    pub looked_at: usize,
    /// Where the next page begins; none when all recipes exist now.
    pub next: Option<i64>,
    /// What is to be published.
    pub settled: Settled,
}

const BATCH: &str = "
-- creation: batch
SELECT id, tenant_id, recipe_type_rev_id, event_id, definition::text, configuration::text, supersedes, dataset_id,
    last_member_id, superseded_batch_id, creation_cursor, priority
FROM recipe_batches WHERE NOT is_creation_done ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED";

pub(super) const ADVANCE: &str = "
-- creation: advance
UPDATE recipe_batches SET creation_cursor = $2, recipes_skipped = recipes_skipped + $3, is_creation_done = $4,
    last_modified = clock_timestamp()
WHERE id = $1";

const DATASET: &str = "
-- creation: dataset
SELECT definition::text FROM datasets WHERE id = $1";

/// As in [`PREDECESSORS`].
const MEMBERS: &str = "
-- creation: members
SELECT id, data::text FROM dataset_members
WHERE (dataset_id, id) > ($1, $2) AND dataset_id <= $1 AND id <= $3 ORDER BY dataset_id, id LIMIT $4";

/// A look for each input: without statistics, the plan of `= ANY` goes through all recipes of the type. The type is the tenant's.
const SAME_INPUT: &str = "
-- creation: recipes of the same input
SELECT f.id, f.input_hash FROM unnest($2::bytea[]) h (hash), LATERAL (
    SELECT id, input_hash FROM recipes
    WHERE recipe_type_id = $1 AND input_hash = h.hash AND parent_recipe_id IS NULL AND NOT is_superseded
      AND batch_id IS DISTINCT FROM $3
      AND NOT EXISTS (SELECT FROM recipe_batches b WHERE b.id = recipes.batch_id AND b.removed IS NOT NULL) OFFSET 0) f
ORDER BY f.id";

/// The recipes of a batch, each with the one of its family that is current. (Of `batch_id = $1`, the planner would take the order by
/// id from the primary key, and read every recipe that was made before.)
const PREDECESSORS: &str = "
-- creation: recipes of the batch before
SELECT r.id, c.id, r.input::text
FROM recipes r LEFT JOIN LATERAL (
    SELECT f.id FROM recipes f WHERE f.root_superseded_recipe_id = coalesce(r.root_superseded_recipe_id, r.id)
        AND NOT f.is_superseded
    UNION ALL
    SELECT f.id FROM recipes f WHERE f.id = coalesce(r.root_superseded_recipe_id, r.id) AND NOT f.is_superseded
    LIMIT 1) c ON true
WHERE (r.batch_id, r.id) > ($1, $2) AND r.batch_id <= $1 AND r.parent_recipe_id IS NULL ORDER BY r.batch_id, r.id LIMIT $3";

/// A batch that is being created.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: i64,
    tenant_id: Uuid,
    event_id: i64,
    pub(super) revision: Arc<Revision>,
    forced: ForcedNodes,
    configuration: BatchConfiguration,
    supersedes: bool,
    pub(super) dataset_id: Option<i64>,
    last_member_id: Option<i64>,
    superseded_batch_id: Option<i64>,
    pub(super) cursor: i64,
    pub(super) priority: Option<i64>,
}

/// A recipe that is to be made, and the one that it takes the place of.
#[derive(Debug)]
pub(super) struct Wanted {
    member_id: Option<i64>,
    source_recipe_id: Option<i64>,
    pub(super) old: Option<i64>,
    /// None where the old recipe's input is copied.
    pub(super) input: Option<(Data, InputHash)>,
}

/// What a page found.
#[derive(Default)]
pub(super) struct Page {
    pub(super) wanted: Vec<Wanted>,
    pub(super) skipped: i64,
    pub(super) looked_at: usize,
    pub(super) cursor: i64,
}

impl Store {
    /// Makes the next page of recipes of some batch whose creation nobody else is at; none when there is nothing to create.
    pub async fn create_recipes(
        &self,
        slot: WorkerSlot,
        page: usize,
    ) -> Result<Option<CreationStep>, StoreError> {
        retrying("create_recipes", || async {
            let client = self.data_client().await?;
            transaction(&client, None, self.create_page(&client, slot, page)).await
        })
        .await
    }

    async fn create_page(
        &self,
        client: &DataClient,
        slot: WorkerSlot,
        limit: usize,
    ) -> Result<Option<CreationStep>, StoreError> {
        let statement = client.prepare_cached(BATCH).await?;
        let Some(row) = client.query_opt(&statement, &[]).await? else { return Ok(None) };
        let batch = self.read_batch(client, &row).await?;
        let page = match (batch.superseded_batch_id, batch.dataset_id) {
            (Some(previous), _) => predecessors(client, &batch, previous, limit).await?,
            (None, Some(dataset)) => members(client, &batch, dataset, limit).await?,
            (None, None) => Page::default(),
        };
        let done = page.looked_at < limit;
        let olds: Vec<i64> = page.wanted.iter().filter_map(|wanted| wanted.old).collect();
        let mut running = if olds.is_empty() {
            self.load_nothing(client).await?
        } else {
            Box::pin(self.load_of_recipes(client, &olds)).await?
        };
        running.revisions.extend(self.revisions(client, [batch.revision.id]).await?);
        running.batch_priorities.insert(batch.id, batch.priority);
        self.reserve_recipes(client, &mut running, page.wanted.len()).await?;
        let skipped = page.skipped + make(&mut running, &batch, page.wanted)?;
        let settled = Box::pin(self.settle(client, slot, running)).await?;
        let statement = client.prepare_cached(ADVANCE).await?;
        client.execute(&statement, &[&batch.id, &page.cursor, &skipped, &done]).await?;
        let next = (!done).then_some(page.cursor);
        // Not where there was nothing to create, as on the way here.
        failpoint::reach("creation.commit", "");
        Ok(Some(CreationStep { batch_id: batch.id, looked_at: page.looked_at, next, settled }))
    }

    pub(super) async fn read_batch(&self, client: &DataClient, row: &Row) -> Result<Batch, StoreError> {
        let id: i64 = row.try_get(0)?;
        let broken = || StoreError::Corrupt(format!("the documents of batch {id}"));
        let definition = BatchDefinition::parse(&document(row.try_get(4)?)?, Place::root("definition"))
            .map_err(|_| broken())?;
        let configuration =
            BatchConfiguration::parse(&document(row.try_get(5)?)?, Place::root("configuration"))
                .map_err(|_| broken())?;
        Ok(Batch {
            id,
            tenant_id: row.try_get(1)?,
            event_id: row.try_get(3)?,
            revision: self.revision(client, row.try_get(2)?).await?,
            forced: definition.forced().cloned().unwrap_or_default(),
            configuration,
            supersedes: row.try_get(6)?,
            dataset_id: row.try_get(7)?,
            last_member_id: row.try_get(8)?,
            superseded_batch_id: row.try_get(9)?,
            cursor: row.try_get(10)?,
            priority: row.try_get(11)?,
        })
    }
}

pub(super) async fn members(
    client: &DataClient,
    batch: &Batch,
    dataset: i64,
    limit: usize,
) -> Result<Page, StoreError> {
    let statement = client.prepare_cached(DATASET).await?;
    let row = client.query_opt(&statement, &[&dataset]).await?.ok_or(StoreError::NotFound("dataset"))?;
    let definition = DatasetDefinition::parse(&document(row.try_get(0)?)?, Place::root("definition"))
        .map_err(|_| StoreError::Corrupt(format!("the definition of dataset {dataset}")))?;
    let interface = batch.revision.graph.input();
    let sources = batch.configuration.input_map.sources(interface);
    let statement = client.prepare_cached(MEMBERS).await?;
    let last = batch.last_member_id.unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&dataset, &batch.cursor, &last, &limit]).await?;
    let mut page = Page { looked_at: rows.len(), cursor: batch.cursor, ..Page::default() };
    let mut inputs = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        page.cursor = id;
        let input = sources.recipe_input(&data(row.try_get(1)?)?, &definition.global_data);
        if input.check(interface, Place::root("")).is_empty() {
            let hash = input.hash();
            inputs.push((id, input, hash));
        } else {
            tracing::warn!(batch.id = batch.id, member.id = id, "no recipe can be made from this member");
            page.skipped += 1;
        }
    }
    let mut olds: BTreeMap<i64, Option<i64>> = BTreeMap::new();
    if batch.supersedes && !inputs.is_empty() {
        let mut hashes: Vec<Vec<u8>> = inputs.iter().map(|(_, _, hash)| hash.0.to_vec()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let statement = client.prepare_cached(SAME_INPUT).await?;
        let mut existing = Vec::new();
        let rows = client.query(&statement, &[&batch.revision.recipe_type_id, &hashes, &batch.id]).await?;
        for row in rows {
            if let Ok(hash) = row.try_get::<_, &[u8]>(1)?.try_into() {
                existing.push((row.try_get::<_, i64>(0)?, InputHash(hash)));
            }
        }
        let keyed: Vec<(i64, InputHash)> = inputs.iter().map(|(id, _, hash)| (*id, *hash)).collect();
        olds = pair(&keyed, &existing).into_iter().collect();
    }
    for (id, input, hash) in inputs {
        let old = olds.get(&id).copied().flatten();
        page.wanted.push(Wanted {
            member_id: Some(id),
            source_recipe_id: None,
            old,
            input: Some((input, hash)),
        });
    }
    Ok(page)
}

async fn predecessors(
    client: &DataClient,
    batch: &Batch,
    previous: i64,
    limit: usize,
) -> Result<Page, StoreError> {
    let statement = client.prepare_cached(PREDECESSORS).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&previous, &batch.cursor, &limit]).await?;
    let mut page = Page { looked_at: rows.len(), cursor: batch.cursor, ..Page::default() };
    for row in rows {
        let id: i64 = row.try_get(0)?;
        page.cursor = id;
        let current: Option<i64> = row.try_get(1)?;
        let (old, input) = if batch.supersedes {
            (current, None)
        } else {
            let input = data(row.try_get(2)?)?.restricted_to(batch.revision.graph.input());
            let hash = input.hash();
            (None, Some((input, hash)))
        };
        if old.is_none() && input.is_none() {
            page.skipped += 1;
            continue;
        }
        page.wanted.push(Wanted { member_id: None, source_recipe_id: Some(id), old, input });
    }
    Ok(page)
}

/// Makes the recipes of a page in memory. Returns how many cannot be made: those whose old recipe has another input than the
/// new revision takes stay as they are.
pub(super) fn make(running: &mut Running, batch: &Batch, wanted: Vec<Wanted>) -> Result<i64, StoreError> {
    let mut plans: HashMap<i64, Option<Arc<ReprocessPlan>>> = HashMap::new();
    let mut skipped = 0;
    let types = recipe_types(running.revisions.values());
    for wanted in wanted {
        let new = |input: Data, input_hash: InputHash| NewRecipe {
            tenant_id: batch.tenant_id,
            batch_id: Some(batch.id),
            event_id: batch.event_id,
            revision: Arc::clone(&batch.revision),
            member_id: wanted.member_id,
            source_recipe_id: wanted.source_recipe_id,
            input,
            input_hash,
        };
        let Some(old) = wanted.old else {
            if let Some((input, hash)) = wanted.input {
                running.create(new(input, hash))?;
            }
            continue;
        };
        // Its time was over between the look and the lock.
        let Some(before) = running.recipes.get(&old) else {
            match wanted.input {
                Some((input, hash)) => drop(running.create(new(input, hash))?),
                None => skipped += 1,
            }
            continue;
        };
        // Somebody reprocessed it in between.
        if before.is_superseded {
            skipped += 1;
            continue;
        }
        let plan = plans
            .entry(before.revision.id)
            .or_insert_with(|| {
                let (prev, new) = (&before.revision.graph, &batch.revision.graph);
                ReprocessPlan::build(prev, new, &batch.forced, &types).ok().map(Arc::new)
            })
            .clone();
        let input = before.input.clone().unwrap_or_default();
        let Some(plan) = plan else {
            skipped += 1;
            continue;
        };
        let hash = input.hash();
        running.reprocess(old, new(input, hash), &plan)?;
    }
    Ok(skipped)
}

/// The graphs that recipe nodes of these revisions refer to.
pub(super) fn recipe_types<'a>(revisions: impl Iterator<Item = &'a Arc<Revision>> + Clone) -> RecipeTypes {
    let by_id: HashMap<i64, &Arc<Revision>> =
        revisions.clone().map(|revision| (revision.id, revision)).collect();
    let mut types = RecipeTypes::new();
    for revision in revisions {
        for (node, sub) in &revision.recipes {
            if let (NodeKind::Recipe(name), Some(sub)) = (&revision.graph.node(*node).kind, by_id.get(sub)) {
                types.insert(name.clone(), Arc::clone(&sub.graph));
            }
        }
    }
    types
}
