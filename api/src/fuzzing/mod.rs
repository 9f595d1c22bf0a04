//! What reads foreign bytes, as functions that take any bytes and panic when a promise is broken.
//!
//! `cargo test -p millrace-api fuzzing` replays the corpora of `api/fuzz` and mutates them from a fixed seed; the targets of
//! `api/fuzz` hand the same functions to libFuzzer. Besides not to panic, each function promises what its comment says.

mod encodings;
mod push;
#[cfg(test)]
mod replay;
mod texts;

pub use encodings::encodings;
pub use push::{push_bson, push_json};
pub use texts::{credential, cursor, form, locator};

/// A function for any bytes.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its corpus and of its program.
pub const TARGETS: [(&str, Target); 7] = [
    ("push_json", push_json),
    ("push_bson", push_bson),
    ("encodings", encodings),
    ("locator", locator),
    ("credential", credential),
    ("form", form),
    ("cursor", cursor),
];

/// The reading of bodies waits for frames, and forms for their parts: both are there at once.
fn wait<T>(work: impl Future<Output = T>) -> Option<T> {
    thread_local! {
        static RUNTIME: Option<tokio::runtime::Runtime> =
            tokio::runtime::Builder::new_current_thread().enable_time().build().ok();
    }
    RUNTIME.with(|runtime| runtime.as_ref().map(|runtime| runtime.block_on(work)))
}
