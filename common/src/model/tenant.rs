//! Who calls.

use uuid::Uuid;

/// Members of this group see every batch of their tenant (contract 1.7).
pub const SUPERVISORS: &str = "supervisor:pf";
/// Members of this group may do everything in their tenant, whatever the scopes of their credential (contract 4.1).
pub const TENANT_ADMINS: &str = "tenant-admin";

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that the credential belongs to.
    pub tenant_id: Uuid,
    /// Its name, as registered.
    pub tenant: String,
    /// The owner of the credential: `created_by` of what the caller makes.
    pub name: String,
    /// The groups of the credential.
    pub groups: Vec<String>,
    /// What the caller proved it with, for the audit trail: `key <id>` or `issuer <name>`.
    pub credential: String,
}

impl Caller {
    /// Whether the caller may see everybody's batches in the tenant.
    pub fn is_supervisor(&self) -> bool {
        self.groups.iter().any(|group| group == SUPERVISORS)
    }

    /// Whether the caller may do everything in the tenant.
    pub fn is_tenant_admin(&self) -> bool {
        self.groups.iter().any(|group| group == TENANT_ADMINS)
    }
}
