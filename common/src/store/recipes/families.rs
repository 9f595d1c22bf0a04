//! Loading and locking recipes with everything in them and everything that holds them (data plane).

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::rows::{read_job, read_recipe};
use crate::model::recipe::Data;
use crate::model::recipe::running::{JobNode, Running, Slot};
use crate::store::data::DataClient;
use crate::store::{Store, StoreError};

/// Recipes at the top that hold a job, at any depth: its own, and those that share it.
const TOPS: &str = "
-- recipes: tops of jobs
WITH RECURSIVE up (id) AS (
    SELECT h.id FROM unnest($1::int8[]) j (id), LATERAL (
        SELECT recipe_id AS id FROM jobs WHERE jobs.id = j.id AND recipe_id IS NOT NULL
        UNION ALL SELECT recipe_id FROM recipe_links WHERE job_id = j.id) h
    UNION
    SELECT h.id FROM up, LATERAL (
        SELECT parent_recipe_id AS id FROM recipes WHERE recipes.id = up.id AND parent_recipe_id IS NOT NULL
        UNION ALL SELECT recipe_id FROM recipe_links WHERE sub_recipe_id = up.id) h
)
SELECT up.id FROM up JOIN recipes r ON r.id = up.id WHERE r.parent_recipe_id IS NULL";

/// The same for recipes.
const TOPS_OF_RECIPES: &str = "
-- recipes: tops of recipes
WITH RECURSIVE up (id) AS (
    SELECT id FROM unnest($1::int8[]) r (id)
    UNION
    SELECT h.id FROM up, LATERAL (
        SELECT parent_recipe_id AS id FROM recipes WHERE recipes.id = up.id AND parent_recipe_id IS NOT NULL
        UNION ALL SELECT recipe_id FROM recipe_links WHERE sub_recipe_id = up.id
        UNION ALL SELECT l.recipe_id FROM jobs j JOIN recipe_links l ON l.job_id = j.id WHERE j.recipe_id = up.id) h
)
SELECT up.id FROM up JOIN recipes r ON r.id = up.id WHERE r.parent_recipe_id IS NULL";

const LOCK: &str = "
-- recipes: lock
SELECT is_superseded FROM recipes WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";

const NOW: &str = "-- recipes: clock
SELECT clock_timestamp()";

macro_rules! recipe_columns {
    () => {
        "r.id, r.tenant_id, r.batch_id, r.event_id, r.recipe_type_rev_id, r.parent_recipe_id, r.parent_node, r.root_recipe_id,
         r.superseded_recipe_id, r.root_superseded_recipe_id, r.input IS NOT NULL, r.is_blocked, r.is_completed, r.is_superseded,
         r.input_hash"
    };
}

const RECIPES: &str = concat!(
    "
-- recipes: rows
SELECT ",
    recipe_columns!(),
    " FROM recipes r WHERE r.id = ANY($1)"
);

const CONTENTS: &str = concat!(
    "
-- recipes: contents
WITH RECURSIVE down (id) AS (
    SELECT unnest($1::int8[])
    UNION
    SELECT h.id FROM down, LATERAL (
        SELECT id FROM recipes WHERE parent_recipe_id = down.id
        UNION ALL SELECT sub_recipe_id FROM recipe_links WHERE recipe_id = down.id AND sub_recipe_id IS NOT NULL) h
)
SELECT ",
    recipe_columns!(),
    " FROM down JOIN recipes r ON r.id = down.id WHERE NOT r.id = ANY($1)"
);

macro_rules! job_columns {
    () => {
        "j.id, j.tenant_id, j.batch_id, j.recipe_id, j.node, j.job_type_id, j.job_type_rev_id, j.event_id, j.status, j.num_exes,
         j.max_tries, j.is_superseded, j.last_status_change, j.started, j.ended, j.seed_micros"
    };
}

const JOBS: &str = concat!(
    "
-- recipes: jobs
SELECT ",
    job_columns!(),
    " FROM jobs j WHERE j.recipe_id = ANY($1)"
);

const JOBS_BY_ID: &str = concat!(
    "
-- recipes: jobs by id
SELECT ",
    job_columns!(),
    " FROM jobs j WHERE j.id = ANY($1)"
);

const LOCK_LOOSE: &str = "
-- recipes: lock jobs outside recipes
SELECT id FROM jobs WHERE id = ANY($1) AND recipe_id IS NULL ORDER BY id FOR NO KEY UPDATE";

const INPUTS: &str = "
-- recipes: inputs
SELECT id, input::text FROM recipes WHERE id = ANY($1) AND input IS NOT NULL";

const OUTPUTS: &str = "
-- recipes: outputs
SELECT id, output::text FROM jobs WHERE id = ANY($1) AND status = 'COMPLETED' AND output IS NOT NULL";

const CONDITIONS: &str = "
-- recipes: conditions
SELECT recipe_id, node, outcome FROM recipe_conditions WHERE recipe_id = ANY($1)";

const LINKS: &str = "
-- recipes: links
SELECT recipe_id, node, job_id, sub_recipe_id FROM recipe_links WHERE recipe_id = ANY($1)";

const JOB_TYPES: &str = "
-- recipes: job types
SELECT id, max_tries, (configuration ->> 'priority')::bigint, is_paused FROM job_types WHERE id = ANY($1)";

const PRIORITIES: &str = "
-- recipes: priorities of batches
SELECT id, priority FROM recipe_batches WHERE id = ANY($1)";

const NEW_JOB_IDS: &str = "
-- recipes: numbers of jobs
SELECT nextval('jobs_id_seq') FROM generate_series(1, $1::int8)";

const NEW_RECIPE_IDS: &str = "
-- recipes: numbers of recipes
SELECT nextval('recipes_id_seq') FROM generate_series(1, $1::int8)";

impl Store {
    /// Locks and loads the recipes of these jobs, the jobs outside recipes among them, and everything that they touch.
    /// Within a transaction.
    pub(super) async fn load_of_jobs(
        &self,
        client: &DataClient,
        jobs: &[i64],
    ) -> Result<Running, StoreError> {
        let tops = lock_tops(client, TOPS, jobs).await?;
        let mut running = self.load(client, &tops, false).await?;
        let others: Vec<i64> = jobs.iter().copied().filter(|id| !running.jobs.contains_key(id)).collect();
        if !others.is_empty() {
            let outside = ids(client, LOCK_LOOSE, &others).await?;
            let rows = rows(client, JOBS_BY_ID, &outside).await?;
            self.add_jobs(client, &mut running, rows).await?;
        }
        Ok(running)
    }

    /// As [`Store::load_of_jobs`], of recipes, with the inputs of all of them.
    pub(super) async fn load_of_recipes(
        &self,
        client: &DataClient,
        recipes: &[i64],
    ) -> Result<Running, StoreError> {
        let tops = lock_tops(client, TOPS_OF_RECIPES, recipes).await?;
        self.load(client, &tops, true).await
    }

    /// Nothing but the clock: for what is only created.
    pub(super) async fn load_nothing(&self, client: &DataClient) -> Result<Running, StoreError> {
        let clock = client.prepare_cached(NOW).await?;
        let at: DateTime<Utc> = client.query_one(&clock, &[]).await?.try_get(0)?;
        Ok(Running::new(at))
    }

    async fn load(&self, client: &DataClient, tops: &[i64], inputs: bool) -> Result<Running, StoreError> {
        let mut running = self.load_nothing(client).await?;
        if tops.is_empty() {
            return Ok(running);
        }
        let mut found = rows(client, RECIPES, tops).await?;
        let mut revisions = BTreeSet::new();
        for row in &found {
            revisions.insert(row.try_get::<_, i64>(4)?);
        }
        running.revisions = self.revisions(client, revisions).await?;
        if running.revisions.values().any(|revision| !revision.recipes.is_empty()) {
            found.extend(rows(client, CONTENTS, tops).await?);
            let mut revisions = BTreeSet::new();
            for row in &found {
                revisions.insert(row.try_get::<_, i64>(4)?);
            }
            running.revisions = self.revisions(client, revisions).await?;
        }
        for row in &found {
            let recipe = read_recipe(row, &running.revisions)?;
            running.recipes.insert(recipe.id, recipe);
        }
        let all: Vec<i64> = running.recipes.keys().copied().collect();
        let jobs = rows(client, JOBS, &all).await?;
        self.add_jobs(client, &mut running, jobs).await?;
        load_conditions(client, &mut running).await?;
        self.load_links(client, &mut running).await?;
        let subs: Vec<_> =
            running.recipes.values().filter_map(|recipe| Some((recipe.parent?, recipe.id))).collect();
        for ((parent, node), id) in subs {
            if let Some(parent) = running.recipes.get_mut(&parent) {
                set(&mut parent.slots, node.number(), Slot::Recipe(id));
            }
        }
        load_data(client, &mut running, inputs).await?;
        let batches: BTreeSet<i64> = running
            .recipes
            .values()
            .map(|recipe| recipe.batch_id)
            .chain(running.jobs.values().map(|row| row.batch_id))
            .flatten()
            .collect();
        self.load_priorities(client, &mut running, batches).await?;
        Ok(running)
    }

    /// The configured priorities of batches.
    pub(super) async fn load_priorities(
        &self,
        client: &DataClient,
        running: &mut Running,
        batches: BTreeSet<i64>,
    ) -> Result<(), StoreError> {
        if batches.is_empty() {
            return Ok(());
        }
        let batches: Vec<i64> = batches.into_iter().collect();
        for row in rows(client, PRIORITIES, &batches).await? {
            running.batch_priorities.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(())
    }

    /// Numbers for whatever may be created.
    pub(super) async fn reserve(&self, client: &DataClient, running: &mut Running) -> Result<(), StoreError> {
        let (jobs, recipes) = running.most_new_rows();
        for (statement, count, recipe) in [(NEW_JOB_IDS, jobs, false), (NEW_RECIPE_IDS, recipes, true)] {
            let (count, ids) = match recipe {
                true => (count.saturating_sub(running.recipe_ids.len()), &mut running.recipe_ids),
                false => (count.saturating_sub(running.job_ids.len()), &mut running.job_ids),
            };
            if count > 0 {
                let statement = client.prepare_cached(statement).await?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                for row in client.query(&statement, &[&count]).await? {
                    ids.push_back(row.try_get(0)?);
                }
            }
        }
        Ok(())
    }

    /// A number for a new job outside recipes.
    pub(super) async fn reserve_job(
        &self,
        client: &DataClient,
        running: &mut Running,
    ) -> Result<(), StoreError> {
        let statement = client.prepare_cached(NEW_JOB_IDS).await?;
        running.job_ids.push_back(client.query_one(&statement, &[&1_i64]).await?.try_get(0)?);
        Ok(())
    }

    /// Numbers for this many new recipes at the top.
    pub(super) async fn reserve_recipes(
        &self,
        client: &DataClient,
        running: &mut Running,
        count: usize,
    ) -> Result<(), StoreError> {
        let statement = client.prepare_cached(NEW_RECIPE_IDS).await?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        for row in client.query(&statement, &[&count]).await? {
            running.recipe_ids.push_back(row.try_get(0)?);
        }
        Ok(())
    }

    async fn add_jobs(
        &self,
        client: &DataClient,
        running: &mut Running,
        rows_of_jobs: Vec<Row>,
    ) -> Result<(), StoreError> {
        let mut strange = Vec::new();
        for row in &rows_of_jobs {
            let mut job = read_job(row)?;
            if let (Some(recipe), Some(number)) =
                (row.try_get::<_, Option<i64>>(3)?, row.try_get::<_, Option<i16>>(4)?)
                && let Some(recipe) = running.recipes.get_mut(&recipe)
            {
                let node = recipe.revision.graph.by_number(number);
                if let Some(node) = node {
                    job.place = Some((recipe.id, node));
                    set(&mut recipe.slots, number, Slot::Job(job.id));
                }
                if let Some(known) = node.and_then(|node| recipe.revision.jobs.get(&node)) {
                    job.node.max_tries = known.max_tries;
                    job.node.priority = known.priority;
                    job.node.is_paused = known.is_paused;
                } else {
                    strange.push(job.id);
                }
            } else {
                strange.push(job.id);
            }
            running.jobs.insert(job.id, job);
        }
        if strange.is_empty() {
            return Ok(());
        }
        let types: BTreeSet<i64> =
            strange.iter().filter_map(|id| running.jobs.get(id)).map(|job| job.node.job_type_id).collect();
        let types: Vec<i64> = types.into_iter().collect();
        let mut known = HashMap::new();
        for row in rows(client, JOB_TYPES, &types).await? {
            known.insert(
                row.try_get::<_, i64>(0)?,
                (row.try_get::<_, i32>(1)?, row.try_get::<_, Option<i64>>(2)?, row.try_get::<_, bool>(3)?),
            );
        }
        for id in strange {
            if let Some(job) = running.jobs.get_mut(&id)
                && let Some((max_tries, priority, is_paused)) = known.get(&job.node.job_type_id).copied()
            {
                job.node = JobNode { max_tries, priority, is_paused, ..job.node };
            }
        }
        Ok(())
    }

    async fn load_links(&self, client: &DataClient, running: &mut Running) -> Result<(), StoreError> {
        let linking: Vec<i64> = running
            .recipes
            .values()
            .filter(|recipe| recipe.superseded_recipe_id.is_some())
            .map(|recipe| recipe.id)
            .collect();
        if linking.is_empty() {
            return Ok(());
        }
        let links = rows(client, LINKS, &linking).await?;
        let mut missing = Vec::new();
        for row in &links {
            if let Some(job) = row.try_get::<_, Option<i64>>(2)?
                && !running.jobs.contains_key(&job)
            {
                missing.push(job);
            }
        }
        if !missing.is_empty() {
            let found = rows(client, JOBS_BY_ID, &missing).await?;
            self.add_jobs(client, running, found).await?;
        }
        for row in &links {
            let (id, number): (i64, i16) = (row.try_get(0)?, row.try_get(1)?);
            let Some(recipe) = running.recipes.get_mut(&id) else { continue };
            let Some(node) = recipe.revision.graph.by_number(number) else { continue };
            recipe.linked.insert(node);
            if let Some(job) = row.try_get::<_, Option<i64>>(2)? {
                set(&mut recipe.slots, number, Slot::Job(job));
                if let Some(row) = running.jobs.get_mut(&job) {
                    row.links.push((id, node));
                }
            } else if let Some(sub) = row.try_get::<_, Option<i64>>(3)? {
                set(&mut recipe.slots, number, Slot::Recipe(sub));
                if let Some(sub) = running.recipes.get_mut(&sub) {
                    sub.holders.push((id, node));
                }
            }
        }
        Ok(())
    }
}

/// Locks the recipes at the top. A reprocess that came in between added some: then these are locked, too.
async fn lock_tops(client: &DataClient, tops: &str, of: &[i64]) -> Result<Vec<i64>, StoreError> {
    let mut found = ids(client, tops, of).await?;
    found.sort_unstable();
    loop {
        if found.is_empty() {
            return Ok(found);
        }
        let statement = client.prepare_cached(LOCK).await?;
        let mut superseded = false;
        for row in client.query(&statement, &[&found]).await? {
            superseded |= row.try_get::<_, bool>(0)?;
        }
        if !superseded {
            return Ok(found);
        }
        let mut again = ids(client, tops, of).await?;
        again.sort_unstable();
        if again == found {
            return Ok(found);
        }
        found = again;
    }
}

async fn load_conditions(client: &DataClient, running: &mut Running) -> Result<(), StoreError> {
    let with: Vec<i64> = running
        .recipes
        .values()
        .filter(|recipe| {
            recipe.revision.jobs.len() + recipe.revision.recipes.len() < recipe.revision.graph.len()
        })
        .map(|recipe| recipe.id)
        .collect();
    if with.is_empty() {
        return Ok(());
    }
    for row in rows(client, CONDITIONS, &with).await? {
        if let Some(recipe) = running.recipes.get_mut(&row.try_get(0)?) {
            let slot = Slot::Condition { outcome: row.try_get(2)?, stored: true, changed: false };
            set(&mut recipe.slots, row.try_get(1)?, slot);
        }
    }
    Ok(())
}

/// Inputs and outputs of recipes with conditions to decide or sub-recipes to start; with `all`, the inputs of the others, too.
async fn load_data(client: &DataClient, running: &mut Running, all: bool) -> Result<(), StoreError> {
    let needing: Vec<i64> = running
        .recipes
        .values()
        .filter(|recipe| all || recipe.revision.needs_data())
        .map(|recipe| recipe.id)
        .collect();
    if needing.is_empty() {
        return Ok(());
    }
    for row in rows(client, INPUTS, &needing).await? {
        if let Some(recipe) = running.recipes.get_mut(&row.try_get(0)?) {
            recipe.input = Some(data(row.try_get(1)?)?);
        }
    }
    let jobs: Vec<i64> = running
        .recipes
        .values()
        .filter(|recipe| recipe.revision.needs_data())
        .flat_map(|recipe| &recipe.slots)
        .filter_map(|slot| if let Slot::Job(job) = slot { Some(*job) } else { None })
        .collect();
    if jobs.is_empty() {
        return Ok(());
    }
    for row in rows(client, OUTPUTS, &jobs).await? {
        if let Some(job) = running.jobs.get_mut(&row.try_get(0)?) {
            job.output = Some(data(row.try_get(1)?)?.into());
        }
    }
    Ok(())
}

/// A data document that a query returned as text.
pub(super) fn data(text: &str) -> Result<Data, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn set(slots: &mut [Slot], number: i16, slot: Slot) {
    if let Some(place) = usize::try_from(number).ok().and_then(|number| slots.get_mut(number)) {
        *place = slot;
    }
}

pub(super) async fn rows(client: &DataClient, statement: &str, of: &[i64]) -> Result<Vec<Row>, StoreError> {
    let statement = client.prepare_cached(statement).await?;
    Ok(client.query(&statement, &[&of]).await?)
}

async fn ids(client: &DataClient, statement: &str, of: &[i64]) -> Result<Vec<i64>, StoreError> {
    let rows = rows(client, statement, of).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
