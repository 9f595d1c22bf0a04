//! The reaper's rounds. Its steps are in the store; a lease merely keeps workers from doing them twice.

use std::sync::Arc;
use std::time::Duration;

use millrace_common::broker::{BrokerError, ControlEvent, LaneId};
use millrace_common::metrics::{REAPER_ACTIONS, REAPER_ROUNDS, REMOVED};
use millrace_common::store::{Consequence, PauseEnd, Purged, StoreError, Suspect};
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::commit::tell;
use crate::recipes;
use crate::retention::Retention;

/// Name of the lease.
const LEASE: &str = "reaper";

/// Rounds between looks at what is over its time.
const PARTITION_ROUNDS: u64 = 600;

/// How often a step that reads much is done within the time that it is about.
const LOOKS: u64 = 10;

/// Reaps until the worker stops.
pub async fn run(worker: Arc<Worker>, shutdown: CancellationToken) {
    let pause = Duration::from_millis(worker.config.clocks.reaper_ms);
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = 0_u64;
    let mut retention = Retention::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => break,
        }
        let lease = worker.store.hold_lease(LEASE, worker.id, (pause * 5).as_secs_f64());
        match worker.store.in_time(lease).await {
            Ok(true) => {
                let well = round(&worker, rounds, &mut retention).await;
                REAPER_ROUNDS.with(if well { "well" } else { "failed" }).add(1);
                rounds += 1;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the reaper has no lease"),
        }
    }
    if let Err(error) = worker.store.in_time(worker.store.drop_lease(LEASE, worker.id)).await {
        tracing::debug!(%error, "the reaper's lease will expire");
    }
}

/// What a round consists of, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    TimeOut,
    Withdraw,
    Lost,
    Settle,
    Totals,
    Reservations,
    Workers,
    Lanes,
    FreeLanes,
    Webhooks,
    Partitions,
    Audit,
    Retention,
    Bundles,
    LostBundles,
    WorkloadLanes,
}

impl Step {
    const ALL: [Self; 16] = [
        Self::TimeOut,
        Self::Withdraw,
        Self::Lost,
        Self::Settle,
        Self::Totals,
        Self::Reservations,
        Self::Workers,
        Self::Lanes,
        Self::FreeLanes,
        Self::Webhooks,
        Self::Partitions,
        Self::Audit,
        Self::Retention,
        Self::Bundles,
        Self::LostBundles,
        Self::WorkloadLanes,
    ];

    /// Whether it is this round's turn: steps that read much are done rarely next to the time that they are about.
    fn is_due(self, worker: &Worker, round: u64) -> bool {
        let clocks = &worker.config.clocks;
        let every = |seconds: u64| (seconds * 1_000 / LOOKS / clocks.reaper_ms.max(1)).max(1);
        match self {
            Self::Withdraw => round.is_multiple_of(every(clocks.accepted_seconds)),
            Self::Lost | Self::LostBundles => round.is_multiple_of(every(clocks.lost_seconds)),
            Self::FreeLanes => clocks.purge_seconds > 0 && round.is_multiple_of(every(clocks.purge_seconds)),
            Self::Partitions | Self::Audit => round.is_multiple_of(PARTITION_ROUNDS),
            _ => true,
        }
    }

    async fn run(self, worker: &Worker, retention: &mut Retention) -> Result<(), StoreError> {
        match self {
            Self::TimeOut => time_out(worker).await,
            Self::Withdraw => withdraw(worker).await,
            Self::Lost => end_lost_chunks(worker).await,
            Self::Settle => settle(worker).await,
            Self::Totals => fold_totals(worker).await,
            Self::Reservations => release_reservations(worker).await,
            Self::Workers => remove_workers(worker).await,
            Self::Lanes => free_lanes(worker).await,
            Self::FreeLanes => purge_free_lanes(worker).await,
            Self::Webhooks => forget_deliveries(worker).await,
            Self::Partitions => drop_partitions(worker).await,
            Self::Audit => purge_audit(worker).await,
            Self::Retention => retention.step(worker).await,
            Self::Bundles => recipes::reaper::publish_unconfirmed(worker).await,
            Self::LostBundles => {
                recipes::reaper::publish_lost(worker, seconds(worker.config.clocks.lost_seconds)).await
            }
            Self::WorkloadLanes => recipes::reaper::free_lanes(worker).await,
        }
    }
}

/// Does every step that is due. Trouble in one keeps none of the others from their work, unless the database is away. Returns
/// whether all went well.
async fn round(worker: &Worker, round: u64, retention: &mut Retention) -> bool {
    let mut well = true;
    if round.is_multiple_of(PARTITION_ROUNDS) {
        retention.begin();
    }
    for step in Step::ALL {
        if !step.is_due(worker, round) {
            continue;
        }
        if let Err(error) = worker.store.in_time(step.run(worker, retention)).await {
            tracing::warn!(?step, %error, "a step of the reaper failed");
            well = false;
            if matches!(error, StoreError::Unavailable(_))
                && worker.store.in_time(worker.store.ping()).await.is_err()
            {
                break;
            }
        }
    }
    well
}

#[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
fn seconds(seconds: u64) -> f64 {
    seconds as f64
}

async fn time_out(worker: &Worker) -> Result<(), StoreError> {
    for id in worker.store.time_out_batches(seconds(worker.config.clocks.inactivity_seconds)).await? {
        tracing::info!(batch.id = %id, "closed after inactivity");
        REAPER_ACTIONS.with("batch_timed_out").add(1);
        worker.control.send(ControlEvent::BatchClosed { batch_id: id });
    }
    for (id, end) in worker.store.time_out_pauses(seconds(worker.config.clocks.paused_seconds)).await? {
        tracing::info!(batch.id = %id, ?end, "its pause has lasted too long");
        REAPER_ACTIONS.with("pause_ended").add(1);
        worker.control.send(match end {
            PauseEnd::TimedOut => ControlEvent::BatchClosed { batch_id: id },
            PauseEnd::Resumed => ControlEvent::BatchResumed { batch_id: id },
        });
    }
    Ok(())
}

async fn withdraw(worker: &Worker) -> Result<(), StoreError> {
    let withdrawn = worker.store.withdraw_accepted(seconds(worker.config.clocks.accepted_seconds)).await?;
    if withdrawn > 0 {
        tracing::info!(chunks = withdrawn, "withdrew chunks that were never confirmed");
        REAPER_ACTIONS.with("chunk_withdrawn").add(withdrawn);
    }
    Ok(())
}

/// Looks for chunks whose message is gone. What the broker does not answer counts as a lane that is not empty: after an outage
/// the time begins anew, since messages may be anywhere for a moment.
async fn end_lost_chunks(worker: &Worker) -> Result<(), StoreError> {
    let suspects = worker.store.suspected_batches().await?;
    let empty = if suspects.is_empty() { Vec::new() } else { with_empty_lanes(worker, suspects).await };
    let lasting = worker.store.note_empty_lanes(&empty, seconds(worker.config.clocks.lost_seconds)).await?;
    for suspect in lasting {
        loop {
            let lost = worker.store.fail_lost_chunks(suspect).await?;
            if lost == 0 {
                break;
            }
            tracing::error!(batch.id = %suspect.batch_id, chunks = lost, "messages are gone from their lane: these chunks failed");
            REAPER_ACTIONS.with("chunk_lost").add(lost);
        }
    }
    Ok(())
}

/// Those of the suspects whose lane holds no message; none while that is not certain. A lane that was deleted is declared.
async fn with_empty_lanes(worker: &Worker, suspects: Vec<Suspect>) -> Vec<Suspect> {
    // A dead letter is in no lane and in no worker; it may be of any batch.
    if !matches!(worker.topology.dead_depth().await, Ok(depth) if depth.ready == 0) {
        return Vec::new();
    }
    let mut empty = Vec::new();
    for suspect in suspects {
        let lane = LaneId(suspect.lane_id);
        match worker.topology.lane_depth(lane).await {
            Ok(depth) if depth.ready == 0 => empty.push(suspect),
            Ok(_) => {}
            Err(BrokerError::NotFound(_)) => {
                tracing::error!(lane = suspect.lane_id, batch.id = %suspect.batch_id, "the lane was deleted: declaring it");
                match worker.topology.declare_lane(lane).await {
                    Ok(()) => REAPER_ACTIONS.with("lane_declared").add(1),
                    Err(error) => tracing::warn!(%error, "a lane cannot be declared"),
                }
                empty.push(suspect);
            }
            Err(error) => {
                tracing::warn!(%error, "lanes cannot be looked at");
                return Vec::new();
            }
        }
    }
    empty
}

async fn settle(worker: &Worker) -> Result<(), StoreError> {
    for (id, consequence) in worker.store.settle_batches().await? {
        match consequence {
            Consequence::Settled(_) => REAPER_ACTIONS.with("batch_settled").add(1),
            Consequence::Stopped => REAPER_ACTIONS.with("batch_stopped").add(1),
            Consequence::None => {}
        }
        tell(worker, id, consequence);
    }
    Ok(())
}

async fn fold_totals(worker: &Worker) -> Result<(), StoreError> {
    let (_, broken) = worker.store.fold_totals().await?;
    for (id, error) in broken {
        tracing::error!(batch.id = %id, %error, "the batch's totals cannot be added up");
    }
    Ok(())
}

async fn release_reservations(worker: &Worker) -> Result<(), StoreError> {
    let cool_off = seconds(worker.config.clocks.cool_off_seconds);
    REAPER_ACTIONS.with("reservation_released").add(worker.store.release_reservations(cool_off).await?);
    Ok(())
}

async fn remove_workers(worker: &Worker) -> Result<(), StoreError> {
    let silent = Duration::from_millis(worker.config.worker.silent_after_ms).as_secs_f64();
    for id in worker.store.remove_silent_workers(silent).await? {
        tracing::warn!(worker.id = %id, "worker is gone");
        REAPER_ACTIONS.with("worker_removed").add(1);
        worker.control.send(ControlEvent::PlanChanged);
    }
    Ok(())
}

async fn free_lanes(worker: &Worker) -> Result<(), StoreError> {
    for lane in worker.store.finished_lanes().await? {
        let purge = async {
            match worker.topology.purge_lane(LaneId(lane.lane_id)).await {
                Ok(_) => Ok(Purged::Empty),
                Err(BrokerError::NotFound(_)) => Ok(Purged::Missing),
                Err(error) => Err(error),
            }
        };
        match worker.store.free_lane(lane, purge).await? {
            Ok(freed) => REAPER_ACTIONS.with("lane_freed").add(u64::from(freed)),
            Err(error) => {
                tracing::warn!(lane = lane.lane_id, %error, "lanes are freed later");
                // The next ones would wait for the broker as long.
                if error.is_transient() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Purges lanes again that were freed lately: what a dead connection held came back to them after their purge.
async fn purge_free_lanes(worker: &Worker) -> Result<(), StoreError> {
    for lane in worker.store.freed_lanes(seconds(worker.config.clocks.purge_seconds)).await? {
        match worker.store.purge_free_lane(lane, worker.topology.purge_lane(LaneId(lane))).await? {
            Ok(None | Some(0)) | Err(BrokerError::NotFound(_)) => {}
            Ok(Some(messages)) => {
                tracing::info!(lane, messages, "purged what came back to a free lane");
                REAPER_ACTIONS.with("lane_purged").add(1);
            }
            Err(error) => {
                tracing::warn!(lane, %error, "free lanes are purged later");
                break;
            }
        }
    }
    Ok(())
}

async fn forget_deliveries(worker: &Worker) -> Result<(), StoreError> {
    let kept = seconds(worker.config.webhooks.retention_seconds);
    REMOVED.with("webhook_message").add(worker.store.forget_deliveries(kept).await?);
    worker.store.purge_webhooks().await?;
    Ok(())
}

async fn drop_partitions(worker: &Worker) -> Result<(), StoreError> {
    worker.store.ensure_partitions().await?;
    for day in worker.store.drop_expired_partitions(seconds(worker.config.clocks.results_seconds)).await? {
        tracing::info!(%day, "dropped expired results");
        REAPER_ACTIONS.with("partition_dropped").add(1);
    }
    Ok(())
}

async fn purge_audit(worker: &Worker) -> Result<(), StoreError> {
    if worker.config.audit.retention_days > 0 {
        let removed = worker.store.purge_audit(worker.config.audit.retention_days).await?;
        REMOVED.with("audit_entry").add(removed);
    }
    Ok(())
}
