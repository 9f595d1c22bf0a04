//! The only place with SQL; a file per subject.
//!
//! **sqlx** owns migrations and the control plane (tenants, keys, folders, services, batches): compile-time checked queries,
//! whose descriptions are committed in `.sqlx`. **deadpool-postgres** owns the data plane (admit, commit, claim): prepared,
//! pipelined, grouped. Whatever must be atomic belongs wholly to one side.

mod admission;
mod audit;
mod batches;
mod claims;
mod commit;
mod connect;
mod control;
mod data;
mod diagnosis;
mod documents;
mod error;
mod failures;
mod fleet;
mod folders;
mod gauges;
mod keys;
mod lifecycle;
mod lost;
mod partitions;
mod reads;
mod reaper;
pub mod recipes;
mod reconcile;
mod recount;
mod redrives;
mod retention;
mod retry;
mod services;
mod tenants;
mod totals;
mod usage;
mod views;
mod watched;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use parking_lot::Mutex;

pub use admission::{Admission, Marked, Push, PushedChunk, QueuedPush};
pub use audit::{AuditEntry, AuditFilter};
pub use batches::{CreateBatchError, CreatedBatch, NewBatch, TenantOverview};
pub use claims::{ChunkClaim, Claim, StoredResult};
pub use commit::{Committed, FailedWork, FinishedChunk, Outcome, WorkerSlot};
pub use diagnosis::{
    DatabaseDestination, DatabaseFacts, KnownLane, MigrationState, ServerSetting, SessionCount, WorkerFacts,
    WorkerRow,
};
pub use documents::{Compilation, Document, NewUpload, ServiceSource};
pub use error::StoreError;
pub use failures::{FailedChunk, FailureKinds};
pub use fleet::{FleetSnapshot, FleetTenant, FleetWorker, Heartbeat};
pub use folders::{Folder, FolderFilter, FolderUpdate, NewFolder};
pub use gauges::{LaneGauges, TenantGauges, WebhookGauges, WorkerGauges};
pub use keys::{ApiKey, CreateKeyError, KeyOwner, KeyTerms, NewKey, hash_key, is_key};
pub use lifecycle::{AlterError, Consequence, PauseEnd, TermsChange};
pub use lost::Suspect;
pub use reads::{Acknowledged, Reading};
pub use reaper::{FinishedLane, Purged};
pub use reconcile::{Reconciliation, Tally};
pub use recount::CounterRepair;
pub use redrives::{CreateRedriveError, FailedInput, NewRedrive, Redrive, RedriveLinks, RedrivePlan};
pub use retention::{HiddenDatasets, Outside, RemovedDataset, RemovedRecipes, SharedJobs};
pub use services::{Publication, PublishError, ServiceListing, ServiceVersion, VersionBump, VersionSelector};
pub use tenants::{CreateTenantError, Tenant, TenantChange, TenantLimits, TenantOutput};
pub use usage::{FleetMember, TenantUsage};
pub use views::{Batch, BatchView, Counters};
pub use webhooks::{
    Attempt, AttemptResult, ClaimLimits, Deliveries, Delivery, DeliveryState, NewWebhook, RetryRules,
    Webhook, WebhookScope, WebhookUpdate,
};

use control::ControlPool;

use crate::config::DatabaseConfig;
use crate::metrics::{POOL_CONNECTIONS, POOL_IN_USE};
use crate::model::Actor;

/// Migrations, compiled in.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Planner settings of the data plane. It only looks rows up by key; but its plans are made while a day's partitions are
/// empty and have no statistics, and are kept. A sequential scan that looks free then reads a whole batch for each push later.
const DATA_PLANE_PLANS: &str =
    "-c enable_seqscan=off -c enable_bitmapscan=off -c plan_cache_mode=force_generic_plan -c jit=off";

/// How often a silent connection of the data plane is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The database, with one pool for each plane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    control: ControlPool,
    data: deadpool_postgres::Pool,
    /// In whose name changes are made.
    actor: Arc<Actor>,
    /// How long an answer is waited for: it ends a wait that the database itself cannot end.
    deadline: Duration,
    /// The day whose partitions were last seen to exist.
    partitions_checked: Arc<Mutex<Option<NaiveDate>>>,
    /// Revisions of recipe types and job types that were read.
    recipes: recipes::Known,
}

impl Store {
    /// Opens both pools. Connections are made when they are first needed. Changes are those of the program `name` itself, unless
    /// [`Store::acting`] says otherwise.
    pub fn open(config: &DatabaseConfig, name: &str) -> Result<Self, StoreError> {
        let connecting = connect::connecting(config)?;
        let timeout = format!("{}", config.statement_timeout_ms);
        let invalid = |error: String| StoreError::Unavailable(format!("database.url: {error}"));

        let options = connecting.control.application_name(name).options([
            ("statement_timeout", timeout.as_str()),
            ("idle_in_transaction_session_timeout", "60000"),
            // Lists are estimated dear enough to be compiled, which takes longer than they do.
            ("jit", "off"),
        ]);
        let acquire = Duration::from_millis(config.acquire_timeout_ms);
        let control = ControlPool::new(config, options);

        let mut options = connecting.data;
        // A peer that is gone without a word is noticed by the kernel, also in between.
        options
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(3)
            .tcp_user_timeout(KEEPALIVE * 4);
        options.application_name(name).connect_timeout(acquire).options(format!(
            "-c statement_timeout={timeout} -c idle_in_transaction_session_timeout=60000 {DATA_PLANE_PLANS}"
        ));
        let manager = deadpool_postgres::Manager::from_config(
            options,
            connecting.data_tls,
            deadpool_postgres::ManagerConfig { recycling_method: deadpool_postgres::RecyclingMethod::Fast },
        );
        let data = deadpool_postgres::Pool::builder(manager)
            .max_size(config.data_connections as usize)
            .wait_timeout(Some(acquire))
            .create_timeout(Some(acquire))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        let deadline = acquire + Duration::from_millis(config.statement_timeout_ms);
        Ok(Self {
            control,
            data,
            deadline,
            actor: Actor::system(name).into(),
            partitions_checked: Arc::default(),
            recipes: recipes::Known::default(),
        })
    }

    /// Brings the schema up to this binary's version. Safe to run from several processes at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(self.control.migrate(&MIGRATIONS).await?)
    }

    /// Whether the schema is at least as new as this binary's and nothing in it was changed after the fact.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let applied: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(&self.control)
                .await
                .map_err(|error| match error {
                    sqlx::Error::Database(_) => {
                        StoreError::Schema("no migration was applied; run `millrace-api migrate`".to_owned())
                    }
                    other => other.into(),
                })?;
        for migration in MIGRATIONS.iter() {
            match applied.iter().find(|(version, _)| *version == migration.version) {
                None => {
                    return Err(StoreError::Schema(format!(
                        "migration {} is missing; run `millrace-api migrate`",
                        migration.version
                    )));
                }
                Some((_, checksum)) if checksum.as_slice() != migration.checksum.as_ref() => {
                    return Err(StoreError::Schema(format!(
                        "migration {} differs from this binary's",
                        migration.version
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The clock that decides.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.control).await?)
    }

    /// Waits for work on the control plane no longer than a statement may take and a little more: a frozen database, or a link
    /// that is dead without a word, gives no answer at all.
    pub async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.deadline, work).await {
            Ok(done) => done,
            Err(_) => Err(no_answer(self.deadline)),
        }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.control).await?;
        Ok(())
    }

    /// Records how many connections of each pool there are and how many are in use.
    #[expect(clippy::cast_precision_loss, reason = "a pool has few connections")]
    pub fn record_pools(&self) {
        let (open, in_use) = self.control.connections();
        let data = self.data.status();
        let of_data = (data.size, data.size.saturating_sub(data.available));
        for (pool, (open, in_use)) in [("control", (open, in_use)), ("data", of_data)] {
            POOL_CONNECTIONS.with(pool).set(open as f64);
            POOL_IN_USE.with(pool).set(in_use as f64);
        }
    }

    /// As [`Store::ping`], over a connection of the data plane.
    pub async fn ping_data_plane(&self) -> Result<(), StoreError> {
        let client = self.data_client().await?;
        client.in_time(async { Ok(client.batch_execute("SELECT 1").await?) }).await
    }
}

fn no_answer(deadline: Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer within {} ms", deadline.as_millis()))
}
