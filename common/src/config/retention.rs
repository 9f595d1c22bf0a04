//! How long what has ended is kept.

use serde::{Deserialize, Serialize};

/// Days after which what has ended is removed; 0 keeps it for ever. Only the database's clock decides. Results go by
/// `clocks.results_seconds`, webhook messages by `webhooks.retention_seconds`, the audit trail by `audit.retention_days`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Batches after their end, with counters, totals and redrives. One stays while results of its day or webhook messages of its
    /// own are kept, and while a batch is there that did its failed work again.
    pub batches_days: u32,
    /// Batches of recipes after they were superseded, with their recipes and jobs. The first and the newest of a chain stay, and
    /// one stays while others share its jobs, or one of its jobs waits or runs.
    pub recipe_batches_days: u32,
    /// Recipes and jobs outside of batches after their last change. One stays while others share its jobs, or one of its jobs waits
    /// or runs.
    pub recipes_days: u32,
    /// Datasets that no batch was made of, after their last members came.
    pub datasets_days: u32,
    /// Cancels and requeues of jobs by filter after they were carried out.
    pub job_requests_days: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            batches_days: 90,
            recipe_batches_days: 0,
            recipes_days: 0,
            datasets_days: 0,
            job_requests_days: 30,
        }
    }
}
