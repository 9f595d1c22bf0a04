//! Who changed what: the words of the audit trail.

/// Who makes a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The owner of the credential; `operator` for the command line on the server, `system` for Millrace itself.
    pub name: String,
    /// What proved it, such as `key 0198f3c2-…`; never the credential itself.
    pub credential: String,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// The address that it came from, where that is recorded (`audit.source_address`).
    pub source: Option<String>,
}

impl Actor {
    /// A program of Millrace's own, acting by itself.
    pub fn system(program: &str) -> Self {
        Self { name: "system".to_owned(), credential: program.to_owned(), request_id: None, source: None }
    }

    /// Whoever has the server's configuration, and with it the database.
    pub fn operator() -> Self {
        Self { credential: "command line".to_owned(), name: "operator".to_owned(), ..Self::system("") }
    }
}

/// Declares actions with the names that they are stored and answered by.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What was done. The part before the dot tells what kind of thing `object` is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The action as it is stored and answered.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// A tenant was made.
    TenantCreate = "tenant.create",
    /// A tenant's quotas or rate limits were changed.
    TenantUpdate = "tenant.update",
    /// A key was made.
    KeyCreate = "key.create",
    /// A key was revoked.
    KeyRevoke = "key.revoke",
    /// A folder was made.
    FolderCreate = "folder.create",
    /// A folder was changed.
    FolderUpdate = "folder.update",
    /// A folder was deleted with its services.
    FolderDelete = "folder.delete",
    /// A file was uploaded to become a version of a service.
    ServiceUpload = "service.upload",
    /// A version of a service was published.
    VersionPublish = "version.publish",
    /// A service was deleted with its versions.
    ServiceDelete = "service.delete",
    /// A batch was created.
    BatchCreate = "batch.create",
    /// Terms of a batch were changed.
    BatchUpdate = "batch.update",
    /// A batch was paused.
    BatchPause = "batch.pause",
    /// A paused batch was resumed.
    BatchResume = "batch.resume",
    /// Failed work of a batch is done again, in a batch of its own.
    BatchRedrive = "batch.redrive",
    /// A batch was closed.
    BatchClose = "batch.close",
    /// A batch was cancelled.
    BatchCancel = "batch.cancel",
    /// A webhook was made.
    WebhookCreate = "webhook.create",
    /// A webhook was changed.
    WebhookUpdate = "webhook.update",
    /// A webhook was deleted with its messages.
    WebhookDelete = "webhook.delete",
    /// A webhook, or the tenant, got another secret to sign messages with.
    WebhookRotate = "webhook.rotate_secret",
    /// A webhook was switched off by Millrace, because it takes nothing.
    WebhookDisable = "webhook.disable",
    /// A message was asked for that tries a webhook out.
    WebhookTest = "webhook.test",
    /// A message was asked for again.
    WebhookRedeliver = "webhook.redeliver",
    /// A job type was made.
    JobTypeCreate = "job_type.create",
    /// A job type was changed, or got a revision.
    JobTypeUpdate = "job_type.update",
    /// A recipe type was made.
    RecipeTypeCreate = "recipe_type.create",
    /// A recipe type was changed, or got a revision.
    RecipeTypeUpdate = "recipe_type.update",
    /// A dataset was made.
    DatasetCreate = "dataset.create",
    /// A dataset got members.
    DatasetExtend = "dataset.extend",
    /// A batch of recipes was created.
    RecipeBatchCreate = "recipe_batch.create",
    /// Title, description or configuration of a batch of recipes were changed.
    RecipeBatchUpdate = "recipe_batch.update",
    /// A batch of recipes was paused.
    RecipeBatchPause = "recipe_batch.pause",
    /// A paused batch of recipes was resumed.
    RecipeBatchResume = "recipe_batch.resume",
    /// Jobs are to be canceled, by filter.
    JobsCancel = "jobs.cancel",
    /// Jobs are to run again, by filter.
    JobsRequeue = "jobs.requeue",
    /// A credential was used for what it does not permit.
    AccessRefuse = "access.refuse",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_tell_the_kind_of_the_object() {
        for (index, action) in Action::ALL.iter().enumerate() {
            let (kind, verb) = action.as_str().split_once('.').unwrap_or_default();
            assert!(!kind.is_empty() && !verb.is_empty(), "{action:?}");
            assert!(Action::ALL[index + 1..].iter().all(|other| other.as_str() != action.as_str()));
        }
    }
}
