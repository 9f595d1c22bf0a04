//! What reads foreign bytes, as functions that take any bytes and panic when a promise is broken.
//!
//! `cargo test -p millrace-api fuzzing` replays the corpora of `api/fuzz` and mutates them from a fixed seed; the targets of
//! `api/fuzz` hand the same functions to libFuzzer. Besides not to panic, each function promises what its comment says.

mod encodings;
mod push;
#[cfg(test)]
mod replay;
mod texts;
mod v6;

pub use encodings::encodings;
pub use push::{push_bson, push_json};
pub use texts::{credential, cursor, form, locator};
pub use v6::{v6_definition, v6_document, v6_filter, v6_query, v6_rows};

/// A function for any bytes.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its corpus and of its program.
pub const TARGETS: [(&str, Target); 12] = [
    ("push_json", push_json),
    ("push_bson", push_bson),
    ("encodings", encodings),
    ("locator", locator),
    ("credential", credential),
    ("form", form),
    ("cursor", cursor),
    ("v6_definition", v6_definition),
    ("v6_document", v6_document),
    ("v6_filter", v6_filter),
    ("v6_rows", v6_rows),
    ("v6_query", v6_query),
];

/// The reading of bodies waits for frames, and forms for their parts: both are there at once.
fn wait<T>(work: impl Future<Output = T>) -> Option<T> {
    thread_local! {
        static RUNTIME: Option<tokio::runtime::Runtime> =
            tokio::runtime::Builder::new_current_thread().enable_time().build().ok();
    }
    RUNTIME.with(|runtime| runtime.as_ref().map(|runtime| runtime.block_on(work)))
}
