//! Datasets that no batch was made of.

use sqlx::{Postgres, Transaction};

use super::super::{Store, StoreError};
use super::{SETTLED, days_of};

/// The datasets that are looked at in one transaction.
const DATASETS: u32 = 100;
/// The most members that go in one transaction.
const MEMBERS: i64 = 5_000;

/// Datasets that were hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HiddenDatasets {
    /// How many.
    pub hidden: u64,
    /// Where to go on; none at the end.
    pub next: Option<i64>,
}

/// What was removed of a hidden dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedDataset {
    /// There is none, or it was hidden a moment ago.
    Nothing,
    /// Some members.
    Members(u64),
    /// All that was left.
    Whole,
    /// Nothing: a batch refers to it, and it is shown again.
    Shown,
}

impl Store {
    /// Hides datasets behind `after` that no batch refers to and that got nothing for `days`; looks at a hundred.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn hide_unused_datasets(&self, days: u32, after: i64) -> Result<HiddenDatasets, StoreError> {
        let looked_at = sqlx::query_scalar!(
            "SELECT id FROM datasets WHERE id > $1 ORDER BY id LIMIT $2",
            after,
            i64::from(DATASETS)
        )
        .fetch_all(&self.control)
        .await?;
        let Some(last) = looked_at.last().copied() else {
            return Ok(HiddenDatasets { hidden: 0, next: None });
        };
        // Ids of members grow with their times, as far as days matter. An upload that runs holds the dataset's row.
        let hidden = sqlx::query!(
            "UPDATE datasets SET removed = clock_timestamp() WHERE id IN (
                 SELECT id FROM datasets d
                 WHERE d.id = ANY($2) AND d.removed IS NULL AND d.created < now() - make_interval(days => $1)
                   AND NOT EXISTS (SELECT FROM recipe_batches b WHERE b.dataset_id = d.id)
                   AND NOT EXISTS (SELECT FROM recipe_batches b
                       WHERE b.dataset_id IS NULL AND b.definition ->> 'dataset' = d.id::text)
                   AND NOT EXISTS (SELECT FROM dataset_uploads u WHERE u.dataset_id = d.id
                       AND coalesce(u.finished, u.created) >= now() - make_interval(days => $1))
                   AND NOT coalesce((SELECT m.created >= now() - make_interval(days => $1) FROM dataset_members m
                       WHERE m.dataset_id BETWEEN d.id AND d.id ORDER BY m.dataset_id DESC, m.id DESC LIMIT 1), false)
                 FOR UPDATE SKIP LOCKED)",
            days_of(days),
            &looked_at
        )
        .execute(&self.control)
        .await?;
        let next = (looked_at.len() == DATASETS as usize).then_some(last);
        Ok(HiddenDatasets { hidden: hidden.rows_affected(), next })
    }

    /// Removes something of a dataset that was hidden a while ago.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_hidden_dataset(&self) -> Result<RemovedDataset, StoreError> {
        let mut tx = self.control.begin().await?;
        // The lock keeps a batch from referring to it meanwhile.
        let hidden = sqlx::query_scalar!(
            "SELECT id FROM datasets WHERE removed < clock_timestamp() - make_interval(secs => $1)
             ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
            SETTLED
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(id) = hidden else { return Ok(RemovedDataset::Nothing) };
        let removed = remove_some(&mut tx, id).await?;
        tx.commit().await?;
        Ok(removed)
    }
}

async fn remove_some(tx: &mut Transaction<'_, Postgres>, id: i64) -> Result<RemovedDataset, StoreError> {
    let used = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM recipe_batches WHERE dataset_id = $1)
               OR EXISTS (SELECT FROM recipe_batches WHERE dataset_id IS NULL AND definition ->> 'dataset' = $1::bigint::text)
               AS "used!""#,
        id
    )
    .fetch_one(&mut **tx)
    .await?;
    if used {
        sqlx::query!("UPDATE datasets SET removed = NULL WHERE id = $1", id).execute(&mut **tx).await?;
        return Ok(RemovedDataset::Shown);
    }
    let members = sqlx::query!(
        "DELETE FROM dataset_members WHERE id IN (
             SELECT id FROM dataset_members WHERE dataset_id BETWEEN $1 AND $1 ORDER BY dataset_id, id LIMIT $2)",
        id,
        MEMBERS
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if members == MEMBERS.unsigned_abs() {
        return Ok(RemovedDataset::Members(members));
    }
    sqlx::query!("DELETE FROM dataset_uploads WHERE dataset_id = $1", id).execute(&mut **tx).await?;
    sqlx::query!("DELETE FROM datasets WHERE id = $1", id).execute(&mut **tx).await?;
    Ok(RemovedDataset::Whole)
}
