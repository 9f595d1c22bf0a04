//! Revisions of recipe types and job types, kept once they were read (data plane). They never change; what may change beside
//! them, priorities, numbers of tries and pauses, is read again after a while.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use crate::model::recipe::running::{JobNode, Revision};
use crate::model::recipe::{Graph, Manifest, Place, RecipeDefinition};
use crate::store::data::DataClient;
use crate::store::{Store, StoreError};

/// How long priorities, numbers of tries and pauses may be old.
const FRESH: Duration = Duration::from_secs(2);

/// The most revisions of either kind that are kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// What a job of a job type's revision runs.
#[derive(Debug)]
pub struct JobProgram {
    /// The revision.
    pub job_type_rev_id: i64,
    /// What workers load.
    pub program_id: Uuid,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Revisions of recipe types by id, and when they were read.
type Revisions = LruCache<i64, (Instant, Arc<Revision>)>;

/// Revisions that were read. Cloning gives the same.
#[derive(Debug, Clone)]
pub struct Known {
    revisions: Arc<Mutex<Revisions>>,
    programs: Arc<Mutex<LruCache<i64, Arc<JobProgram>>>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            revisions: Arc::new(Mutex::new(LruCache::new(KEPT))),
            programs: Arc::new(Mutex::new(LruCache::new(KEPT))),
        }
    }
}

const REVISION: &str = "
-- recipes: revision
SELECT recipe_type_id, definition::text FROM recipe_type_revisions WHERE id = $1";

const REVISION_JOBS: &str = "
-- recipes: jobs of a revision
SELECT n.node, t.id, n.job_type_rev_id, t.max_tries, (t.configuration ->> 'priority')::bigint, t.is_paused
FROM recipe_type_jobs n JOIN job_type_revisions r ON r.id = n.job_type_rev_id JOIN job_types t ON t.id = r.job_type_id
WHERE n.revision_id = $1";

const REVISION_RECIPES: &str = "
-- recipes: sub-recipes of a revision
SELECT node, sub_revision_id FROM recipe_type_recipes WHERE revision_id = $1";

const PROGRAM: &str = "
-- recipes: program
SELECT program_id, manifest::text FROM job_type_revisions WHERE id = $1";

impl Store {
    /// What jobs of this revision of a job type run.
    pub async fn job_type_program(&self, revision_id: i64) -> Result<Arc<JobProgram>, StoreError> {
        if let Some(known) = self.recipes.programs.lock().get(&revision_id) {
            return Ok(Arc::clone(known));
        }
        let client = self.data_client().await?;
        client.in_time(self.job_program(&client, revision_id)).await
    }

    /// As [`Store::job_type_program`], on a connection.
    pub(super) async fn job_program(
        &self,
        client: &DataClient,
        revision_id: i64,
    ) -> Result<Arc<JobProgram>, StoreError> {
        if let Some(known) = self.recipes.programs.lock().get(&revision_id) {
            return Ok(Arc::clone(known));
        }
        let statement = client.prepare_cached(PROGRAM).await?;
        let row = client.query_opt(&statement, &[&revision_id]).await?;
        let row = row.ok_or(StoreError::NotFound("job type revision"))?;
        let manifest = document(row.try_get(1)?)?;
        let manifest = Manifest::parse(&manifest, Place::root("manifest"))
            .map_err(|_| StoreError::Corrupt(format!("the manifest of job type revision {revision_id}")))?;
        let program =
            Arc::new(JobProgram { job_type_rev_id: revision_id, program_id: row.try_get(0)?, manifest });
        self.recipes.programs.lock().put(revision_id, Arc::clone(&program));
        Ok(program)
    }

    /// A revision of a recipe type.
    pub(super) async fn revision(&self, client: &DataClient, id: i64) -> Result<Arc<Revision>, StoreError> {
        if let Some((read, known)) = self.recipes.revisions.lock().get(&id)
            && read.elapsed() < FRESH
        {
            return Ok(Arc::clone(known));
        }
        let statement = client.prepare_cached(REVISION).await?;
        let row = client.query_opt(&statement, &[&id]).await?;
        let row = row.ok_or(StoreError::NotFound("recipe type revision"))?;
        let broken = || StoreError::Corrupt(format!("the definition of recipe type revision {id}"));
        let definition = RecipeDefinition::parse(&document(row.try_get(1)?)?, Place::root("definition"))
            .map_err(|_| broken())?;
        let graph = Arc::new(Graph::compile(&definition).map_err(|_| broken())?);
        let mut jobs = BTreeMap::new();
        let statement = client.prepare_cached(REVISION_JOBS).await?;
        for row in client.query(&statement, &[&id]).await? {
            let node = graph.by_number(row.try_get(0)?).ok_or_else(broken)?;
            let job = JobNode {
                job_type_id: row.try_get(1)?,
                job_type_rev_id: row.try_get(2)?,
                max_tries: row.try_get(3)?,
                priority: row.try_get(4)?,
                is_paused: row.try_get(5)?,
            };
            jobs.insert(node, job);
        }
        let mut recipes = BTreeMap::new();
        let statement = client.prepare_cached(REVISION_RECIPES).await?;
        for row in client.query(&statement, &[&id]).await? {
            recipes.insert(graph.by_number(row.try_get(0)?).ok_or_else(broken)?, row.try_get(1)?);
        }
        let revision = Arc::new(Revision { id, recipe_type_id: row.try_get(0)?, graph, jobs, recipes });
        self.recipes.revisions.lock().put(id, (Instant::now(), Arc::clone(&revision)));
        Ok(revision)
    }

    /// These revisions and those that their nodes refer to, at any depth.
    pub(super) async fn revisions(
        &self,
        client: &DataClient,
        ids: impl IntoIterator<Item = i64>,
    ) -> Result<HashMap<i64, Arc<Revision>>, StoreError> {
        let mut wanted: Vec<i64> = ids.into_iter().collect();
        let mut found = HashMap::new();
        while let Some(id) = wanted.pop() {
            if let Entry::Vacant(place) = found.entry(id) {
                let revision = self.revision(client, id).await?;
                wanted.extend(revision.recipes.values());
                place.insert(revision);
            }
        }
        Ok(found)
    }
}

/// A JSON document that a query returned as text.
pub(super) fn document(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}
