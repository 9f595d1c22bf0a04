//! This worker's picture of the fleet: heartbeat, snapshot, plan, subscriptions.
//!
//! Every worker plans for itself from the same snapshot and takes its own share: no leader, no election. An idle batch has no
//! share; one worker, its standby, consumes its lane all the same, so that the first chunk does not wait for the next round.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use millrace_calc::program::Volatile;
use millrace_calc::service::Options;
use millrace_common::broker::{LaneId, Queue, Subscription};
use millrace_common::model::{
    PlanBatch, PlanInput, PlanTenant, PlanWorker, Protocol, plan, standby, standby_for,
};
use millrace_common::programs::ProgramError;
use millrace_common::store::recipes::WorkloadView;
use millrace_common::store::{BatchView, FleetSnapshot, Heartbeat};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dispatch::{BatchTerms, Calculation};
use crate::lingering::Lingering;
use crate::{Worker, recipes};

/// Prefetch of the dead-letter queue.
const DEAD_PREFETCH: u16 = 8;

/// Chunk size assumed for a batch that has none yet, in bytes: the prefetch starts small and grows when sizes are known.
const UNKNOWN_CHUNK: usize = 1_000_000;

/// Rounds that a batch may have chunks here without a share before they are given back to the lane.
const PATIENCE: u32 = 10;

/// Between the time when the lane of a paused batch is left and that when its chunks are given back to it: by then the consumer is gone,
/// and they do not come here again.
const LEAVING: Duration = Duration::from_secs(1);

/// Beats and plans until the worker stops.
pub async fn run(worker: Arc<Worker>, shutdown: CancellationToken) {
    let mut events = worker.control.subscribe();
    let mut beat = tokio::time::interval(Duration::from_millis(worker.config.worker.heartbeat_ms));
    let mut poll = tokio::time::interval(Duration::from_millis(worker.config.clocks.poll_ms));
    for interval in [&mut beat, &mut poll] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let mut round = Round::default();
    heartbeat(&worker, false).await;
    loop {
        tokio::select! {
            _ = beat.tick() => { heartbeat(&worker, false).await; continue; }
            _ = poll.tick() => {}
            () = worker.replan.notified() => {}
            event = events.recv() => if matches!(event, Err(RecvError::Closed)) { break },
            () = shutdown.cancelled() => break,
        }
        // One snapshot answers all events that came meanwhile.
        while events.try_recv().is_ok() {}
        if let Err(error) = worker.store.in_time(round.plan(&worker)).await {
            tracing::warn!(%error, "no snapshot; the last plan stays");
        }
    }
    heartbeat(&worker, true).await;
}

async fn heartbeat(worker: &Worker, draining: bool) {
    let loads = worker.dispatcher.load();
    let busy = loads.iter().filter(|(_, load)| load.running > 0);
    let held = loads.iter().filter(|(_, load)| load.held > 0);
    let beat = Heartbeat {
        worker_id: worker.id,
        name: worker_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        slots: worker.slots,
        draining,
        busy: busy.map(|(id, load)| (*id, load.running)).collect(),
        held: held.map(|(id, load)| (*id, load.held)).collect(),
        clock: Utc::now(),
    };
    if let Err(error) = worker.store.in_time(worker.store.heartbeat(&beat)).await {
        tracing::warn!(%error, "heartbeat failed");
    }
}

/// How this worker is called, for people.
pub fn worker_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

fn host_name() -> String {
    std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_owned()))
        .unwrap_or_else(|_| "worker".to_owned())
}

/// Tells the dispatcher about a live batch, and loads its program when it is new.
pub fn learn(worker: &Arc<Worker>, view: &BatchView) {
    let batch = &view.batch;
    let terms = BatchTerms {
        batch_id: batch.id,
        tenant_id: batch.tenant_id,
        day: batch.day,
        lane: batch.lane_id.map(LaneId).zip(batch.lane_epoch),
        chunks_per_request: batch.chunks_per_request.unsigned_abs(),
        stopped: batch.stopped_at.is_some(),
        paused: view.paused().is_some(),
    };
    let new = worker.dispatcher.learn(terms);
    worker.dispatcher.set_blocked(batch.id, view.is_held_back());
    if new {
        tokio::spawn(load(Arc::clone(worker), view.clone()));
    }
}

/// Loads the program of a batch and prepares it for the batch's options.
async fn load(worker: Arc<Worker>, view: BatchView) {
    let batch = view.batch;
    let mut backoff =
        millrace_common::startup::Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let calculation = loop {
        match worker.programs.get(batch.version_id).await {
            Ok(service) => {
                let options = Options {
                    output: batch.output_filter.clone(),
                    subservices: batch.subservices.clone(),
                    unique_record_key: batch.unique_record_key.iter().cloned().collect(),
                    volatile: Volatile {
                        now: excel_serial(batch.created_at),
                        seed: batch.seed.cast_unsigned(),
                    },
                    default_warnings: false,
                    totals: batch.totals.clone(),
                };
                break Calculation::Ready(Arc::new(service.prepare(&options)));
            }
            Err(ProgramError::Store(error)) => {
                tracing::warn!(batch.id = %batch.id, %error, "the service cannot be read yet");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(ProgramError::Load(error)) if error.is_passing() => {
                tracing::warn!(batch.id = %batch.id, %error, "the service cannot be loaded yet");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(error) => {
                tracing::error!(batch.id = %batch.id, %error, "the service cannot be loaded");
                break Calculation::Broken(error.to_string().into());
            }
        }
    };
    worker.dispatcher.set_calculation(batch.id, calculation);
    worker.replan.notify_one();
}

/// An instant as Excel counts days, in UTC; 25,569 is 1970-01-01.
pub fn excel_serial(at: DateTime<Utc>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay far below 2^53")]
    let milliseconds = at.timestamp_millis() as f64;
    25_569.0 + milliseconds / 86_400_000.0
}

/// What one round leaves for the next.
#[derive(Debug, Default)]
struct Round {
    started: HashSet<Uuid>,
    /// Rounds that a batch had chunks here and no share.
    shareless: BTreeMap<Uuid, u32>,
    lingering: Lingering,
}

impl Round {
    /// Reads a snapshot and carries its plan out.
    async fn plan(&mut self, worker: &Arc<Worker>) -> Result<(), millrace_common::store::StoreError> {
        let silent = Duration::from_millis(worker.config.worker.silent_after_ms).as_secs_f64();
        let mut snapshot = worker.store.fleet_snapshot(silent).await?;
        let (workloads, tenants) = worker.store.workloads().await?;
        for tenant in tenants {
            if snapshot.tenants.iter().all(|known| known.id != tenant.id) {
                snapshot.tenants.push(tenant);
            }
        }
        self.forget_ended(worker, &snapshot, &workloads).await;
        for view in &workloads {
            recipes::learn(worker, view);
        }
        for view in &snapshot.batches {
            learn(worker, view);
        }
        let loads = worker.dispatcher.load();
        let here = |id| loads.get(&id).map_or(0, |load| load.waiting + load.running as usize);
        let mut input = plan_input(&snapshot, here);
        input.batches.extend(workloads.iter().map(|view| recipes::planned(view, here(view.id))));
        let planned = plan(&input);
        let mut consumed: BTreeMap<Uuid, u32> = planned.share(worker.id).collect();
        let waiting: BTreeSet<Uuid> = standby_for(&input, &planned, worker.id, here).into_iter().collect();
        for batch in input.batches.iter().filter(|batch| waiting.contains(&batch.id)) {
            if standby(batch, &input.workers) == Some(worker.id) {
                consumed.entry(batch.id).or_insert(1);
            }
        }
        let more: BTreeSet<Uuid> = standby_for(&input, &planned, worker.id, |_| 1).into_iter().collect();
        let consumed = self.lingering.consumed(Instant::now(), &consumed, |id| more.contains(&id));
        // Chunks may be on their way here of batches that are consumed here no more: they run as soon as they come.
        let mut shares = consumed.clone();
        for id in more {
            shares.entry(id).or_insert(1);
        }
        let weights = snapshot.tenants.iter().map(|tenant| (tenant.id, tenant.weight)).collect();
        worker.dispatcher.set_weights(&weights);
        worker.dispatcher.set_shares(&shares);
        let paused = paused(&snapshot, &workloads);
        self.subscribe(worker, &snapshot, &workloads, &consumed, &paused);
        let live: Vec<Uuid> = input.batches.iter().map(|batch| batch.id).collect();
        self.surrender(worker, &live, &shares, &paused).await;
        self.mark_started(worker, &snapshot).await
    }

    /// Drops what is here of batches that are no longer live.
    async fn forget_ended(&mut self, worker: &Worker, snapshot: &FleetSnapshot, workloads: &[WorkloadView]) {
        let batches = snapshot.batches.iter().map(|view| view.batch.id);
        let live: BTreeSet<Uuid> = batches.chain(workloads.iter().map(|view| view.id)).collect();
        for id in worker.dispatcher.known() {
            if !live.contains(&id) {
                worker.consumers.ack(&worker.dispatcher.forget(id)).await;
                self.started.remove(&id);
                self.shareless.remove(&id);
            }
        }
    }

    /// Consumes the lanes of these batches, and the dead-letter queue.
    fn subscribe(
        &self,
        worker: &Worker,
        snapshot: &FleetSnapshot,
        workloads: &[WorkloadView],
        consumed: &BTreeMap<Uuid, u32>,
        paused: &BTreeMap<Uuid, Duration>,
    ) {
        let loads = worker.dispatcher.load();
        let hold = Duration::from_millis(worker.config.worker.paused_hold_ms);
        // A blocked batch keeps what it has here: the next pull sets it going again. So does a paused one, for a while.
        let keeps = |id: Uuid| {
            loads.get(&id).is_some_and(|load| load.blocked && load.waiting > 0)
                && paused.get(&id).is_none_or(|since| *since < hold)
        };
        let mut subscriptions = vec![Subscription { queue: Queue::Dead, prefetch: DEAD_PREFETCH }];
        let mine: Vec<_> = snapshot
            .batches
            .iter()
            .filter(|view| consumed.contains_key(&view.batch.id) || keeps(view.batch.id))
            .collect();
        let memory = worker.config.worker.memory_bytes / mine.len().max(1);
        for view in mine {
            let Some(lane) = view.batch.lane_id else { continue };
            let largest = match usize::try_from(view.counters.largest_chunk) {
                Ok(bytes) if bytes > 0 => bytes.max(512),
                _ => UNKNOWN_CHUNK,
            };
            subscriptions.push(Subscription {
                queue: Queue::Lane(LaneId(lane)),
                prefetch: prefetch(memory / largest, worker.config.worker.prefetch),
            });
        }
        let bundles = workloads.iter().filter(|view| consumed.contains_key(&view.id) || keeps(view.id));
        subscriptions.extend(bundles.map(|view| Subscription {
            queue: Queue::Lane(LaneId(view.lane_id)),
            prefetch: recipes::PREFETCH,
        }));
        worker.consumers.want(subscriptions);
    }

    /// Gives chunks back that wait here for a share that others have, or for the end of a long pause.
    async fn surrender(
        &mut self,
        worker: &Worker,
        live: &[Uuid],
        shares: &BTreeMap<Uuid, u32>,
        paused: &BTreeMap<Uuid, Duration>,
    ) {
        let loads = worker.dispatcher.load();
        let patience = Duration::from_millis(worker.config.worker.paused_hold_ms) + LEAVING;
        for id in live.iter().copied() {
            if paused.get(&id).is_some_and(|since| *since >= patience) {
                worker.consumers.requeue(&worker.dispatcher.surrender(id)).await;
            }
            let stuck = !shares.contains_key(&id)
                && loads.get(&id).is_some_and(|load| load.waiting > 0 && !load.blocked);
            if !stuck {
                self.shareless.remove(&id);
                continue;
            }
            let rounds = self.shareless.entry(id).or_default();
            *rounds += 1;
            if *rounds > PATIENCE {
                *rounds = 0;
                worker.consumers.requeue(&worker.dispatcher.surrender(id)).await;
            }
        }
    }

    /// Records the start of batches whose first chunk is here.
    async fn mark_started(
        &mut self,
        worker: &Worker,
        snapshot: &FleetSnapshot,
    ) -> Result<(), millrace_common::store::StoreError> {
        let loads = worker.dispatcher.load();
        let fresh: Vec<Uuid> = snapshot
            .batches
            .iter()
            .filter(|view| view.batch.started_at.is_none() && !self.started.contains(&view.batch.id))
            .filter(|view| {
                view.progress().chunks_finished() > 0
                    || loads.get(&view.batch.id).is_some_and(|load| load.running > 0)
            })
            .map(|view| view.batch.id)
            .collect();
        if !fresh.is_empty() {
            worker.store.mark_started(&fresh).await?;
            self.started.extend(fresh);
        }
        Ok(())
    }
}

/// For how long batches and workloads have been paused.
fn paused(snapshot: &FleetSnapshot, workloads: &[WorkloadView]) -> BTreeMap<Uuid, Duration> {
    let batches = snapshot.batches.iter().filter_map(|view| {
        let (since, _) = view.paused()?;
        Some((view.batch.id, (view.now - since).to_std().unwrap_or_default()))
    });
    batches.chain(workloads.iter().filter_map(|view| Some((view.id, view.paused?)))).collect()
}

/// A power of two, so that small changes of size leave consumers as they are.
fn prefetch(fitting: usize, limit: u16) -> u16 {
    let fitting = fitting.clamp(1, usize::from(limit.max(1)));
    u16::try_from(1_usize << fitting.ilog2()).unwrap_or(1)
}

/// The input of the plan; `here` says how many chunks of a batch this worker holds, which may be news to the database.
fn plan_input(snapshot: &FleetSnapshot, here: impl Fn(Uuid) -> usize) -> PlanInput {
    PlanInput {
        workers: snapshot
            .workers
            .iter()
            .filter(|worker| !worker.draining)
            .map(|worker| PlanWorker { id: worker.id, slots: worker.slots, knows: worker.protocol })
            .collect(),
        tenants: snapshot
            .tenants
            .iter()
            .map(|tenant| PlanTenant {
                id: tenant.id,
                weight: tenant.weight,
                max_workers: tenant.max_workers,
            })
            .collect(),
        batches: snapshot
            .batches
            .iter()
            .map(|view| {
                let unfinished = view.counters.chunks_submitted - view.progress().chunks_finished();
                let waiting = usize::try_from(unfinished).unwrap_or(0).max(here(view.batch.id));
                PlanBatch {
                    id: view.batch.id,
                    tenant_id: view.batch.tenant_id,
                    weight: 1,
                    priority: view.batch.priority,
                    initial_workers: view.batch.initial_workers.unsigned_abs(),
                    max_workers: view.batch.max_workers.unsigned_abs(),
                    waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
                    blocked: view.is_held_back(),
                    paused: view.paused().is_some(),
                    needs: Protocol::Chunks,
                }
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn prefetch_never_exceeds_what_fits_or_the_limit(fitting in 0_usize..100_000, limit in 0_u16..2_000) {
            let chosen = usize::from(prefetch(fitting, limit));
            prop_assert!(chosen >= 1 && chosen <= fitting.max(1) && chosen <= usize::from(limit.max(1)));
            prop_assert!(chosen.is_power_of_two());
        }
    }
}
