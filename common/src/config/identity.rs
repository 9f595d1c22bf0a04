//! Settings of who may do what, and of what is noted about it.

use serde::{Deserialize, Serialize};

/// The audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Entries are removed after this many days; 0 keeps them for ever.
    pub retention_days: u32,
    /// Whether the address that a change came from is noted.
    pub source_address: bool,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { retention_days: 400, source_address: false }
    }
}
