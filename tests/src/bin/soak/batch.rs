//! One caller, who runs batch after batch: create, push, pull, close, and check everything.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use millrace_tests::{Answer, Client, SALES, sales_workbook};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::records::Chunk;
use crate::tally::Tally;

/// How long one batch may take at all.
const PATIENCE: Duration = Duration::from_secs(240);
/// Pause before a call is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes the sales workbook for this caller's tenant.
pub async fn publish_sales(client: &Client) -> Result<()> {
    let (folder, service) = SALES.split_once('/').context("SALES is folder/service")?;
    client.create_folder(folder).await?.success()?;
    client.upload_and_publish(folder, service, "sales.xlsx", &sales_workbook()?).await?;
    Ok(())
}

/// A caller of one tenant.
#[derive(Debug)]
pub struct Caller {
    client: Client,
    urls: watch::Receiver<String>,
    tally: Arc<Tally>,
}

/// What has come of a batch.
#[derive(Debug, Default)]
struct Came {
    chunks: HashSet<String>,
}

impl Caller {
    pub fn new(client: Client, urls: watch::Receiver<String>, tally: Arc<Tally>) -> Self {
        Self { client, urls, tally }
    }

    pub fn problem(&self, text: String) {
        self.tally.problem(text);
    }

    /// The API may have been started anew elsewhere.
    fn client(&self) -> Client {
        self.client.at(&self.urls.borrow())
    }

    /// Asks until there is an answer other than 429, 502, 503 and 504.
    async fn persist<F>(&self, what: &str, mut ask: impl FnMut(Client) -> F) -> Result<Answer>
    where
        F: Future<Output = Result<Answer>>,
    {
        let began = Instant::now();
        loop {
            match ask(self.client()).await {
                Ok(answer) if !matches!(answer.status, 429 | 502 | 503 | 504) => return Ok(answer),
                Ok(answer) if began.elapsed() > PATIENCE => bail!("{what}: still {}", answer.describe()),
                Err(error) if began.elapsed() > PATIENCE => return Err(error.context(what.to_owned())),
                Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Runs one batch from its creation to its end.
    pub async fn run_batch(&self, seed: u64) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        let chunks: Vec<Chunk> = (0..[5, 30, 120, 400][random.random_range(0..4)])
            .map(|number| Chunk::make(number, &mut random))
            .collect();
        let megabytes = |sizes: [f64; 3], random: &mut StdRng| sizes[random.random_range(0..3)];
        let (input, output) =
            (megabytes([0.5, 2.0, 10.0], &mut random), megabytes([0.02, 0.5, 10.0], &mut random));
        let body = json!({
            "service": SALES,
            "unique_record_key": "id",
            "acceptable_error_percentage": 100,
            "max_input_in_mb": input,
            "max_output_in_mb": output,
            "correlation_id": format!("soak {seed}"),
        });
        let created = self.persist("create", |client| {
            let body = body.clone();
            async move { client.create_batch(&body).await }
        });
        let id = created.await?.success()?.text("/id")?.to_owned();
        self.tally.batches.add(1);
        if random.random_ratio(1, 8) {
            return self.cancel_midway(&id, &chunks, &mut random).await;
        }
        let pull_seed = random.random();
        let ((), came) =
            tokio::try_join!(self.push_all(&id, &chunks, random), self.pull_all(&id, &chunks, pull_seed))?;
        self.close(&id, &chunks, came).await
    }

    /// Pushes chunks until every one of them is taken; chunks come in JSON or BSON, plain or compressed.
    async fn push_all(&self, id: &str, chunks: &[Chunk], mut random: StdRng) -> Result<()> {
        let mut left = chunks;
        while !left.is_empty() {
            let (now, later) = left.split_at(random.random_range(1..=20).min(left.len()));
            left = later;
            let answer = self.push(id, now, &mut random).await?;
            answer.success()?;
            self.tally.pushed.add(now.len() as u64);
            self.tally.records.add(now.iter().map(|chunk| chunk.records() as u64).sum());
        }
        Ok(())
    }

    async fn push(&self, id: &str, chunks: &[Chunk], random: &mut StdRng) -> Result<Answer> {
        let document = json!({"chunks": chunks.iter().map(Chunk::pushed).collect::<Vec<_>>()});
        let (media, plain) = if random.random_ratio(1, 2) {
            ("application/json", serde_json::to_vec(&document)?)
        } else {
            ("application/bson", bson::serialize_to_vec(&document)?)
        };
        let (encoding, body) = match random.random_range(0..3) {
            0 => (Some("gzip"), {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&plain)?;
                encoder.finish()?
            }),
            1 => (Some("zstd"), zstd::encode_all(plain.as_slice(), 1)?),
            _ => (None, plain),
        };
        let mut tries = 0;
        let answer = self
            .persist("push", |client| {
                tries += 1;
                let (id, body) = (id.to_owned(), body.clone());
                async move { client.push_bytes(&id, media, encoding, body).await }
            })
            .await;
        self.tally.pushes_again.add(tries - 1);
        answer
    }

    /// Pulls until every chunk has come. Some answers are thrown away, as by a caller that crashes; those results, and those
    /// of pulls that broke off, are asked for by their ids once nothing else is left.
    async fn pull_all(&self, id: &str, chunks: &[Chunk], seed: u64) -> Result<Came> {
        let known: HashMap<&str, &Chunk> = chunks.iter().map(|chunk| (chunk.id.as_str(), chunk)).collect();
        let mut random = StdRng::seed_from_u64(seed);
        let mut came = Came::default();
        let began = Instant::now();
        while came.chunks.len() < chunks.len() {
            if began.elapsed() > PATIENCE {
                self.tally.lost.add((chunks.len() - came.chunks.len()) as u64);
                bail!(
                    "{} of {} results of batch {id} came within {PATIENCE:?}",
                    came.chunks.len(),
                    chunks.len()
                );
            }
            let answer = match self.client().pull(id, [1, 10, 100][random.random_range(0..3)]).await {
                Ok(answer) if answer.status == 200 => answer,
                Ok(answer) if !matches!(answer.status, 429 | 502 | 503 | 504) => {
                    bail!("{}", answer.describe())
                }
                Ok(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(_) => {
                    self.tally.lost_pulls.add(1);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let results = answer.list("/data")?;
            if results.is_empty() {
                let status = |name: &str| answer.integer(&format!("/status/{name}"));
                let all = chunks.len() as i64;
                if status("chunks_completed")? == all && status("chunks_available")? == 0 {
                    self.fetch_again(id, &known, &mut came).await?;
                } else {
                    tokio::time::sleep(PAUSE / 4).await;
                }
            } else if random.random_ratio(1, 25) {
                self.tally.lost_pulls.add(1);
            } else {
                self.take(results, &known, &mut came);
                self.tally.pulled.add(results.len() as u64);
            }
        }
        Ok(came)
    }

    fn take(&self, results: &[Value], known: &HashMap<&str, &Chunk>, came: &mut Came) {
        self.tally.results_came();
        for result in results {
            let id = result["id"].as_str().unwrap_or_default();
            let Some(chunk) = known.get(id) else {
                self.tally.wrong.add(1);
                self.problem(format!("a result of chunk {id:?}, which was never pushed"));
                continue;
            };
            if !came.chunks.insert(id.to_owned()) {
                self.tally.doubled.add(1);
                self.problem(format!("chunk {id} came twice"));
            }
            if let Err(fault) = chunk.check(result) {
                self.tally.wrong.add(1);
                self.problem(format!("chunk {id}: {fault}"));
            }
            self.tally.failed.add(u64::from(chunk.totals.is_none()));
        }
    }

    /// Every result was handed out, but not all of them arrived.
    async fn fetch_again(&self, id: &str, known: &HashMap<&str, &Chunk>, came: &mut Came) -> Result<()> {
        let missing: Vec<&str> =
            known.keys().copied().filter(|chunk| !came.chunks.contains(*chunk)).collect();
        for chunk in missing {
            let path = format!("/{{tenant}}/api/v4/batch/{id}/chunkresults/{chunk}");
            let answer = self.persist("fetch again", |client| {
                let path = path.clone();
                async move { client.get(&path).await }
            });
            let answer = answer.await?.success().with_context(|| format!("chunk {chunk} is lost"));
            if answer.is_err() {
                self.tally.lost.add(1);
            }
            self.take(answer?.list("/data")?, known, came);
            self.tally.fetched_again.add(1);
        }
        Ok(())
    }

    /// Closes the batch and looks at what it says at rest.
    async fn close(&self, id: &str, chunks: &[Chunk], came: Came) -> Result<()> {
        let closed = self.persist("close", |client| async move { client.patch(id, "closed").await });
        closed.await?.success()?;
        let began = Instant::now();
        let status = loop {
            let status =
                self.persist("status", |client| async move { client.status(id).await }).await?.success()?;
            match status.text("/batch_status")? {
                "closed" if began.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                "completed" => break status,
                other => bail!("batch {id} is {other} after its close"),
            }
        };
        let failed = chunks.iter().filter(|chunk| chunk.totals.is_none()).count() as i64;
        for (field, expected) in [
            ("chunks_submitted", came.chunks.len() as i64),
            ("chunks_completed", chunks.len() as i64),
            ("chunks_failed", failed),
            ("chunks_available", 0),
            ("records_available", 0),
            ("input_buffer_used_bytes", 0),
            ("output_buffer_used_bytes", 0),
        ] {
            let found = status.integer(&format!("/{field}"))?;
            if found != expected {
                bail!("{field} of batch {id} is {found} instead of {expected}");
            }
        }
        if status.integer("/records_completed")? != status.integer("/record_submitted")? {
            bail!("records do not add up: {}", status.describe());
        }
        let rest =
            self.persist("pull", |client| async move { client.pull(id, 100).await }).await?.success()?;
        if !rest.list("/data")?.is_empty() {
            self.tally.doubled.add(1);
            bail!("results of batch {id} came after all of them had come");
        }
        Ok(())
    }

    /// Pushes some chunks and cancels; after the answer nothing is handed out and no buffer used.
    async fn cancel_midway(&self, id: &str, chunks: &[Chunk], random: &mut StdRng) -> Result<()> {
        let some = &chunks[..random.random_range(1..=chunks.len().min(40))];
        for part in some.chunks(20) {
            self.push(id, part, random).await?.success()?;
        }
        let cancelled = self.persist("cancel", |client| async move { client.patch(id, "cancelled").await });
        cancelled.await?.success()?;
        self.tally.cancelled_batches.add(1);
        let pulled = self.persist("pull", |client| async move { client.pull(id, 100).await }).await?;
        if pulled.status != 409 {
            bail!("a pull after a cancel: {}", pulled.describe());
        }
        let status =
            self.persist("status", |client| async move { client.status(id).await }).await?.success()?;
        for field in ["input_buffer_used_bytes", "output_buffer_used_bytes", "chunks_available"] {
            if status.integer(&format!("/{field}"))? != 0 {
                bail!("{field} after a cancel: {}", status.describe());
            }
        }
        Ok(())
    }
}
