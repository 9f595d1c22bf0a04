//! Recipes: the tables of the Scale v6 batch services; a file per subject.

mod datasets;
mod job_types;
mod list;
mod recipe_types;
mod references;
mod revise;
mod revisions;
mod uploads;

pub use datasets::{Dataset, DatasetFilter, DatasetMember, DatasetSort, NewDataset};
pub use job_types::{
    JobType, JobTypeFilter, JobTypeRevisionRow, JobTypeSettings, NewJobTypeRevision, Program,
};
pub use list::{Sort, SortField, Window, order_by};
pub use recipe_types::{
    CheckedDefinition, Contents, RecipeType, RecipeTypeEdit, RecipeTypeFilter, RecipeTypeRevisionRow,
};
pub use references::References;
pub use revise::Consequences;
pub use revisions::{JobNode, RevisionSource};
pub use uploads::{DatasetUpload, OpenUpload};
