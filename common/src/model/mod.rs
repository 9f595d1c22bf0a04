//! Domain types and pure rules: the life of a batch, the plan, who may do what. Knows neither SQL nor AMQP nor HTTP.

mod audit;
mod batch;
pub mod plan;
mod scope;
mod tenant;

pub use audit::{Action, Actor};
pub use batch::{
    BatchProgress, BatchState, BatchStatus, PipelineStatus, Transition, TransitionError, Verdict,
    batch_status, pipeline_status, transition, within_tolerance,
};
pub use plan::{Plan, PlanBatch, PlanInput, PlanTenant, PlanWorker, plan, standby};
pub use scope::{Scope, Scopes, UnknownScope};
pub use tenant::{Caller, SUPERVISORS, TENANT_ADMINS};
