//! Recipes: the rules of the Scale v6 Batch Services, as pure functions.
//!
//! Nothing here knows a database, a queue or a clock. The store loads documents and rows, asks, and writes what it is told.
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
//! | 5.3 | datasets and members | [`DatasetDefinition`], [`Data`] |
//! | 6.2 | the compiled graph, node inputs, tables for SQL | [`Graph`], [`GraphTables`] |
//! | 6.3 | data filters | [`DataFilter`] |
//!
//! # Documents
//!
//! Every document has a `parse` that takes JSON and the [`Place`] at which it stands in the request. It gives the typed document,
//! or everything that is wrong with it, each thing with its place ([`Finding`]). What depends on other rows (does the job type exist?) is a
//! second step, which is given those rows.

mod data;
mod dataset;
mod definition;
pub mod echo;
mod filter;
mod finding;
mod forced;
mod graph;
mod interface;
mod manifest;
pub mod names;
mod node_set;
mod order;
mod reader;
mod request;
mod tables;
mod text;

pub use data::{Data, DataValue, InputHash, InputMap, InputMapEntry, InputSources};
pub use dataset::DatasetDefinition;
pub use definition::{
    Catalog, Condition, Connection, JobTypeEntry, JobTypeRef, MAX_NODE_NAME, MAX_NODES, Node, NodeKind,
    NodeType, RecipeDefinition, RecipeTypeEntry, RecipeTypeRef,
};
pub use filter::{DataFilter, Filter, FilterKind, Operator};
pub use finding::{Finding, MAX_FINDINGS, Validation};
pub use forced::ForcedNodes;
pub use graph::{Graph, GraphError, GraphNode, Parent, Requirement, Source};
pub use interface::{Interface, JsonType, Mismatch, MismatchKind, Parameter, ParameterKind, Widening};
pub use manifest::{JobConfiguration, JobError, Manifest};
pub use node_set::{NodeIndex, NodeSet};
pub use reader::Place;
pub use request::{BatchConfiguration, BatchDefinition, PreviousBatchRef, priority};
pub use tables::{EdgeTable, GraphTables, NodeTable, RequirementTable, closure};

#[cfg(test)]
mod tests;
