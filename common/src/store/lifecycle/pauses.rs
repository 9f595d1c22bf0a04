//! Pauses of batches: noted, taken back, and ended when they last too long.

use serde_json::json;
use uuid::Uuid;

use super::{Work, view_in};
use crate::model::{Action, PauseError, Transition, Verdict, change_pause};
use crate::store::audit::Change;
use crate::store::retry::retrying;
use crate::store::{Store, StoreError};

/// How a pause ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseEnd {
    /// The batch was closed by timeout.
    TimedOut,
    /// It had been closed by timeout before, and goes on.
    Resumed,
}

impl Store {
    /// Ends the pause of a batch that began `seconds` ago, decided once nobody else can touch it, and times the batch out with it.
    /// Returns what became of it, if it was due.
    pub(in crate::store) async fn time_out_pause(
        &self,
        id: Uuid,
        seconds: f64,
    ) -> Result<Option<PauseEnd>, StoreError> {
        retrying("change_batch", || async {
            let mut work = Work::begin(self, id).await?;
            let due = sqlx::query_scalar!(
                r#"SELECT paused_at < clock_timestamp() - make_interval(secs => $2) AND stopped_at IS NULL AS "due"
                   FROM batches WHERE id = $1"#,
                id,
                seconds
            )
            .fetch_one(&mut *work.tx)
            .await?;
            let mut ended = None;
            if due == Some(true) && work.state.is_live() {
                ended = Some(match work.change(Transition::TimeOut).await? {
                    Ok(Verdict::Become(_)) => PauseEnd::TimedOut,
                    _ => {
                        work.note_pause(false, "").await?;
                        PauseEnd::Resumed
                    }
                });
                let tenant_id = view_in(&mut work.tx, id).await?.batch.tenant_id;
                let entry = Change::new(Action::BatchResume, id, json!({"reason": "clocks.paused_seconds"}));
                self.audit(&mut work.tx, tenant_id, entry).await?;
            }
            work.commit().await?;
            Ok(ended)
        })
        .await
    }
}

impl Work {
    /// Whether a pause of the batch is noted.
    pub(super) async fn is_pause_noted(&mut self) -> Result<bool, StoreError> {
        let noted = sqlx::query_scalar!(
            r#"SELECT paused_at IS NOT NULL AS "noted!" FROM batches WHERE id = $1"#,
            self.id
        );
        Ok(noted.fetch_one(&mut *self.tx).await?)
    }

    /// Notes a pause, or takes the note back.
    pub(super) async fn note_pause(&mut self, paused: bool, by: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE batches SET paused_at = CASE WHEN $2 THEN clock_timestamp() END, paused_by = CASE WHEN $2 THEN $3 END,
                 updated_at = clock_timestamp()
             WHERE id = $1",
            self.id,
            paused,
            by
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// What a wish to pause or to resume the batch changes: whether anything.
    pub(super) async fn weigh_pause(&mut self, paused: bool) -> Result<Result<bool, PauseError>, StoreError> {
        let stopped = sqlx::query_scalar!(
            r#"SELECT stopped_at IS NOT NULL AS "stopped!" FROM batches WHERE id = $1"#,
            self.id
        );
        let stopped = stopped.fetch_one(&mut *self.tx).await?;
        Ok(change_pause(self.state, stopped, self.is_pause_noted().await?, paused))
    }
}
