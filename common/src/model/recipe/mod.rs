//! Recipes: the rules of the Scale v6 Batch Services, as pure functions.
//!
//! Nothing here knows a database, a queue or a clock. The store loads documents and rows, asks, and writes what it is
//! told.
//!
//! # Where a rule is found
//!
//! | contract | rule | where |
//! | --- | --- | --- |
//! | 1.6 | documents are given back without `version` | [`echo`] |
//! | 2.7, 5.1–5.3, 6.3, 4.10 | names of errors and warnings | [`names`], one enum for each family |
//! | 3.1, 3.2, 4.9 | batch definition, configuration, priority | [`BatchDefinition`], [`BatchConfiguration`], [`priority`] |
//! | 3.3, 4.5 | forced nodes | [`ForcedNodes`] |
//! | 4.4, 4.7 | datasets to recipe inputs, equal inputs | [`InputMap`], [`Data::hash`] |
//! | 5.1 | manifests, job configurations | [`Manifest`], [`JobConfiguration`] |
//! | 5.2 | recipe definitions and their checks | [`RecipeDefinition`], [`RecipeDefinition::check`] |
//! | 5.2 | names of recipe types, new revisions because of others | [`recipe_type_name`], [`with_job_type`], [`with_recipe_type`] |
//! | 5.3 | datasets and members | [`DatasetDefinition`], [`Data`] |
//! | 2.3, 2.6, 2.7, 4.6 | the checks of a batch in their stages, warnings, the estimate | [`check_batch`], [`count_sub_recipes`] |
//! | 4.2–4.4 | what becomes of existing recipes | [`treatment`], [`pair`] |
//! | 4.1–4.4 | lives of recipes and batches | [`recipe_step`], [`recipe_batch_step`] |
//! | 4.4, 4.5 | copied, redone and superseded nodes, through sub-recipes | [`ReprocessPlan`] |
//! | 4.8, 2.5 | metrics as counters; of a chain of batches | [`RecipeCounts`], [`BatchCounts`], [`NodeMetrics`], [`side_by_side`] |
//! | 4.10 | the difference of two revisions | [`Diff`] |
//! | 5.5 | forced nodes of one recipe, checked strictly | [`check_forced`] |
//! | 6.1 | the life of a job | [`job_step`] |
//! | 6.2 | the compiled graph, node inputs, tables for SQL | [`Graph`], [`GraphTables`] |
//! | 6.2, 6.4 | creation, blocking, input, completion, sub-recipes | [`evaluate()`] |
//! | 4.2, 4.4, 6.1–6.4 | what happens to recipes in motion, with their counters | [`running`] |
//! | 6.3 | data filters | [`DataFilter`] |
//!
//! # Documents
//!
//! Every document has a `parse` that takes JSON and the [`Place`] at which it stands in the request. It gives the
//! typed document, or everything that is wrong with it, each thing with its place ([`Finding`]). What depends on
//! other rows (does the job type exist?) is a second step, which is given those rows.
//!
//! # Running
//!
//! A revision is compiled once into a [`Graph`] and shared (`Arc`). [`evaluate()`] is the rule for one recipe. Where
//! many recipes of a batch move at once, SQL does the same to sets of rows with the tables of [`GraphTables`]; a
//! difference between the two is an error of the SQL. Every status goes through [`job_step`], [`recipe_step`] or
//! [`recipe_batch_step`], or through an update that is conditional on the same states.

mod admission;
mod data;
mod dataset;
mod definition;
mod diff;
pub mod echo;
mod evaluate;
mod filter;
mod finding;
mod forced;
mod graph;
mod interface;
mod job;
mod life;
mod manifest;
mod metrics;
pub mod names;
mod node_set;
mod order;
mod reader;
mod reprocess;
mod request;
mod revise;
pub mod running;
mod tables;
mod text;

pub use admission::{
    BatchCheck, BatchFacts, DatasetFacts, PreviousFacts, Treatment, check_batch, check_edited_map, pair,
    treatment,
};
pub use data::{Data, DataValue, InputHash, InputMap, InputMapEntry, InputSources};
pub use dataset::DatasetDefinition;
pub use definition::{
    Catalog, Condition, Connection, JobTypeEntry, JobTypeRef, MAX_NODE_NAME, MAX_NODES, Node, NodeKind,
    NodeType, RecipeDefinition, RecipeTypeEntry, RecipeTypeRef,
};
pub use diff::{Diff, NodeDiff, NodeName, NodeStatus, NodeTypeDiff};
pub use evaluate::{Evaluation, NodeState, Surroundings, evaluate};
pub use filter::{DataFilter, Filter, FilterKind, Operator};
pub use finding::{Finding, MAX_FINDINGS, Validation};
pub use forced::ForcedNodes;
pub use graph::{Graph, GraphError, GraphNode, Parent, Requirement, Source};
pub use interface::{Interface, JsonType, Mismatch, MismatchKind, Parameter, ParameterKind, Widening};
pub use job::{Column, Effects, Idle, Job, JobEvent, JobStatus, JobStep, step as job_step};
pub use life::{
    RecipeBatchEvent, RecipeBatchState, RecipeEvent, RecipeState, TransitionActor, recipe_batch_step,
    recipe_step,
};
pub use manifest::{JobConfiguration, JobError, Manifest};
pub use metrics::{BatchCounts, Delta, Durations, JobCounts, NodeMetrics, RecipeCounts, Took, side_by_side};
pub use node_set::{NodeIndex, NodeSet};
pub use reader::Place;
pub use reprocess::{
    Copied, MAX_NESTING, RecipeTypes, Redone, ReprocessError, ReprocessPlan, check_forced, count_sub_recipes,
};
pub use request::{BatchConfiguration, BatchDefinition, PreviousBatchRef, priority};
pub use revise::{MAX_RECIPE_TYPE_NAME, TitleError, recipe_type_name, with_job_type, with_recipe_type};
pub use tables::{EdgeTable, GraphTables, NodeTable, RequirementTable, closure};

#[cfg(test)]
mod tests;
