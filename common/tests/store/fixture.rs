//! A database of its own for each test, with a tenant, a service version and a batch.

use chrono::Utc;
use millrace_common::config::{DatabaseConfig, Secret};
use millrace_common::store::{
    Admission, Batch, BatchView, Counters, FinishedChunk, NewBatch, Outcome, Push, PushedChunk, QueuedPush,
    Store, WorkerSlot,
};
use tokio_postgres::NoTls;
use uuid::Uuid;

pub struct Database {
    pub store: Store,
    pub tenant_id: Uuid,
    name: String,
    admin: String,
    url: String,
}

/// Bytes of the chunks that the fixture makes.
pub const CHUNK: i32 = 1_000;

impl Database {
    pub async fn new() -> Self {
        let admin = std::env::var("MRT_DATABASE_URL")
            .expect("MRT_DATABASE_URL names a Postgres for tests: run ./tests/run, or eval \"$(deploy/services env DIR)\"");
        let name = format!("store_{}", Uuid::new_v4().simple());
        run(&admin, &format!("CREATE DATABASE {name}")).await;
        // These tests are about what is stored, not about power cuts.
        run(&admin, &format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
        let (base, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        let config = DatabaseConfig { url: Secret::new(url.clone()), ..DatabaseConfig::default() };
        let store = Store::open(&config, "store-test").unwrap();
        store.migrate().await.unwrap();
        let tenant_id = Uuid::new_v4();
        let database = Self { store, tenant_id, name, admin, url };
        database
            .run(&format!(
                "INSERT INTO tenants (id, name, capacity_bytes, max_input_bytes, max_output_bytes, max_workers, initial_workers)
                 VALUES ('{tenant_id}', 'acme', 500000000, 450000000, 450000000, 3000, 10);
                 INSERT INTO folders (id, tenant_id, name, start_date, launch_date, created_by)
                 VALUES ('{tenant_id}', '{tenant_id}', 'f', now(), now(), 'me');
                 INSERT INTO services (id, tenant_id, folder_id, name, created_by)
                 VALUES ('{tenant_id}', '{tenant_id}', '{tenant_id}', 's', 'me');
                 INSERT INTO documents (id, tenant_id, file_name, media_type, sha256, content)
                 VALUES ('{tenant_id}', '{tenant_id}', 'x', 'x', '', '');
                 INSERT INTO service_versions (id, tenant_id, service_id, major, minor, patch, document_id, kind, interface, report,
                     compiler_version, source_hash, effective_start, effective_end, created_by)
                 VALUES ('{tenant_id}', '{tenant_id}', '{tenant_id}', 0, 1, 0, '{tenant_id}', 'workbook', '{{}}', '{{}}', 'x', 'x',
                     now(), now(), 'me')"
            ))
            .await;
        database
    }

    /// Runs statements as the test's own hand on the clock and the rows.
    pub async fn run(&self, statements: &str) {
        run(&self.url, statements).await;
    }

    /// A connection for looking at rows.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.url).await
    }

    pub fn new_batch(&self, input_bytes: i64, output_bytes: i64) -> NewBatch {
        NewBatch {
            tenant_id: self.tenant_id,
            version_id: self.tenant_id,
            service_id: self.tenant_id,
            service_uri: "f/s[0.1.0]".into(),
            version: "0.1.0".into(),
            compiler_version: "x".into(),
            created_by: "me".into(),
            unique_record_key: None,
            output_filter: vec![],
            subservices: vec![],
            version_by_timestamp: Some(Utc::now()),
            call_purpose: "test".into(),
            source_system: None,
            correlation_id: None,
            initial_workers: None,
            max_workers: None,
            chunks_per_request: 1,
            runner_thread_count: 1,
            acceptable_error_percentage: 0.0,
            acceptable_record_error_percentage: None,
            early_stop: false,
            priority: 0,
            input_bytes,
            output_bytes,
            totals: vec![],
            webhook_url: None,
        }
    }

    pub async fn batch(&self, input_bytes: i64, output_bytes: i64) -> Batch {
        self.store.create_batch(&self.new_batch(input_bytes, output_bytes)).await.unwrap().batch
    }

    pub async fn view(&self, batch: &Batch) -> BatchView {
        self.store.batch_view(self.tenant_id, batch.id).await.unwrap().unwrap()
    }

    pub async fn counters(&self, batch: &Batch) -> Counters {
        self.view(batch).await.counters
    }

    pub async fn admit(&self, push: Push) -> Admission {
        self.store.admit(&[push]).await.unwrap().remove(0)
    }

    /// Admits and queues chunks; returns their numbers.
    pub async fn queued(&self, batch: &Batch, ids: &[&str]) -> Vec<(String, i64)> {
        let Admission::Admitted { publish, .. } = self.admit(push(batch, ids)).await else {
            panic!("not admitted")
        };
        self.store.mark_queued(&[queued(batch, &publish)]).await.unwrap();
        publish
    }

    pub async fn finish(&self, batch: &Batch, chunks: &[(String, i64)], outcome: Outcome) {
        let finished: Vec<_> = chunks.iter().map(|(id, no)| finished(batch, id, *no, outcome)).collect();
        self.store.commit(WorkerSlot::of(Uuid::nil()), &finished).await.unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // Drop cannot wait on the test's runtime; a thread with one of its own can.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")));
        })
        .join();
    }
}

async fn run(url: &str, statements: &str) {
    connect(url).await.batch_execute(statements).await.unwrap();
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub fn push(batch: &Batch, ids: &[&str]) -> Push {
    let chunk =
        |id: &&str| PushedChunk { chunk_id: (*id).to_owned(), digest: [7; 32], records: 10, bytes: CHUNK };
    Push { batch_id: batch.id, day: batch.day, chunks: ids.iter().map(chunk).collect() }
}

pub fn queued(batch: &Batch, published: &[(String, i64)]) -> QueuedPush {
    QueuedPush { batch_id: batch.id, day: batch.day, chunks: published.to_vec() }
}

pub fn finished(batch: &Batch, chunk_id: &str, chunk_no: i64, outcome: Outcome) -> FinishedChunk {
    FinishedChunk {
        batch_id: batch.id,
        day: batch.day,
        chunk_no,
        chunk_id: chunk_id.to_owned(),
        outcome,
        records: 10,
        records_failed: if outcome == Outcome::Failed { 10 } else { 1 },
        charged_bytes: CHUNK,
        output_bytes: 600,
        compressed: false,
        body: format!("{{\"id\":\"{chunk_id}\"}}").into_bytes(),
        compute_ms: 3,
        totals: None,
        failed: None,
    }
}
