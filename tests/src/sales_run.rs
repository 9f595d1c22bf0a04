//! One batch of the sales example under faults: chunks whose results are known, and the check that ends every fault test.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::client::Client;
use crate::fleet::Fleet;
use crate::reconcile::{reconcile, released};
use crate::wait::wait_until;
use crate::{PATIENCE, SALES};

/// Chunks of one push of [`SalesRun::push_all`].
const PUSHED_TOGETHER: usize = 50;

/// A batch of the sales example. Its chunks are numbered from 0, and each has [`SalesRun::RECORDS`] records.
#[derive(Debug, Clone)]
pub struct SalesRun {
    client: Client,
    batch: String,
    deadline: Duration,
}

impl SalesRun {
    /// Records of a chunk.
    pub const RECORDS: usize = 4;

    /// Opens a batch.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn open(fleet: &Fleet) -> Result<Self> {
        Self::open_with(fleet, json!({})).await
    }

    /// Opens a batch with more fields of contract 1.1.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn open_with(fleet: &Fleet, more: Value) -> Result<Self> {
        let mut body = json!({"service": SALES, "unique_record_key": "id"});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let client = fleet.client().clone();
        let batch = client.open_batch(&body).await?;
        Ok(Self { client, batch, deadline: Duration::from_secs(240) })
    }

    /// The same batch, asked for at the API's present address.
    pub fn follow(&mut self, fleet: &Fleet) {
        self.client = self.client.at(&fleet.url());
    }

    /// The batch's id.
    pub fn batch(&self) -> &str {
        &self.batch
    }

    /// The caller.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// One chunk as it is pushed.
    pub fn chunk(index: usize) -> Value {
        let rows =
            (0..Self::RECORDS).map(|row| json!([index * Self::RECORDS + row, index + 1, row + 1, 0.1]));
        let inputs: Vec<Value> =
            std::iter::once(json!(["id", "price", "quantity", "tax"])).chain(rows).collect();
        json!({"id": format!("c{index}"), "data": {"inputs": inputs}})
    }

    /// The body of a push of these chunks.
    pub fn body(chunks: Range<usize>) -> Value {
        json!({"chunks": chunks.map(Self::chunk).collect::<Vec<_>>()})
    }

    /// What the chunk's outputs must be; these products have one decimal, so this is exact.
    fn outputs(index: usize) -> Value {
        let rows = (0..Self::RECORDS).map(|row| {
            let total = ((index + 1) * (row + 1) * 11) as f64 / 10.0;
            json!([index * Self::RECORDS + row, total])
        });
        std::iter::once(json!(["id", "total"])).chain(rows).collect()
    }

    /// Pushes chunks in one request, once.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    pub async fn push(&self, chunks: Range<usize>) -> Result<Answer> {
        self.client.push(&self.batch, &Self::body(chunks)).await
    }

    /// Pushes chunks until they are taken: what a caller does who wants all of them in. Every refusal on the way must be one
    /// that invites to try again.
    ///
    /// # Errors
    ///
    /// Any other refusal, and when the time is up.
    pub async fn push_until_taken(&self, chunks: Range<usize>) -> Result<()> {
        let body = Self::body(chunks.clone());
        let began = tokio::time::Instant::now();
        loop {
            match self.client.push(&self.batch, &body).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => {
                    ensure!(matches!(answer.status, 429 | 503), "{}", answer.describe());
                    for header in ["retry-after", "x-retry-after"] {
                        ensure!(answer.header(header).is_some(), "without {header}: {}", answer.describe());
                    }
                }
                // Cut off: nobody knows what became of it, so it is pushed again.
                Err(_) => {}
            }
            ensure!(began.elapsed() < self.deadline, "chunks {chunks:?} were never taken");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Pushes chunks 0 to `chunks`, fifty at a time, in a task of its own.
    pub fn push_all(&self, chunks: usize) -> JoinHandle<Result<()>> {
        let run = self.clone();
        tokio::spawn(async move {
            for first in (0..chunks).step_by(PUSHED_TOGETHER) {
                run.push_until_taken(first..chunks.min(first + PUSHED_TOGETHER)).await?;
            }
            Ok(())
        })
    }

    /// The batch's status.
    ///
    /// # Errors
    ///
    /// Any refusal.
    pub async fn status(&self) -> Result<Value> {
        Ok(self.client.status(&self.batch).await?.success()?.body)
    }

    /// Pauses the batch, or resumes it; its status after that.
    ///
    /// # Errors
    ///
    /// Any refusal.
    pub async fn pause(&self, paused: bool) -> Result<Value> {
        Ok(self.client.pause(&self.batch, paused).await?.success()?.body)
    }

    /// Waits until the status shows what is asked for.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub async fn until(&self, what: &str, shows: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_until(what, self.deadline, || async {
            let status = self.status().await?;
            if shows(&status) { Ok(Some(status)) } else { bail!("{status}") }
        })
        .await
    }

    /// Waits until so many chunks are completed.
    ///
    /// # Errors
    ///
    /// When they are not in time.
    pub async fn until_completed(&self, chunks: usize) -> Result<Value> {
        let what = format!("{chunks} chunks are completed");
        self.until(&what, |status| status["chunks_completed"].as_u64() >= Some(chunks as u64)).await
    }

    /// The end of a fault test in which every chunk was taken: as [`SalesRun::finish_with_failed`] without failed chunks.
    ///
    /// # Errors
    ///
    /// Anything that is not as it must be.
    pub async fn finish(&self, fleet: &Fleet, chunks: usize) -> Result<()> {
        self.finish_with_failed(fleet, chunks, &[]).await
    }

    /// The end of a fault test: pulls everything, closes the batch, and checks that nothing is lost and nothing doubled.
    ///
    /// Every chunk comes once, completed with the right outputs or (those in `failed`) failed with a reason; counters add up
    /// and agree with the rows in the database; both buffers are empty; the lane is given back empty, and no dead letter is
    /// left.
    ///
    /// # Errors
    ///
    /// Anything that is not as it must be.
    pub async fn finish_with_failed(&self, fleet: &Fleet, chunks: usize, failed: &[usize]) -> Result<()> {
        let results = self.client.pull_all(&self.batch, chunks, self.deadline).await?;
        let failed: BTreeSet<usize> = failed.iter().copied().collect();
        self.check_results(&results, &(0..chunks).collect(), &failed)?;
        let more = self.client.pull(&self.batch, 100).await?.success()?;
        ensure!(more.list("/data")?.is_empty(), "there is more: {}", more.describe());
        self.client.patch(&self.batch, "closed").await?.success()?;
        let end = if failed.is_empty() { "completed" } else { "failed" };
        let status = self.client.wait_for_status(&self.batch, end, PATIENCE).await?.body;
        let records = chunks * Self::RECORDS;
        for (field, expected) in [
            ("chunks_submitted", chunks),
            // Contract 1.5: failed chunks are completed ones, too.
            ("chunks_completed", chunks),
            ("chunks_failed", failed.len()),
            ("chunks_available", 0),
            ("record_submitted", records),
            ("input_buffer_used_bytes", 0),
            ("output_buffer_used_bytes", 0),
        ] {
            ensure!(status[field].as_u64() == Some(expected as u64), "{field} must be {expected}: {status}");
        }
        reconcile(fleet, &self.batch).await?;
        released(fleet, &self.batch).await
    }

    /// Checks that these results are those of the chunks, each once, with the right content.
    ///
    /// # Errors
    ///
    /// Anything that is not as it must be.
    pub fn check_results(
        &self,
        results: &[Value],
        chunks: &BTreeSet<usize>,
        failed: &BTreeSet<usize>,
    ) -> Result<()> {
        let mut seen = BTreeMap::new();
        for result in results {
            let id = result["id"].as_str().context("a result without an id")?;
            let index: usize =
                id.strip_prefix('c').and_then(|index| index.parse().ok()).context(id.to_owned())?;
            ensure!(seen.insert(index, result).is_none(), "chunk {id} came twice");
        }
        let came: BTreeSet<usize> = seen.keys().copied().collect();
        ensure!(came == *chunks, "missing {:?}, not wanted {:?}", chunks - &came, &came - chunks);
        for (index, result) in seen {
            if failed.contains(&index) {
                ensure!(result["status"] == "failed", "chunk {index} did not fail: {result}");
                let reason = result.pointer("/errors/0/message").or_else(|| result.pointer("/error/message"));
                let reason = reason.and_then(Value::as_str).unwrap_or_default();
                ensure!(!reason.is_empty(), "chunk {index} failed without a reason: {result}");
            } else {
                ensure!(result["status"] == "completed", "chunk {index} failed: {result}");
                ensure!(
                    result["outputs"] == Self::outputs(index),
                    "wrong outputs of chunk {index}: {result}"
                );
            }
        }
        Ok(())
    }
}
