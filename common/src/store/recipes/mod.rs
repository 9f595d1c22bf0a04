//! Recipes: the tables of the Scale v6 batch services; a file per subject.

mod list;

pub use list::{Sort, SortField, Window, order_by};
