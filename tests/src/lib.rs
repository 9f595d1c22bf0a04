//! The test harness: real binaries of this workspace against a private broker and a private database.
//!
//! `./tests/run` starts the services and builds the binaries; by hand:
//!
//! ```sh
//! deploy/services start .millrace/tests && eval "$(deploy/services env .millrace/tests)"
//! cargo build --workspace --bins && cargo test -p millrace-tests
//! ```
//!
//! Each test starts a [`Fleet`] of its own: a fresh database, copied from a template that is migrated once, a fresh prefix
//! of broker names, an API process and any number of workers on free ports. Tests therefore run side by side, and leave
//! nothing behind. A test that stops or kills the broker or the database itself starts [`PrivateServices`] first.

mod answer;
mod client;
mod fleet;
mod options;
mod pages;
mod process;
pub mod proxy;
mod reconcile;
mod sales_run;
mod scrape;
mod services;
pub mod tls;
mod wait;
mod workbooks;

pub use answer::Answer;
pub use client::{Client, http};
pub use fleet::Fleet;
pub use options::FleetOptions;
pub use pages::{rows, tests_below, tests_in, tests_named};
pub use process::{Process, Signal, binary};
pub use reconcile::{broker, reconcile, released};
pub use sales_run::SalesRun;
pub use scrape::Scrape;
pub use services::{Database, PrivateServices, ServiceAction, Services};
pub use wait::{PATIENCE, wait_until};
pub use workbooks::{rates_workbook, sales_workbook};

use std::path::PathBuf;

/// The folder and name under which [`Fleet::sales`] publishes the sales workbook.
pub const SALES: &str = "sales/SalesExample";

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
