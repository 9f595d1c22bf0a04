//! Writing what changed in a working set: each kind of row in one statement (data plane).

mod bundles;
mod copy;
mod counters;
mod jobs;

pub(super) use copy::NewRows;
use tokio_postgres::types::ToSql;

use super::publication::BundleRef;
use crate::model::recipe::Data;
use crate::model::recipe::running::{Running, Slot};
use crate::store::data::DataClient;
use crate::store::{Store, StoreError, WorkerSlot};

const UPDATE_RECIPES: &str = "
-- recipes: update
UPDATE recipes r SET is_blocked = n.is_blocked, is_completed = n.is_completed, is_superseded = n.is_superseded,
    input = coalesce(n.input::jsonb, r.input),
    completed = CASE WHEN n.is_completed THEN coalesce(r.completed, $6) END,
    superseded = CASE WHEN n.is_superseded THEN coalesce(r.superseded, $6) END, last_modified = $6
FROM unnest($1::int8[], $2::bool[], $3::bool[], $4::bool[], $5::text[])
    AS n (id, is_blocked, is_completed, is_superseded, input)
WHERE r.id = n.id";

const CONDITIONS: &str = "
-- recipes: conditions
INSERT INTO recipe_conditions (recipe_id, node, waiting, outcome, processed)
SELECT recipe_id, node, 0, outcome, CASE WHEN outcome IS NOT NULL THEN $4::timestamptz END
FROM unnest($1::int8[], $2::int2[], $3::bool[]) AS n (recipe_id, node, outcome)
ON CONFLICT (recipe_id, node) DO UPDATE SET outcome = excluded.outcome, processed = excluded.processed
    WHERE recipe_conditions.outcome IS NULL";

const LINKS: &str = "
-- recipes: link
INSERT INTO recipe_links (recipe_id, node, job_id, sub_recipe_id)
SELECT * FROM unnest($1::int8[], $2::int2[], $3::int8[], $4::int8[])";

type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Store {
    /// Writes everything that changed, with counters in this slot. Returns the bundles that were made. Within a transaction.
    pub(super) async fn write(
        &self,
        client: &DataClient,
        slot: WorkerSlot,
        running: &Running,
    ) -> Result<Vec<BundleRef>, StoreError> {
        self.write_with(client, slot, running, &NewRows::of(running)?).await
    }

    /// As [`Store::write`], with the new rows encoded already.
    pub(super) async fn write_with(
        &self,
        client: &DataClient,
        slot: WorkerSlot,
        running: &Running,
        new: &NewRows,
    ) -> Result<Vec<BundleRef>, StoreError> {
        new.copy_recipes(client).await?;
        update_recipes(client, running).await?;
        jobs::write(client, running, new).await?;
        write_conditions(client, running).await?;
        write_links(client, running).await?;
        let bundles = bundles::write(client, running).await?;
        // The slot's rows are locked until the end: last, so that others wait as briefly as possible.
        counters::write(client, slot, running).await?;
        Ok(bundles)
    }
}

async fn run(client: &DataClient, statement: &str, parameters: &[Parameter<'_>]) -> Result<(), StoreError> {
    let statement = client.prepare_cached(statement).await?;
    client.execute(&statement, parameters).await?;
    Ok(())
}

/// A document as it is stored.
pub(super) fn text(data: &Data) -> Result<String, StoreError> {
    serde_json::to_string(data).map_err(|error| StoreError::Corrupt(error.to_string()))
}

async fn update_recipes(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let old: Vec<_> = running.recipes.values().filter(|recipe| recipe.changed && recipe.stored).collect();
    if !old.is_empty() {
        let inputs: Vec<Option<String>> = old
            .iter()
            .map(|recipe| recipe.input.as_ref().filter(|_| !recipe.had_input).map(text).transpose())
            .collect::<Result<_, _>>()?;
        macro_rules! column {
            ($recipe:ident => $value:expr) => {
                &old.iter().map(|$recipe| $value).collect::<Vec<_>>()
            };
        }
        run(
            client,
            UPDATE_RECIPES,
            &[
                column!(r => r.id),
                column!(r => r.is_blocked),
                column!(r => r.is_completed),
                column!(r => r.is_superseded),
                &inputs,
                &running.at(),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn write_conditions(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let (mut recipes, mut nodes, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for recipe in running.recipes.values() {
        for (slot, (node, _)) in recipe.slots.iter().zip(recipe.revision.graph.nodes()) {
            if let Slot::Condition { outcome, changed: true, .. } = slot {
                recipes.push(recipe.id);
                nodes.push(node.number());
                outcomes.push(*outcome);
            }
        }
    }
    if recipes.is_empty() {
        return Ok(());
    }
    run(client, CONDITIONS, &[&recipes, &nodes, &outcomes, &running.at()]).await
}

/// Links are made with the recipe that has them, and never after.
async fn write_links(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let (mut recipes, mut nodes, mut jobs, mut subs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for recipe in running.recipes.values().filter(|recipe| !recipe.stored && !recipe.linked.is_empty()) {
        for (slot, (node, _)) in recipe.slots.iter().zip(recipe.revision.graph.nodes()) {
            let (job, sub) = match slot {
                Slot::Job(job) if recipe.linked.contains(node) => (Some(*job), None),
                Slot::Recipe(sub) if recipe.linked.contains(node) => (None, Some(*sub)),
                _ => continue,
            };
            recipes.push(recipe.id);
            nodes.push(node.number());
            jobs.push(job);
            subs.push(sub);
        }
    }
    if recipes.is_empty() {
        return Ok(());
    }
    run(client, LINKS, &[&recipes, &nodes, &jobs, &subs]).await
}
