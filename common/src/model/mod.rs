//! Domain types and pure rules: the life of a batch, the plan. Knows neither SQL nor AMQP nor HTTP.

mod batch;
pub mod plan;
mod tenant;

pub use batch::{
    BatchProgress, BatchState, BatchStatus, PipelineStatus, Transition, TransitionError, Verdict,
    batch_status, pipeline_status, transition, within_tolerance,
};
pub use plan::{Plan, PlanBatch, PlanInput, PlanTenant, PlanWorker, plan, standby};
pub use tenant::{Caller, SUPERVISORS};
