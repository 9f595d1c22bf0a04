//! Domain types and pure rules: the life of a batch, the plan, who may do what. Knows neither SQL nor AMQP nor HTTP.

mod audit;
mod backlog;
mod batch;
mod drain;
mod fair;
mod pause;
pub mod plan;
mod protocol;
pub mod recipe;
pub mod reconcile;
mod scaling;
mod scope;
mod tenant;
pub mod time;
mod tolerance;
pub mod webhook;

pub use audit::{Action, Actor};
pub use backlog::BacklogAge;
pub use batch::{
    BatchProgress, BatchState, BatchStatus, PipelineStatus, Transition, TransitionError, Verdict,
    batch_status, is_certain_to_fail, is_held_back, pipeline_status, transition,
};
pub use drain::{DrainRate, LONGEST_WAIT, SHORTEST_WAIT};
pub use fair::{Charge, Class, FairQueue};
pub use pause::{PauseError, change_pause, is_paused, outlives};
pub use plan::{Plan, PlanBatch, PlanInput, PlanTenant, PlanWorker, plan, standby, standby_for};
pub use protocol::Protocol;
pub use scaling::{Backlog, BacklogBatch, BacklogTenant, backlog};
pub use scope::{Scope, Scopes, UnknownScope};
pub use tenant::{Caller, SUPERVISORS, TENANT_ADMINS};
pub use tolerance::{Percentage, Tolerance};
