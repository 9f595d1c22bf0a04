//! Services to programs, programs over columns.
//!
//! A service is an Excel workbook ([`workbook`]) or a formula document ([`document`]). Both become a [`book::Book`] with an
//! [`interface::Interface`], and then a [`program::Program`]: an immutable, shareable list of instructions that evaluates many
//! records at once. [`service::Service`] ties the parts together; [`chunk`] goes from the bytes that a caller pushed to the
//! bytes that the API answers.
//!
//! This crate is pure: no I/O, no async runtime, no clock and no randomness of its own.

pub mod book;
pub mod chunk;
mod describe;
pub mod document;
mod engine;
mod formula;
pub mod functions;
pub mod interface;
pub mod limits;
pub mod load;
pub mod number;
pub mod program;
#[cfg(test)]
#[path = "../tests/support/properties.rs"]
mod properties;
pub mod reference;
mod route;
pub mod schema;
pub mod service;
mod source;
pub mod totals;
pub mod validation;
pub mod value;
pub mod workbook;

pub use chunk::scan;
