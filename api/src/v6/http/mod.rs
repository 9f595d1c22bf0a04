//! What all v6 endpoints share (scale-v6 section 1): bodies, query parameters, times, pages, orders, refusals.
//!
//! The shapes of errors are in [`crate::error`]; slashes and 405 are made in [`crate::middleware`] and the router.

mod answer;
mod body;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzed;
mod page;
mod query;
mod time;

pub use answer::{Told, created, refused, validated};
pub use body::{Body, Fields};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzed::check_query;
pub use page::{Page, V6Page, Window};
pub(in crate::v6) use query::read_flag as flag;
pub use query::{Query, id};
pub use time::{datetime, duration, range};

/// The code of a parameter, or a field of a body, that is not there.
pub(in crate::v6) const MISSING: &str = "MISSING_PARAMETER";
/// The code of a parameter, or a field of a body, that cannot be read.
pub(in crate::v6) const INVALID: &str = "INVALID_PARAMETER";
