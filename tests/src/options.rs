//! What a fleet is made of.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What a fleet consists of. Settings are named as in the configuration file: `worker.slots`.
#[derive(Debug, Clone, Default)]
pub struct FleetOptions {
    pub(crate) workers: usize,
    pub(crate) database_query: Option<String>,
    pub(crate) all: RoleOptions,
    pub(crate) api: RoleOptions,
    pub(crate) worker: RoleOptions,
}

/// What is particular to the processes of one role.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoleOptions {
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) broker_at: Option<SocketAddr>,
    pub(crate) database_at: Option<SocketAddr>,
}

impl FleetOptions {
    /// An API and this many workers, with the default settings.
    pub fn workers(workers: usize) -> Self {
        Self { workers, ..Self::default() }
    }

    /// A setting of every process.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.all.variables.insert(variable(key), value.to_string());
        self
    }

    /// Workers store a few results at a time. They then notice soon after its last free byte that an output buffer is full,
    /// however slow the database is.
    #[must_use]
    pub fn small_groups(self) -> Self {
        self.set_worker("worker.group_chunks", 2).set_worker("worker.commits", 1)
    }

    /// A setting of the API alone.
    #[must_use]
    pub fn set_api(mut self, key: &str, value: impl ToString) -> Self {
        self.api.variables.insert(variable(key), value.to_string());
        self
    }

    /// A setting of the workers alone.
    #[must_use]
    pub fn set_worker(mut self, key: &str, value: impl ToString) -> Self {
        self.worker.variables.insert(variable(key), value.to_string());
        self
    }

    /// A variable of the API's environment that is no setting.
    #[must_use]
    pub fn api_variable(mut self, name: &str, value: impl ToString) -> Self {
        self.api.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// A variable of every worker's environment that is no setting.
    #[must_use]
    pub fn worker_variable(mut self, name: &str, value: impl ToString) -> Self {
        self.worker.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// Every process reaches the broker through this address: a proxy that the test can cut.
    #[must_use]
    pub const fn broker_at(mut self, address: SocketAddr) -> Self {
        self.all.broker_at = Some(address);
        self
    }

    /// Every process connects to the database with these terms in the URL: `sslmode=require`.
    #[must_use]
    pub fn database_query(mut self, terms: &str) -> Self {
        self.database_query = Some(terms.to_owned());
        self
    }

    /// Every process reaches the database through this address: a proxy that the test can cut.
    #[must_use]
    pub const fn database_at(mut self, address: SocketAddr) -> Self {
        self.all.database_at = Some(address);
        self
    }

    /// As [`FleetOptions::broker_at`], for the API alone.
    #[must_use]
    pub const fn api_broker_at(mut self, address: SocketAddr) -> Self {
        self.api.broker_at = Some(address);
        self
    }

    /// As [`FleetOptions::broker_at`], for the workers alone.
    #[must_use]
    pub const fn worker_broker_at(mut self, address: SocketAddr) -> Self {
        self.worker.broker_at = Some(address);
        self
    }

    /// As [`FleetOptions::database_at`], for the API alone.
    #[must_use]
    pub const fn api_database_at(mut self, address: SocketAddr) -> Self {
        self.api.database_at = Some(address);
        self
    }

    /// As [`FleetOptions::database_at`], for the workers alone.
    #[must_use]
    pub const fn worker_database_at(mut self, address: SocketAddr) -> Self {
        self.worker.database_at = Some(address);
        self
    }
}

fn variable(key: &str) -> String {
    format!("MILLRACE_{}", key.to_uppercase().replace('.', "__"))
}
