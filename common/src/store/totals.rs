//! Totals of whole batches: what chunks added, folded together (control plane).
//!
//! A commit stores the state of a chunk beside its result, in the same transaction (see [`super::commit`]); nothing is updated
//! there. The reaper folds these rows into one row a batch. Whoever reads takes both, in one statement, so that it sees every
//! chunk once, wherever its state is just then.

use millrace_calc::totals::{Totals, TotalsError};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError};

/// Batches folded in one round.
const BATCHES: i64 = 500;

/// Rows folded in one transaction.
const ROWS: i64 = 2_000;

/// Transactions that one batch gets in a round; what is left waits for the next.
const TURNS: u32 = 10;

impl From<TotalsError> for StoreError {
    fn from(error: TotalsError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl Store {
    /// The totals of the completed chunks of a batch, empty for a batch that asked for none.
    pub async fn batch_totals(&self, batch_id: Uuid) -> Result<Totals, StoreError> {
        let states = sqlx::query_scalar!(
            r#"SELECT state AS "state!" FROM batch_totals WHERE batch_id = $1
               UNION ALL SELECT state FROM chunk_totals WHERE batch_id = $1"#,
            batch_id
        )
        .fetch_all(&self.control)
        .await?;
        merged(Totals::default(), states)
    }

    /// Folds what chunks added since into their batches' totals. Returns how many rows went, and the batches whose states
    /// cannot be read.
    pub async fn fold_totals(&self) -> Result<(u64, Vec<(Uuid, StoreError)>), StoreError> {
        let batches = sqlx::query_scalar!("SELECT DISTINCT batch_id FROM chunk_totals LIMIT $1", BATCHES)
            .fetch_all(&self.control)
            .await?;
        let (mut folded, mut broken) = (0, Vec::new());
        for batch_id in batches {
            for _ in 0..TURNS {
                let mut tx = self.control.begin().await?;
                let rows = match fold(&mut tx, batch_id).await {
                    Ok(rows) => rows,
                    Err(error @ StoreError::Corrupt(_)) => {
                        tx.rollback().await?;
                        broken.push((batch_id, error));
                        break;
                    }
                    Err(error) => return Err(error),
                };
                tx.commit().await?;
                folded += rows;
                if rows < ROWS.unsigned_abs() {
                    break;
                }
            }
        }
        Ok((folded, broken))
    }
}

/// Moves some rows of the batch into its sum.
async fn fold(tx: &mut Transaction<'_, Postgres>, batch_id: Uuid) -> Result<u64, StoreError> {
    // The row is there before it is locked, so that two folders take turns on it.
    sqlx::query!(
        "INSERT INTO batch_totals (batch_id, state) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        batch_id,
        Totals::default().encode()
    )
    .execute(&mut **tx)
    .await?;
    let sum = sqlx::query_scalar!("SELECT state FROM batch_totals WHERE batch_id = $1 FOR UPDATE", batch_id)
        .fetch_one(&mut **tx)
        .await?;
    let states = sqlx::query_scalar!(
        "DELETE FROM chunk_totals WHERE batch_id = $1
             AND chunk_no IN (SELECT chunk_no FROM chunk_totals WHERE batch_id = $1 ORDER BY chunk_no LIMIT $2)
         RETURNING state",
        batch_id,
        ROWS
    )
    .fetch_all(&mut **tx)
    .await?;
    let rows = states.len() as u64;
    let sum = merged(Totals::decode(&sum)?, states)?;
    sqlx::query!("UPDATE batch_totals SET state = $2 WHERE batch_id = $1", batch_id, sum.encode())
        .execute(&mut **tx)
        .await?;
    Ok(rows)
}

fn merged(mut sum: Totals, states: Vec<Vec<u8>>) -> Result<Totals, StoreError> {
    for state in states {
        sum.merge(&Totals::decode(&state)?)?;
    }
    Ok(sum)
}
