//! Recipes: creation page by page, bundles of jobs from the lane to the commit, and what looks after them.
//!
//! A bundle is a message like a chunk, and waits, is planned and is taken like one. What differs begins in [`evaluate`]: its
//! jobs are read from the database, run as one table, and go to a committer of their own ([`commit`]), which stores what
//! came out, lets the recipes go on, and publishes the bundles that this makes.

mod ahead;
pub mod commit;
pub mod creation;
pub mod evaluate;
mod foresee;
pub mod publish;
pub mod reaper;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;
use millrace_calc::program::Volatile;
use millrace_calc::service::{Options, Prepared};
use millrace_common::broker::LaneId;
use millrace_common::model::{PlanBatch, Protocol};
use millrace_common::programs::ProgramError;
use millrace_common::store::recipes::{JobProgram, WorkloadView};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::Worker;
use crate::dispatch::{BatchTerms, Calculation};
use crate::fleet::excel_serial;

/// The most prepared programs that are kept.
const KEPT: usize = 1_000;

/// Bundles that may wait here for each workload: they are small, but each is much work.
pub const PREFETCH: u16 = 8;

/// What is the same for all jobs of a workload.
#[derive(Debug)]
pub struct WorkloadTerms {
    /// The workload.
    pub id: Uuid,
    /// What volatile functions see.
    pub volatile: Volatile,
}

/// Programs that are ready for the jobs of a workload.
#[derive(Debug, Default)]
pub struct Preparations {
    known: Mutex<HashMap<(Uuid, i64), Arc<Prepared>>>,
}

impl Preparations {
    /// The program of a revision of a job type, prepared.
    ///
    /// # Errors
    ///
    /// See [`ProgramError`].
    pub async fn get(
        &self,
        worker: &Worker,
        terms: &WorkloadTerms,
        program: &JobProgram,
    ) -> Result<Arc<Prepared>, ProgramError> {
        let key = (terms.id, program.job_type_rev_id);
        if let Some(known) = self.known.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let service = worker.programs.get(program.program_id).await?;
        let options = Options { volatile: terms.volatile, ..Options::default() };
        let prepared = Arc::new(service.prepare(&options));
        let mut known = self.known.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }
}

/// Tells the dispatcher about a workload.
pub fn learn(worker: &Worker, view: &WorkloadView) {
    let terms = BatchTerms {
        batch_id: view.id,
        tenant_id: view.tenant_id,
        day: NaiveDate::default(),
        lane: Some((LaneId(view.lane_id), view.lane_epoch)),
        chunks_per_request: 1,
        stopped: false,
        paused: view.paused.is_some(),
    };
    if worker.dispatcher.learn(terms) {
        let volatile = Volatile { now: excel_serial(view.created_at), seed: view.seed.cast_unsigned() };
        let terms = Arc::new(WorkloadTerms { id: view.id, volatile });
        worker.dispatcher.set_calculation(view.id, Calculation::Jobs(terms));
    }
}

/// A workload as the plan sees it; `here` is how many of its bundles this worker holds.
pub fn planned(view: &WorkloadView, here: usize) -> PlanBatch {
    PlanBatch {
        id: view.id,
        tenant_id: view.tenant_id,
        weight: 1,
        priority: view.priority,
        initial_workers: view.initial_workers,
        max_workers: view.max_workers,
        waiting: view.bundles.max(u32::try_from(here).unwrap_or(u32::MAX)),
        blocked: false,
        paused: view.paused.is_some(),
        needs: Protocol::Bundles,
    }
}
