//! Revisions of recipe types, compiled, shared and kept while they are used (design section 8).

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::model::recipe::{Graph, GraphError, Manifest, NodeIndex, Place, RecipeDefinition};
use crate::store::recipes::JobNode;
use crate::store::{Store, StoreError};

/// Revisions that are kept.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Why a revision cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RevisionError {
    /// The database failed; try again.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// There is no such revision.
    #[error("there is no revision {0} of a recipe type")]
    Missing(i64),
    /// The stored definition cannot be compiled. It could when it was stored, so this binary is of another version.
    #[error("the revision {0} of a recipe type does not compile: {1}")]
    Graph(i64, GraphError),
    /// A stored document cannot be read. It could when it was stored, so this binary is of another version.
    #[error("the revision {0} of a recipe type cannot be read: {1}")]
    Document(i64, String),
}

impl From<StoreError> for RevisionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

/// A revision of a job type, as far as it never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTypeRevision {
    /// Its id.
    pub id: i64,
    /// The job type.
    pub job_type_id: i64,
    /// The job type's name.
    pub name: String,
    /// The job type's version.
    pub version: String,
    /// The number of the revision.
    pub revision_num: i32,
    /// What [`crate::programs::Programs`] loads.
    pub program_id: Uuid,
    /// What it takes and gives, and how long it may take.
    pub manifest: Manifest,
}

/// A revision of a recipe type, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Its id.
    pub id: i64,
    /// Whose it is.
    pub tenant_id: Uuid,
    /// The recipe type.
    pub recipe_type_id: i64,
    /// The recipe type's name.
    pub name: String,
    /// The number of the revision.
    pub revision_num: i32,
    /// The definition, as it is given back.
    pub definition: Json,
    /// The compiled definition; its nodes' numbers are those in tables.
    pub graph: Arc<Graph>,
    job_types: Vec<Option<Arc<JobTypeRevision>>>,
    sub_recipes: Vec<Option<i64>>,
}

impl Revision {
    /// What a job node runs; `None` for nodes of other kinds.
    pub fn job_type(&self, node: NodeIndex) -> Option<&Arc<JobTypeRevision>> {
        self.job_types.get(at(node))?.as_ref()
    }

    /// The revision that a sub-recipe node runs; `None` for nodes of other kinds.
    pub fn sub_recipe(&self, node: NodeIndex) -> Option<i64> {
        self.sub_recipes.get(at(node)).copied().flatten()
    }
}

/// What is kept by id. Who asks first for something loads it, and the others wait for that.
type Cells<T> = LruCache<i64, Arc<OnceCell<Arc<T>>>>;

/// A cache of revisions by id. Cheap to clone. Revisions never change, so none gets stale.
#[derive(Debug, Clone)]
pub struct RecipeRevisions {
    store: Store,
    revisions: Arc<Mutex<Cells<Revision>>>,
    job_types: Arc<Mutex<Cells<JobTypeRevision>>>,
}

impl RecipeRevisions {
    /// An empty cache.
    pub fn new(store: Store) -> Self {
        let (revisions, job_types) = (LruCache::new(KEPT), LruCache::new(KEPT));
        Self { store, revisions: Arc::new(Mutex::new(revisions)), job_types: Arc::new(Mutex::new(job_types)) }
    }

    /// A revision of a recipe type, by its id.
    ///
    /// # Errors
    ///
    /// See [`RevisionError`].
    pub async fn get(&self, revision_id: i64) -> Result<Arc<Revision>, RevisionError> {
        let cell = self.revisions.lock().get_or_insert(revision_id, Arc::default).clone();
        Ok(cell.get_or_try_init(|| self.load(revision_id)).await?.clone())
    }

    /// A revision of a job type, by its id.
    ///
    /// # Errors
    ///
    /// See [`RevisionError`].
    pub async fn job_type(&self, revision_id: i64) -> Result<Arc<JobTypeRevision>, RevisionError> {
        let cell = self.job_types.lock().get_or_insert(revision_id, Arc::default).clone();
        let load = || async {
            let found = self.store.in_time(self.store.job_type_revision_by_id(revision_id)).await?;
            compile(found.ok_or(RevisionError::Missing(revision_id))?, revision_id)
        };
        Ok(cell.get_or_try_init(load).await?.clone())
    }

    async fn load(&self, id: i64) -> Result<Arc<Revision>, RevisionError> {
        let source = self.store.in_time(self.store.revision_source(id)).await?;
        let source = source.ok_or(RevisionError::Missing(id))?;
        let definition = RecipeDefinition::parse(&source.definition, Place::root("definition"));
        let definition = definition.map_err(|findings| {
            RevisionError::Document(id, findings.first().map(ToString::to_string).unwrap_or_default())
        })?;
        let graph = Graph::compile(&definition).map_err(|error| RevisionError::Graph(id, error))?;
        let mut job_types = vec![None; graph.len()];
        let mut sub_recipes = vec![None; graph.len()];
        for job in source.jobs {
            if let Some(place) = graph.by_number(job.node).and_then(|node| job_types.get_mut(at(node))) {
                *place = Some(compile(job, id)?);
            }
        }
        for (node, revision_id) in source.sub_recipes {
            if let Some(place) = graph.by_number(node).and_then(|node| sub_recipes.get_mut(at(node))) {
                *place = Some(revision_id);
            }
        }
        Ok(Arc::new(Revision {
            id,
            tenant_id: source.tenant_id,
            recipe_type_id: source.recipe_type_id,
            name: source.name,
            revision_num: source.revision_num,
            definition: source.definition,
            graph: Arc::new(graph),
            job_types,
            sub_recipes,
        }))
    }
}

/// The place of a node in lists of its graph's nodes.
fn at(node: NodeIndex) -> usize {
    usize::from(node.number().unsigned_abs())
}

fn compile(node: JobNode, revision_id: i64) -> Result<Arc<JobTypeRevision>, RevisionError> {
    let manifest = Manifest::parse(&node.manifest, Place::root("manifest")).map_err(|findings| {
        RevisionError::Document(revision_id, findings.first().map(ToString::to_string).unwrap_or_default())
    })?;
    Ok(Arc::new(JobTypeRevision {
        id: node.job_type_rev_id,
        job_type_id: node.job_type_id,
        name: node.name,
        version: node.version,
        revision_num: node.revision_num,
        program_id: node.program_id,
        manifest,
    }))
}
