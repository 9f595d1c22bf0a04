//! Recipes: the tables of the Scale v6 batch services; a file per subject.

mod batches;
mod datasets;
mod graphs;
mod job_types;
mod jobs;
mod list;
mod recipe_types;
mod references;
mod related;
mod revise;
mod revisions;
mod runs;
mod uploads;

pub use batches::{
    BatchAdmission, BatchDetails, BatchEdit, BatchField, BatchFilter, BatchRequest, Comparison, EditedBatch,
    RECIPE_BATCH_SLOTS, RecipeBatch,
};
pub use datasets::{Dataset, DatasetFilter, DatasetMember, DatasetSort, NewDataset, NewMember};
pub use job_types::{
    JobType, JobTypeFilter, JobTypeRevisionRow, JobTypeSettings, NewJobTypeRevision, Program,
};
pub use jobs::{
    Job, JobDetails, JobExecution, JobFailure, JobField, JobFilter, JobRequest, JobRequestFilter,
    JobRequestKind, JobTypeName, Worker,
};
pub use list::{Sort, SortField, Window, order_by};
pub use recipe_types::{
    CheckedDefinition, Contents, RecipeType, RecipeTypeEdit, RecipeTypeFilter, RecipeTypeRevisionRow,
};
pub use references::References;
pub use related::{BatchBase, Event, JobTypeBase, Modified, RecipeTypeBase, Revision};
pub use revise::Consequences;
pub use revisions::{JobNode, RevisionSource};
pub use runs::{InstanceNode, NodeInstance, Recipe, RecipeField, RecipeFilter, RecipeInstance};
pub use uploads::{DatasetUpload, OpenUpload};
