//! Every change of a batch's state or terms (control plane). What may happen is decided by the state machine in
//! [`crate::model`]; here it is carried out, conditional on the old state, with the batch locked.

mod pauses;

use serde_json::{Value as Json, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::audit::Change;
use super::retry::retrying;
use super::views::select_views;
use super::webhooks::announce;
use super::{BatchView, Store, StoreError};
use crate::metrics::BATCHES_ENDED;
use crate::model::webhook::WebhookEvent;
use crate::model::{
    Action, BatchState, PauseError, Transition, TransitionError, Verdict, is_certain_to_fail, outlives,
    transition,
};

pub use pauses::PauseEnd;

/// Terms to change; what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TermsChange {
    /// Tolerated share of failed chunks, in per cent.
    pub acceptable_error_percentage: Option<f64>,
    /// Tolerated share of failed records, in per cent; `Some(None)` takes the limit away.
    pub acceptable_record_error_percentage: Option<Option<f64>>,
    /// Whether the batch stops as soon as it is certain to fail.
    pub early_stop: Option<bool>,
    /// Most slots.
    pub max_workers: Option<i32>,
    /// Slots that the batch gets first.
    pub initial_workers: Option<i32>,
    /// Lower goes first among the tenant's batches.
    pub priority: Option<i32>,
    /// Whether nothing of the batch is evaluated for now.
    pub paused: Option<bool>,
}

impl TermsChange {
    /// What changes beside a pause.
    const fn without_pause(&self) -> Self {
        Self { paused: None, ..*self }
    }

    /// The terms that change, for the audit trail; a pause has an entry of its own.
    fn details(&self) -> Json {
        let mut details = json!({
            "acceptable_error_percentage": self.acceptable_error_percentage,
            "early_stop": self.early_stop,
            "max_workers": self.max_workers,
            "initial_workers": self.initial_workers,
            "priority": self.priority,
        });
        if let Json::Object(details) = &mut details {
            details.retain(|_, value| !value.is_null());
            if let Some(records) = self.acceptable_record_error_percentage {
                details.insert("acceptable_record_error_percentage".to_owned(), json!(records));
            }
        }
        details
    }
}

/// Why a batch was not altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlterError {
    /// The state does not allow the event.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// Terms of a finished batch do not change any more.
    #[error("the batch is {0}: its terms are final")]
    Finished(BatchState),
    /// The batch was stopped early: it fails, whatever its terms.
    #[error("the batch was stopped early: its terms are final")]
    Stopped,
    /// It is not to be paused or resumed any more.
    #[error(transparent)]
    Pause(#[from] PauseError),
}

/// What followed from a batch's counters and terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// It is stopped: chunks without an outcome end as failed ones, and then it settles as failed.
    Stopped,
    /// It reached this terminal state.
    Settled(BatchState),
}

impl Store {
    /// Lets an event happen to a batch. What the state machine says is carried out in one transaction, conditional on the old
    /// state; closing a drained batch settles it at once.
    pub async fn change_batch(
        &self,
        id: Uuid,
        event: Transition,
    ) -> Result<Result<Verdict, TransitionError>, StoreError> {
        retrying("change_batch", || async {
            let mut work = Work::begin(self, id).await?;
            let changed = work.change(event).await?;
            self.audit_change(&mut work.tx, id, event, &changed).await?;
            work.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// Notes what somebody asked of a batch; asking for what it is already changes nothing and is not noted.
    async fn audit_change(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        id: Uuid,
        event: Transition,
        changed: &Result<Verdict, TransitionError>,
    ) -> Result<(), StoreError> {
        let action = match event {
            Transition::Close => Action::BatchClose,
            Transition::Cancel => Action::BatchCancel,
            _ => return Ok(()),
        };
        if matches!(changed, Ok(Verdict::Unchanged)) {
            return Ok(());
        }
        let batch = view_in(tx, id).await?.batch;
        let entry = Change::new(action, id, json!({"batch_status": batch.state}));
        let entry = if changed.is_ok() { entry } else { entry.refused() };
        self.audit(tx, batch.tenant_id, entry).await
    }

    /// Changes terms of a batch that runs, and then lets an event happen to it, if one is given; both or none of it. Values above
    /// the tenant's caps are clamped to them. Returns what the batch became, if its state changed.
    pub async fn alter_batch(
        &self,
        id: Uuid,
        terms: &TermsChange,
        event: Option<Transition>,
    ) -> Result<Result<Verdict, AlterError>, StoreError> {
        retrying("change_batch", || self.alter_batch_once(id, terms, event)).await
    }

    async fn alter_batch_once(
        &self,
        id: Uuid,
        terms: &TermsChange,
        event: Option<Transition>,
    ) -> Result<Result<Verdict, AlterError>, StoreError> {
        let mut work = Work::begin(self, id).await?;
        let was_paused = work.is_pause_noted().await?;
        // Whatever is refused is refused before anything is changed.
        let altered = work.alter(terms, event, &self.actor.name).await?;
        let mut entries = Vec::new();
        if terms.without_pause() != TermsChange::default() {
            entries.push(Change::new(Action::BatchUpdate, id, terms.details()));
        }
        if let Some(paused) = terms.paused.filter(|paused| *paused != was_paused || altered.is_err()) {
            let action = if paused { Action::BatchPause } else { Action::BatchResume };
            entries.push(Change::new(action, id, json!({})));
        }
        for entry in entries {
            let tenant_id = view_in(&mut work.tx, id).await?.batch.tenant_id;
            let entry = if altered.is_ok() { entry } else { entry.refused() };
            self.audit(&mut work.tx, tenant_id, entry).await?;
        }
        let changed = match altered {
            Ok(verdict) => Some(Ok(verdict)),
            Err(AlterError::Transition(refused)) => Some(Err(refused)),
            Err(_) => None,
        };
        if let (Some(event), Some(changed)) = (event, changed) {
            self.audit_change(&mut work.tx, id, event, &changed).await?;
        }
        work.commit().await?;
        Ok(altered)
    }

    /// Times a batch out when it has been idle for `seconds`, decided once nobody else can touch it: an open one, or a closed one
    /// whose full output buffer nobody empties; a paused one has a clock of its own. Returns whether its state changed.
    pub(super) async fn time_out_batch(&self, id: Uuid, seconds: f64) -> Result<bool, StoreError> {
        retrying("change_batch", || async {
            let mut work = Work::begin(self, id).await?;
            let idle = sqlx::query_scalar!(
                r#"SELECT greatest(updated_at, touched_at) < clock_timestamp() - make_interval(secs => $2)
                   AND paused_at IS NULL AS "idle!"
               FROM batches JOIN batch_sums ON batch_id = id WHERE id = $1"#,
                id,
                seconds
            )
            .fetch_one(&mut *work.tx)
            .await?;
            let view = view_in(&mut work.tx, id).await?;
            let due =
                work.state == BatchState::Open || (view.is_held_back() && !view.progress().is_drained());
            let timed_out =
                idle && due && matches!(work.change(Transition::TimeOut).await?, Ok(Verdict::Become(_)));
            work.commit().await?;
            Ok(timed_out)
        })
        .await
    }

    /// Does what follows from a batch's counters: settles it when it is closed and drained, stops it when it wants to be stopped
    /// early and is certain to fail (contract 3.4). However many call this at once, each transition happens once and is
    /// returned to one of them.
    pub async fn settle_batch(&self, id: Uuid) -> Result<Consequence, StoreError> {
        retrying("change_batch", || async {
            let mut work = Work::begin(self, id).await?;
            let consequence = work.reconsider().await?;
            work.commit().await?;
            Ok(consequence)
        })
        .await
    }
}

/// A transaction that holds a batch's row and all of its slots: nobody else writes to the batch meanwhile.
struct Work {
    tx: Transaction<'static, Postgres>,
    id: Uuid,
    /// The state as it is in this transaction.
    state: BatchState,
    /// The state before it.
    before: BatchState,
}

impl Work {
    async fn begin(store: &Store, id: Uuid) -> Result<Self, StoreError> {
        let mut tx = store.control.begin().await?;
        let state = lock_batch(&mut tx, id).await?;
        Ok(Self { tx, id, state, before: state })
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        if self.state.is_terminal() && !self.before.is_terminal() {
            BATCHES_ENDED.with(self.state.as_str()).add(1);
        }
        Ok(())
    }

    /// Changes terms, then lets an event happen. `by` is who is named where it pauses the batch.
    async fn alter(
        &mut self,
        terms: &TermsChange,
        event: Option<Transition>,
        by: &str,
    ) -> Result<Result<Verdict, AlterError>, StoreError> {
        let state = self.state;
        if let Some(event) = event
            && let Err(refused) = transition(state, event)
        {
            return Ok(Err(refused.into()));
        }
        if let Some(paused) = terms.paused {
            match self.weigh_pause(paused).await? {
                Ok(true) => self.note_pause(paused, by).await?,
                Ok(false) => {}
                Err(refused) => return Ok(Err(refused.into())),
            }
        }
        if terms.without_pause() != TermsChange::default() {
            if state.is_terminal() {
                return Ok(Err(AlterError::Finished(state)));
            }
            let changed = sqlx::query!(
                "UPDATE batches b SET
                     acceptable_error_percentage = coalesce($2, b.acceptable_error_percentage),
                     acceptable_record_error_percentage =
                         CASE WHEN $3 THEN $4 ELSE b.acceptable_record_error_percentage END,
                     early_stop = coalesce($5, b.early_stop),
                     max_workers = least(coalesce($6, b.max_workers), t.max_workers),
                     initial_workers = least(coalesce($7, b.initial_workers), coalesce($6, b.max_workers), t.max_workers),
                     priority = coalesce($8, b.priority),
                     updated_at = clock_timestamp()
                 FROM tenants t WHERE t.id = b.tenant_id AND b.id = $1 AND b.stopped_at IS NULL",
                self.id,
                terms.acceptable_error_percentage,
                terms.acceptable_record_error_percentage.is_some(),
                terms.acceptable_record_error_percentage.flatten(),
                terms.early_stop,
                terms.max_workers,
                terms.initial_workers,
                terms.priority,
            )
            .execute(&mut *self.tx)
            .await?;
            if changed.rows_affected() == 0 {
                return Ok(Err(AlterError::Stopped));
            }
        }
        match event {
            Some(event) => {
                let verdict = self.change(event).await?;
                if matches!(verdict, Ok(Verdict::Unchanged)) {
                    self.reconsider().await?;
                }
                Ok(verdict.map_err(AlterError::from))
            }
            None => Ok(Ok(match self.reconsider().await? {
                Consequence::None => Verdict::Unchanged,
                Consequence::Stopped => Verdict::Become(BatchState::Closed),
                Consequence::Settled(next) => Verdict::Become(next),
            })),
        }
    }

    /// Lets an event happen.
    async fn change(&mut self, event: Transition) -> Result<Result<Verdict, TransitionError>, StoreError> {
        let verdict = match transition(self.state, event) {
            Ok(verdict) => verdict,
            Err(refused) => return Ok(Err(refused)),
        };
        match verdict {
            Verdict::Unchanged => {}
            Verdict::DropResults => drop_results(&mut self.tx, self.id).await?,
            Verdict::Become(next) => {
                self.become_state(next).await?;
                self.reconsider().await?;
            }
        }
        Ok(Ok(verdict))
    }

    /// Moves the batch to another state.
    async fn become_state(&mut self, new: BatchState) -> Result<(), StoreError> {
        let (id, old) = (self.id, self.state);
        let closing = matches!(new, BatchState::Closed | BatchState::ClosedByTimeout);
        // A cancelled batch releases its buffers at once (contract 3.5); others keep them for the cool-off.
        let releasing = matches!(new, BatchState::Cancelled);
        let updated = sqlx::query!(
            "UPDATE batches SET state = $3, updated_at = clock_timestamp(),
                 closed_at = CASE WHEN $4 THEN clock_timestamp() ELSE closed_at END,
                 finished_at = CASE WHEN $5 THEN clock_timestamp() ELSE finished_at END,
                 released_at = CASE WHEN $6 THEN clock_timestamp() ELSE released_at END,
                 paused_at = CASE WHEN $7 THEN paused_at END, paused_by = CASE WHEN $7 THEN paused_by END
             WHERE id = $1 AND state = $2",
            id,
            old.as_str(),
            new.as_str(),
            closing,
            new.is_terminal(),
            releasing,
            outlives(new),
        )
        .execute(&mut *self.tx)
        .await?;
        if updated.rows_affected() != 1 {
            return Err(StoreError::Corrupt(format!("batch {id} was no longer {old}")));
        }
        if new == BatchState::Cancelled {
            drop_results(&mut self.tx, id).await?;
        }
        if let Some(event) = WebhookEvent::of(new) {
            announce(&mut self.tx, id, event).await?;
        }
        self.state = new;
        Ok(())
    }

    /// What follows from the counters and the terms as they are now: a drained closed batch settles; one that is certain to fail and
    /// wants to stop then is stopped.
    async fn reconsider(&mut self) -> Result<Consequence, StoreError> {
        let view = view_in(&mut self.tx, self.id).await?;
        let (state, progress, tolerance) = (view.batch.state, view.progress(), view.batch.tolerance());
        let stopped = view.batch.stopped_at.is_some();
        if progress.is_drained() {
            let within_tolerance = tolerance.permits(&progress) && !stopped;
            if let Ok(Verdict::Become(next)) = transition(state, Transition::Settle { within_tolerance }) {
                self.become_state(next).await?;
                return Ok(Consequence::Settled(next));
            }
        }
        if view.batch.early_stop && !stopped && is_certain_to_fail(state, &progress, &tolerance) {
            if let Ok(Verdict::Become(next)) = transition(state, Transition::Stop) {
                self.become_state(next).await?;
            }
            sqlx::query!(
                "UPDATE batches SET stopped_at = clock_timestamp(), updated_at = clock_timestamp(),
                     paused_at = NULL, paused_by = NULL
                 WHERE id = $1",
                self.id
            )
            .execute(&mut *self.tx)
            .await?;
            // An open batch may have been drained already: nothing is left to end.
            return Ok(match Box::pin(self.reconsider()).await? {
                Consequence::None => Consequence::Stopped,
                settled => settled,
            });
        }
        Ok(Consequence::None)
    }
}

pub(super) async fn view_in(tx: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<BatchView, StoreError> {
    Ok(select_views!("WHERE id = $1", id).fetch_one(&mut **tx).await?.into())
}

/// Locks the batch's row, then all of its counter slots, and reads its state.
pub(super) async fn lock_batch(
    tx: &mut Transaction<'_, Postgres>,
    id: Uuid,
) -> Result<BatchState, StoreError> {
    let state = sqlx::query_scalar!("SELECT state FROM batches WHERE id = $1 FOR NO KEY UPDATE", id)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(StoreError::NotFound("batch"))?;
    lock_slots(tx, id).await?;
    state.parse().map_err(StoreError::Corrupt)
}

/// Waits for every writer of the batch and keeps new ones waiting until the transaction ends.
pub(super) async fn lock_slots(tx: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!("SELECT slot FROM batch_counters WHERE batch_id = $1 ORDER BY slot FOR UPDATE", id)
        .fetch_all(&mut **tx)
        .await?;
    Ok(())
}

/// Makes what was not pulled unavailable and frees both buffers. The caller holds the row and all slots.
async fn drop_results(tx: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!("UPDATE batch_counters SET input_bytes = 0, output_bytes = 0 WHERE batch_id = $1", id)
        .execute(&mut **tx)
        .await?;
    // The rows stay until their partition goes: touching each of them would take as long as the batch is big.
    sqlx::query!(
        "UPDATE batches SET released_at = coalesce(released_at, clock_timestamp()),
             dropped_at = coalesce(dropped_at, clock_timestamp()), updated_at = clock_timestamp()
         WHERE id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
