//! Recipes: the tables of the Scale v6 batch services; a file per subject.

mod ahead;
mod batches;
mod bundles;
mod commit;
mod counted;
mod creation;
mod datasets;
mod exports;
mod families;
mod graphs;
mod job_types;
mod jobs;
mod known;
mod list;
mod pages;
mod publication;
mod recipe_types;
mod references;
mod related;
mod requests;
mod revise;
mod revisions;
mod rows;
mod runs;
mod single;
mod transaction;
mod uploads;
mod workloads;
mod writes;

pub use ahead::{AheadPage, AheadWorkload, ReadyPage};
pub use batches::{
    BatchAdmission, BatchDetails, BatchEdit, BatchField, BatchFilter, BatchRequest, Comparison, EditedBatch,
    RECIPE_BATCH_SLOTS, RecipeBatch,
};
pub use bundles::{Bundle, BundleJob, FinishedBundle, Foreseen, JobOutcome, JobResult};
pub use commit::Settled;
pub use creation::CreationStep;
pub use datasets::{Dataset, DatasetFilter, DatasetMember, DatasetSort, NewDataset, NewMember};
pub use exports::{
    ExportError, ExportFilter, ExportedNode, ExportedRecipe, NodeColumns, RecipeColumns, RecipeExport,
};
pub use job_types::{
    JobType, JobTypeFilter, JobTypeRevisionRow, JobTypeSettings, NewJobTypeRevision, Program,
};
pub use jobs::{
    Job, JobDetails, JobExecution, JobFailure, JobField, JobFilter, JobRequest, JobRequestFilter,
    JobRequestKind, JobTypeName, Worker,
};
pub use known::{JobProgram, Known};
pub use list::{Sort, SortField, Window, order_by};
pub use publication::{BundleRef, WorkloadLane};
pub use recipe_types::{
    CheckedDefinition, Contents, RecipeType, RecipeTypeEdit, RecipeTypeFilter, RecipeTypeRevisionRow,
};
pub use references::References;
pub use related::{BatchBase, Event, JobTypeBase, Modified, RecipeTypeBase, Revision};
pub use revise::Consequences;
pub use revisions::{JobNode, RevisionSource};
pub use runs::{InstanceNode, NodeInstance, Recipe, RecipeField, RecipeFilter, RecipeInstance};
pub use single::{Made, ReprocessRefusal, SingleJobType};
pub use uploads::{DatasetUpload, OpenUpload};
pub use workloads::WorkloadView;
