//! What the reaper and callers do to whole batches, and what must be true of a batch: always, and at rest.

use std::collections::BTreeSet;

use millrace_common::model::{BatchStatus, Transition};
use millrace_common::store::{Consequence, Purged, Store, StoreError};
use uuid::Uuid;

use super::operations::{End, Step, WORKERS};
use super::oracle::{ACCEPTED, COOL_OFF, Fate, INACTIVITY, PAUSED, Sums};
use super::terms::{meant, seen};
use super::world::{Fault, World, same};

/// What one or two reapers say that they did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reaped {
    timed_out: Vec<Uuid>,
    /// As text.
    pauses: Vec<(Uuid, String)>,
    withdrawn: u64,
    /// As text, which has an order.
    settled: Vec<(Uuid, String)>,
    released: u64,
}

#[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
async fn reap(store: &Store, steps: &[Step]) -> Result<Reaped, StoreError> {
    let mut reaped = Reaped::default();
    for step in steps {
        match step {
            Step::TimeOut => reaped.timed_out = store.time_out_batches(INACTIVITY as f64).await?,
            Step::EndPauses => {
                let ended = store.time_out_pauses(PAUSED as f64).await?.into_iter();
                reaped.pauses = ended.map(|(id, end)| (id, format!("{end:?}"))).collect();
            }
            Step::Withdraw => reaped.withdrawn = store.withdraw_accepted(ACCEPTED as f64).await?,
            Step::Settle => {
                let settled = store.settle_batches().await?.into_iter();
                reaped.settled = settled.map(|(id, consequence)| (id, format!("{consequence:?}"))).collect();
            }
            Step::Release => reaped.released = store.release_reservations(COOL_OFF as f64).await?,
        }
    }
    Ok(reaped)
}

impl World<'_> {
    pub(super) async fn change(&mut self, batch: usize, event: Transition) -> Result<(), Fault> {
        let answer = self.tenant.store().change_batch(self.rows[batch].id, event).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let oracle = &mut self.oracle[batch];
        let refused = event == Transition::Close && oracle.state.as_str() == "cancelled";
        same("a change was refused", &answer.is_err(), &refused)?;
        match event {
            Transition::Close => oracle.close(self.now),
            _ => oracle.cancel(self.now),
        }
        self.look(batch).await
    }

    pub(super) async fn start(&mut self, batch: usize) -> Result<(), Fault> {
        self.tenant.store().mark_started(&[self.rows[batch].id]).await.map_err(|error| error.to_string())?;
        let oracle = &mut self.oracle[batch];
        if oracle.is_live() && !oracle.started {
            oracle.started = true;
            oracle.updated_at = self.now;
        }
        self.look(batch).await
    }

    pub(super) async fn settle_one(&mut self, batch: usize) -> Result<(), Fault> {
        let settled = self.tenant.store().settle_batch(self.rows[batch].id).await;
        let settled = settled.map_err(|error| error.to_string())?;
        let expected = self.oracle[batch].reconsider(self.now);
        same("a batch was settled", &settled, &expected)?;
        self.look(batch).await
    }

    pub(super) async fn pass(&mut self, seconds: i64) -> Result<(), Fault> {
        self.now += seconds;
        self.tenant.age(seconds).await
    }

    /// Steps of one reaper, or of two at the same time: together they do everything once.
    pub(super) async fn reap(&mut self, steps: &[Step], twice: bool) -> Result<(), Fault> {
        // Chunks of a batch that was touched in the same second are left for the next round.
        if steps.contains(&Step::Withdraw) {
            self.pass(100).await?;
        }
        let store = self.tenant.store().clone();
        let other = async { if twice { reap(&store, steps).await } else { Ok(Reaped::default()) } };
        let (one, other) = tokio::join!(reap(&store, steps), other);
        let (mut found, other) = (one.map_err(|e| e.to_string())?, other.map_err(|e| e.to_string())?);
        found.timed_out.extend(other.timed_out);
        found.pauses.extend(other.pauses);
        found.settled.extend(other.settled);
        found.timed_out.sort_unstable();
        found.pauses.sort_unstable();
        found.settled.sort_unstable();
        found.withdrawn += other.withdrawn;
        found.released += other.released;

        let mut expected = Reaped::default();
        let sequence = self.tick();
        for step in steps {
            for (row, batch) in self.rows.iter().zip(&mut self.oracle) {
                match step {
                    Step::TimeOut => expected.timed_out.extend(batch.time_out(self.now).then_some(row.id)),
                    Step::EndPauses => {
                        let ended = batch.time_out_pause(self.now);
                        expected.pauses.extend(ended.map(|end| (row.id, format!("{end:?}"))));
                    }
                    Step::Withdraw => expected.withdrawn += batch.withdraw(self.now, sequence),
                    Step::Settle => match batch.reconsider(self.now) {
                        Consequence::None => {}
                        consequence => expected.settled.push((row.id, format!("{consequence:?}"))),
                    },
                    Step::Release => expected.released += u64::from(batch.release(self.now)),
                }
            }
        }
        expected.timed_out.sort_unstable();
        expected.pauses.sort_unstable();
        expected.settled.sort_unstable();
        same("the reaper", &found, &expected)?;
        self.look_at(0..self.rows.len()).await
    }

    pub(super) async fn free_lanes(&mut self, broker_away: bool) -> Result<(), Fault> {
        let lanes = self.tenant.store().finished_lanes().await.map_err(|error| error.to_string())?;
        let found: BTreeSet<_> = lanes.iter().map(|lane| (lane.batch_id, Some(lane.lane_id))).collect();
        let ended = self.rows.iter().zip(&self.oracle).filter(|(_, batch)| !batch.is_live());
        let expected: BTreeSet<_> = ended
            .filter(|(_, batch)| batch.lane.is_some())
            .map(|(row, batch)| (row.id, batch.lane))
            .collect();
        same("lanes of ended batches", &found, &expected)?;
        for lane in lanes {
            let at = self.rows.iter().position(|row| row.id == lane.batch_id).ok_or("a batch")?;
            let messages = &mut self.lanes[at];
            let purge = async {
                if broker_away {
                    return Err("away");
                }
                messages.clear();
                Ok(Purged::Empty)
            };
            let freed =
                self.tenant.store().free_lane(lane, purge).await.map_err(|error| error.to_string())?;
            same("a lane was freed", &freed, &if broker_away { Err("away") } else { Ok(true) })?;
            if freed.is_ok() {
                self.oracle[at].lane = None;
            }
            self.look(at).await?;
        }
        Ok(())
    }

    pub(super) async fn look_at(&self, batches: impl Iterator<Item = usize>) -> Result<(), Fault> {
        for batch in batches.collect::<BTreeSet<_>>() {
            self.look(batch).await?;
        }
        Ok(())
    }

    /// What every reader sees of a batch, at any time.
    pub(super) async fn look(&self, at: usize) -> Result<(), Fault> {
        if self.oracle[at].removed {
            return self.tenant.is_gone(self.rows[at].id).await;
        }
        let view = self.tenant.view(self.rows[at].id).await?;
        let batch = &self.oracle[at];
        let (row, counters, sums) = (&view.batch, &view.counters, batch.sums());
        same("the state", &row.state, &batch.state)?;
        let found = Sums {
            chunks_submitted: counters.chunks_submitted,
            records_submitted: counters.records_submitted,
            chunks_queued: counters.chunks_queued,
            chunks_completed: counters.chunks_completed,
            chunks_failed: counters.chunks_failed,
            records_completed: counters.records_completed,
            records_failed: counters.records_failed,
            chunks_retried: counters.chunks_retried,
            records_retried: counters.records_retried,
            chunks_pulled: counters.chunks_pulled,
            records_pulled: counters.records_pulled,
            input_bytes: counters.input_bytes,
            output_bytes: counters.output_bytes,
            input_total: counters.input_total,
            output_total: counters.output_total,
            largest_chunk: counters.largest_chunk,
        };
        same("the counters", &found, &sums)?;
        same("the reservation was given back", &row.released_at.is_some(), &batch.released)?;
        same("results were dropped", &row.dropped_at.is_some(), &batch.dropped)?;
        same("it has an end", &row.finished_at.is_some(), &batch.finished_at.is_some())?;
        same("the lane", &row.lane_id, &batch.lane)?;
        same("the terms", &seen(&view), &meant(&batch.terms))?;
        let halted = (row.stopped_at.is_some(), view.is_held_back());
        same("it was stopped, it is held back", &halted, &(batch.stopped, batch.is_held_back()))?;

        // The clock of the database goes on within an operation, by far less than the hundreds in which time passes here.
        let paused = view.paused().map(|(since, _)| ((view.now - since).num_seconds() + 50) / 100 * 100);
        same("for how long it has been paused", &paused, &batch.paused.map(|since| self.now - since))?;
        same("who paused it", &row.paused_by.is_some(), &batch.paused.is_some())?;

        // Promises 3 and 4, whatever the oracle says.
        let budgets = [(counters.input_bytes, row.input_allocated), (counters.output_bytes, i64::MAX)];
        if budgets.iter().any(|(used, allocated)| *used < 0 || used > allocated) {
            return Err(format!("budgets in use: {budgets:?}"));
        }
        let finished = counters.chunks_completed + counters.chunks_failed;
        same(
            "the sum of the parts",
            &(finished + view.waiting() + view.running()),
            &counters.chunks_submitted,
        )?;
        let unpulled = batch.unpulled();
        let records: i64 = unpulled.iter().map(|no| i64::from(batch.chunks[no].content.records())).sum();
        same("what can be pulled", &view.available(), &(unpulled.len() as i64, records))?;
        if batch.state.as_str() == "open" {
            let status = match () {
                () if batch.started || finished > 0 => BatchStatus::InProgress,
                () if sums.chunks_submitted > 0 => BatchStatus::Pending,
                () => BatchStatus::Created,
            };
            same("the status", &view.status(), &status)?;
        }
        Ok(())
    }

    /// Everything that is on its way arrives, every batch is closed, everything is pulled: the accounts must balance.
    pub(super) async fn come_to_rest(&mut self) -> Result<(), Fault> {
        while !self.slow.is_empty() {
            self.answer(0).await?;
        }
        self.end_redrives().await?;
        // What is accepted and in no lane goes: nobody was told of its success.
        self.pass(1_000).await?;
        self.reap(&[Step::Withdraw], false).await?;
        // Only now counters tell what has no outcome: a chunk that was delivered without its confirm counts as queued.
        self.end_all_lost().await?;
        for batch in 0..self.rows.len() {
            if self.oracle[batch].state.as_str() == "open" {
                self.change(batch, Transition::Close).await?;
            }
        }
        self.reap(&[Step::Settle], false).await?;
        for (at, batch) in self.oracle.iter().enumerate() {
            same(&format!("batch {at} still lives"), &batch.is_live(), &false)?;
        }
        for batch in (0..self.rows.len()).filter(|at| !self.oracle[*at].expired).collect::<Vec<_>>() {
            while self.pull(batch, 100, 1_000_000).await? > 0 {}
        }
        for at in 0..self.rows.len() {
            self.settle_accounts(at).await?;
        }
        self.settle_redrives()?;
        self.pass(200).await?;
        self.reap(&[Step::Release], false).await?;
        self.tenant.is_free().await?;
        self.free_lanes(false).await
    }

    /// What workers hold goes back, and everything that is in a lane is delivered and committed.
    pub(super) async fn deliver_all(&mut self) -> Result<(), Fault> {
        for worker in 0..WORKERS {
            self.give_back(worker, usize::MAX);
        }
        for batch in 0..self.rows.len() {
            self.deliver(batch, 0, 0, usize::MAX).await?;
        }
        self.commit(0, usize::MAX, 0, End::Acked).await
    }

    /// Every chunk whose push was answered with success was handed out once, nothing is left in a budget, and the rows say
    /// what the counters say.
    async fn settle_accounts(&self, at: usize) -> Result<(), Fault> {
        let batch = &self.oracle[at];
        for (no, chunk) in &batch.chunks {
            let pulled = matches!(chunk.fate, Fate::Finished { pulled: Some(_), .. });
            if chunk.answered && !pulled && !batch.dropped {
                return Err(format!("chunk {no} of batch {at} was taken and is lost: {chunk:?}"));
            }
        }
        if batch.expired {
            return Ok(());
        }
        let sums = batch.sums();
        same("budgets at rest", &(sums.input_bytes, sums.output_bytes), &(0, 0))?;
        let expected = (
            (sums.chunks_submitted, sums.records_submitted, sums.chunks_queued),
            (sums.chunks_completed, sums.chunks_failed, sums.records_completed),
            (sums.chunks_pulled, sums.output_total),
        );
        same("the rows", &self.tenant.rows(self.rows[at].id).await?, &expected)
    }
}
