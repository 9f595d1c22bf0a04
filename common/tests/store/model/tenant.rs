//! A tenant for one list of operations, and a hand on the database's clock.

use millrace_common::store::{
    BatchView, CreateBatchError, CreateRedriveError, CreatedBatch, NewBatch, NewRedrive, Store,
};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::retention::LONG_AGO;
use super::terms::Terms;
use super::world::Fault;
use crate::store::fixture::Database;

/// A database that many lists use one after another.
pub struct Place {
    database: Database,
    client: Client,
    /// One statement a table: every time in the rows of some batches gets older.
    age: Vec<Statement>,
}

/// The tables that know batches (those of recipes have numbers), with their columns of times, whatever they are called.
const TIMES: &str = "
SELECT c.relname::text, CASE c.relname WHEN 'batches' THEN 'id' ELSE 'batch_id' END,
       array_agg(format('%1$I = %1$I - make_interval(secs => $2)', a.attname))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND a.atttypid = 'timestamptz'::regtype
  AND (c.relname = 'batches' OR EXISTS (
      SELECT FROM pg_attribute k WHERE k.attrelid = c.oid AND k.attname = 'batch_id' AND NOT k.attisdropped
          AND k.atttypid = 'uuid'::regtype))
GROUP BY c.relname";

const ROWS: &str = "
SELECT (SELECT count(*) FROM chunks WHERE batch_id = $1),
       (SELECT coalesce(sum(records), 0)::bigint FROM chunks WHERE batch_id = $1),
       (SELECT count(queued_at) FROM chunks WHERE batch_id = $1),
       count(*) FILTER (WHERE outcome = 'completed'), count(*) FILTER (WHERE outcome = 'failed'),
       coalesce(sum(records) FILTER (WHERE outcome <> 'withdrawn'), 0)::bigint,
       count(pulled_at) FILTER (WHERE outcome <> 'withdrawn'),
       coalesce(sum(bytes), 0)::bigint
FROM results WHERE batch_id = $1";

const LEFT: &str = "
SELECT (SELECT count(*) FROM batches WHERE id = $1) + (SELECT count(*) FROM batch_counters WHERE batch_id = $1)
     + (SELECT count(*) FROM batch_totals WHERE batch_id = $1) + (SELECT count(*) FROM chunk_totals WHERE batch_id = $1)
     + (SELECT count(*) FROM redrives WHERE $1 IN (batch_id, source_id)) + (SELECT count(*) FROM lanes WHERE batch_id = $1)
     + (SELECT count(*) FROM counter_repairs WHERE batch_id = $1)
     + (SELECT count(*) FROM webhook_deliveries WHERE batch_id = $1)";

impl Place {
    pub async fn new() -> Self {
        let database = Database::new().await;
        // Partitions grow over many lists, and the reaper looks for the chunks of a batch.
        database.run("CREATE INDEX ON chunks (batch_id)").await;
        let client = database.connect().await;
        let mut age = Vec::new();
        for row in client.query(TIMES, &[]).await.unwrap() {
            let (table, key, times): (String, String, Vec<String>) = (row.get(0), row.get(1), row.get(2));
            let update = format!("UPDATE {table} SET {} WHERE {key} = ANY($1)", times.join(", "));
            age.push(client.prepare(&update).await.unwrap());
        }
        assert!(age.len() >= 4, "batches, batch_counters, chunks and results have times");
        Self { database, client, age }
    }

    /// Makes a fault in the database, before its first batch.
    pub async fn sabotage(&self, statements: &str) {
        self.database.run(statements).await;
    }

    /// A new tenant.
    pub async fn tenant(&self) -> Tenant<'_> {
        let id = Uuid::new_v4();
        let insert =
            "INSERT INTO tenants (id, name, capacity_bytes, max_input_bytes, max_output_bytes, max_workers,
            initial_workers) VALUES ($1, $2, $3, $4, $4, $5, 1)";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&id, &id.to_string(), &Tenant::CAPACITY, &Tenant::LARGEST, &Tenant::WORKERS];
        self.client.execute(insert, &values).await.unwrap();
        Tenant { place: self, id, batches: Vec::new() }
    }
}

pub struct Tenant<'a> {
    place: &'a Place,
    id: Uuid,
    batches: Vec<Uuid>,
}

impl Tenant<'_> {
    pub const CAPACITY: i64 = 16_000;
    pub const LARGEST: i64 = 6_000;
    pub const WORKERS: i32 = 10;

    /// The buffer that is given when this much is asked for.
    pub fn clamp(bytes: i64) -> i64 {
        bytes.min(Self::LARGEST)
    }

    pub fn store(&self) -> &Store {
        &self.place.database.store
    }

    fn new_batch(&self, input: i64, output: i64, terms: Terms) -> NewBatch {
        NewBatch {
            tenant_id: self.id,
            acceptable_error_percentage: terms.chunks.into(),
            acceptable_record_error_percentage: terms.records.map(f64::from),
            early_stop: terms.early_stop,
            max_workers: Some(terms.max_workers),
            initial_workers: Some(terms.initial_workers),
            priority: terms.priority,
            ..self.place.database.new_batch(input, output)
        }
    }

    pub async fn create(
        &mut self,
        input: i64,
        output: i64,
        terms: Terms,
    ) -> Result<CreatedBatch, CreateBatchError> {
        let created = self.store().create_batch(&self.new_batch(input, output, terms)).await?;
        self.batches.push(created.batch.id);
        Ok(created)
    }

    /// Creates the batch of a redrive, which tolerates nothing.
    pub async fn redrive(
        &mut self,
        input: i64,
        output: i64,
        redrive: &NewRedrive,
    ) -> Result<CreatedBatch, CreateRedriveError> {
        let new = self.new_batch(input, output, Terms::tolerant(0, None, false));
        let created = self.store().create_redrive(&new, redrive).await?;
        self.batches.push(created.batch.id);
        Ok(created)
    }

    pub async fn view(&self, batch: Uuid) -> Result<BatchView, Fault> {
        let view = self.store().batch_view(self.id, batch).await.map_err(|error| error.to_string())?;
        view.ok_or_else(|| format!("batch {batch} is gone"))
    }

    /// Makes everything that happened to this tenant's batches happen so many seconds earlier.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 seconds")]
    pub async fn age(&self, seconds: i64) -> Result<(), Fault> {
        for statement in &self.place.age {
            let aged = self.place.client.execute(statement, &[&self.batches, &(seconds as f64)]).await;
            aged.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Makes the last push, pull and change of a batch five seconds older, without getting in the way of those who hold a slot.
    pub async fn age_touches(&self, batch: Uuid) -> Result<(), Fault> {
        let age = format!(
            "WITH locked AS (
                 SELECT batch_id, slot FROM batch_counters WHERE batch_id = '{batch}' ORDER BY slot FOR UPDATE
             )
             UPDATE batch_counters c SET touched_at = touched_at - interval '5 seconds'
             FROM locked l WHERE c.batch_id = l.batch_id AND c.slot = l.slot;
             UPDATE batches SET updated_at = updated_at - interval '5 seconds' WHERE id = '{batch}'"
        );
        // One message is one transaction: those who change a state lock the batch before its slots, so these are two.
        for statement in age.split(';') {
            self.place.client.batch_execute(statement).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What the rows of a batch add up to, as in `World::settle_accounts`.
    pub async fn rows(&self, batch: Uuid) -> Result<((i64, i64, i64), (i64, i64, i64), (i64, i64)), Fault> {
        let row = self.place.client.query_one(ROWS, &[&batch]).await.map_err(|error| error.to_string())?;
        let sum = |row: &Row, at: usize| row.get::<_, i64>(at);
        Ok((
            (sum(&row, 0), sum(&row, 1), sum(&row, 2)),
            (sum(&row, 3), sum(&row, 4), sum(&row, 5)),
            (sum(&row, 6), sum(&row, 7)),
        ))
    }

    /// Whether nobody sees a batch.
    pub async fn is_gone(&self, batch: Uuid) -> Result<(), Fault> {
        let view = self.store().batch_view(self.id, batch).await.map_err(|error| error.to_string())?;
        view.map_or(Ok(()), |view| {
            Err(format!("batch {batch} was removed and is still {}", view.batch.state))
        })
    }

    /// The end of a batch was long ago, and its day was dropped: what the reaper does to a whole day, for one batch.
    pub async fn expire(&self, batch: Uuid) -> Result<(), Fault> {
        let expire = format!(
            "UPDATE batches SET dropped_at = coalesce(dropped_at, now()), day = '2000-01-01',
                 finished_at = finished_at - interval '{LONG_AGO} seconds' WHERE id = '{batch}';
             UPDATE batch_counters SET input_bytes = 0, output_bytes = 0 WHERE batch_id = '{batch}';
             DELETE FROM chunks WHERE batch_id = '{batch}'; DELETE FROM results WHERE batch_id = '{batch}';
             DELETE FROM failed_work WHERE batch_id = '{batch}'"
        );
        self.place.client.batch_execute(&expire).await.map_err(|error| error.to_string())
    }

    /// How many rows of any table name a batch, but for the audit trail.
    pub async fn left(&self, batch: Uuid) -> Result<i64, Fault> {
        let row = self.place.client.query_one(LEFT, &[&batch]).await.map_err(|error| error.to_string())?;
        Ok(row.get(0))
    }

    /// Whether nothing of the tenant's capacity is reserved or used.
    pub async fn is_free(&self) -> Result<(), Fault> {
        let overview =
            self.store().tenant_overview(self.id, None).await.map_err(|error| error.to_string())?;
        let held = [
            overview.reserved_input_bytes,
            overview.reserved_output_bytes,
            overview.used_input_bytes,
            overview.used_output_bytes,
        ];
        if held == [0; 4] { Ok(()) } else { Err(format!("the tenant still holds {held:?}")) }
    }

    /// Takes this tenant's batches out of the reaper's sight.
    pub async fn clear(&self) -> Result<(), Fault> {
        let end = format!(
            "UPDATE redrives SET state = 'stopped' WHERE batch_id IN (SELECT id FROM batches WHERE tenant_id = '{0}');
             UPDATE lanes SET batch_id = NULL WHERE batch_id IN (SELECT id FROM batches WHERE tenant_id = '{0}');
             UPDATE batches SET state = 'cancelled', finished_at = now(), released_at = now(), lane_id = NULL
             WHERE tenant_id = '{0}'",
            self.id
        );
        self.place.client.batch_execute(&end).await.map_err(|error| error.to_string())
    }
}
