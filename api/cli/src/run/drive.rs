//! The course of a run: rounds of pushing and pulling, each over one batch, until no chunk is missing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

use super::super::client::{Client, NewBatch};
use super::super::error::CliError;
use super::progress::Counts;
use super::pull::{End, pull_all};
use super::push::{Read, push_all};
use super::reader::{Chunks, Cut, Source, measure};
use super::writer::{Prepared, Totals, Writer};

/// How many batches one run may open: results that keep getting lost have a cause that more tries do not mend.
const BATCHES: u32 = 5;
/// How long the end of a closed and drained batch is waited for.
const SETTLE: Duration = Duration::from_secs(30);

/// A run as it was asked for.
#[derive(Debug)]
pub struct Job {
    /// The server.
    pub client: Client,
    /// The input.
    pub source: Source,
    /// How it is cut.
    pub cut: Cut,
    /// How batches are opened.
    pub new_batch: NewBatch,
    /// Pushes under way at once.
    pub in_flight: usize,
    /// Shown while it runs.
    pub counts: Arc<Counts>,
    /// Cancelled by Ctrl-C.
    pub stop: CancellationToken,
    /// To be said when the progress display is gone.
    pub messages: Mutex<Vec<String>>,
}

/// What came of a complete run.
#[derive(Debug)]
pub struct Finished {
    /// Everything in the output.
    pub totals: Totals,
    /// Records that this process pulled.
    pub new_records: u64,
    /// The first failures.
    pub failures: Vec<String>,
    /// The first warnings.
    pub warnings: Vec<String>,
    /// The last batch.
    pub batch: String,
    /// Its state.
    pub state: String,
}

impl Finished {
    /// Whether the run succeeded: the batch did, and the failed share of all chunks is acceptable (contract 3.4).
    pub fn verdict(&self, acceptable_errors: f64) -> Result<(), CliError> {
        let Totals { chunks, chunks_failed, .. } = self.totals;
        let too_many = chunks_failed as f64 * 100.0 > acceptable_errors * chunks as f64;
        if too_many || matches!(self.state.as_str(), "failed" | "cancelled") {
            return Err(CliError::Failed(format!(
                "the batch failed: {chunks_failed} of {chunks} chunks, and {acceptable_errors} % are acceptable"
            )));
        }
        Ok(())
    }
}

/// The batch of a round.
#[derive(Debug, Clone)]
struct Round {
    batch: String,
    /// Whether it takes chunks.
    open: bool,
    /// Records that were finished in other batches.
    base: u64,
}

/// Runs a job to its end. `chunks` is the input, opened; `prepared` the files.
pub async fn drive(job: &Job, chunks: Chunks, prepared: Prepared) -> Result<Finished, CliError> {
    let earlier = prepared.batch().map(str::to_owned);
    let (round, writer) = match &earlier {
        Some(batch) => (job.look_up(batch).await?, prepared.start(None)?),
        None => {
            let batch = job.create().await?;
            match prepared.start(Some(&batch)) {
                Ok(writer) => (Some(Round { batch, open: true, base: 0 }), writer),
                Err(error) => {
                    job.cancel(&batch).await;
                    return Err(error);
                }
            }
        }
    };
    let before = writer.totals().records;
    job.counts.pulled.store(before, Ordering::Relaxed);
    let writer = Arc::new(Mutex::new(writer));
    let mut current = round.as_ref().map(|round| round.batch.clone()).or(earlier);
    let rounds = job.rounds(chunks, round, &writer, &mut current).await;
    let writer = Arc::into_inner(writer)
        .map(Mutex::into_inner)
        .ok_or_else(|| CliError::Failed("the output is still being written".to_owned()))?;
    let batch = current.unwrap_or_default();
    match rounds {
        Ok(true) => {
            let state = job.settle(&batch).await;
            let (failures, warnings) = writer.examples();
            let finished = Finished {
                totals: writer.totals().clone(),
                new_records: writer.totals().records - before,
                failures: failures.to_vec(),
                warnings: warnings.to_vec(),
                batch,
                state,
            };
            writer.finish()?;
            Ok(finished)
        }
        Ok(false) => Err(job.interrupted(&batch, &writer).await),
        Err(error) if is_hopeless(&error) => {
            job.cancel(&batch).await;
            job.say(format!("batch {batch} was cancelled; the output is incomplete"));
            writer.finish()?;
            Err(error)
        }
        Err(error) => {
            if writer.can_resume() {
                job.say(format!("batch {batch} was left as it is: the same command with --resume goes on"));
            } else {
                job.cancel(&batch).await;
                job.say(format!("batch {batch} was cancelled; the output is incomplete"));
            }
            Err(error)
        }
    }
}

/// Whether the same command would fail in the same way again: the input or the request must change.
fn is_hopeless(error: &CliError) -> bool {
    match error {
        CliError::Input(_) => true,
        CliError::Client(error) => {
            [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY]
                .iter()
                .any(|status| error.has_status(*status))
        }
        _ => false,
    }
}

impl Job {
    fn say(&self, text: String) {
        self.messages.lock().push(text);
    }

    async fn create(&self) -> Result<String, CliError> {
        tokio::select! {
            created = self.client.create_batch(&self.new_batch) => {
                let created = created?;
                let service = created.data.service_uri.unwrap_or_else(|| self.new_batch.service.clone());
                self.counts.note(&format!("batch {} of {service} is open", created.id));
                Ok(created.id)
            }
            () = self.stop.cancelled() => Err(CliError::Failed("stopped before a batch was opened".to_owned())),
        }
    }

    /// The batch of an interrupted run, unless it can give nothing any more.
    async fn look_up(&self, batch: &str) -> Result<Option<Round>, CliError> {
        match self.client.batch_status(batch).await {
            Ok(status) if status.batch_status == "cancelled" => Ok(None),
            Ok(status) => Ok(Some(Round { batch: batch.to_owned(), open: status.is_open(), base: 0 })),
            Err(error) if error.has_status(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Rounds until no chunk is missing. `false` when it was stopped.
    async fn rounds(
        &self,
        chunks: Chunks,
        first: Option<Round>,
        writer: &Arc<Mutex<Writer>>,
        current: &mut Option<String>,
    ) -> Result<bool, CliError> {
        let mut opened = Some(chunks);
        let mut next = first;
        let mut batches = 0;
        loop {
            let round = match next.take() {
                Some(round) => round,
                None => {
                    if self.nothing_missing(writer).await? {
                        return Ok(true);
                    }
                    batches += 1;
                    if batches > BATCHES {
                        return Err(CliError::Failed(
                            "results keep getting lost between the server and here".to_owned(),
                        ));
                    }
                    let batch = self.create().await?;
                    writer.lock().note_batch(&batch)?;
                    let base = writer.lock().totals().records;
                    Round { batch, open: true, base }
                }
            };
            *current = Some(round.batch.clone());
            let chunks = match opened.take() {
                Some(chunks) => chunks,
                None => Chunks::open(&self.source, self.cut.clone(), Arc::clone(&self.counts.bytes_read))?,
            };
            match self.round(&round, chunks, writer).await? {
                (End::Stopped, _) => return Ok(false),
                (End::Drained, Some(read)) if read.chunks == writer.lock().done().len() as u64 => {
                    return Ok(true);
                }
                (End::Drained, _) if self.source == Source::Stdin => {
                    return Err(CliError::Failed(
                        "results were lost on the way, and standard input cannot be read again".to_owned(),
                    ));
                }
                (End::Drained, _) => {
                    self.counts.note("the batch is drained and chunks are missing: another batch");
                }
            }
        }
    }

    /// Whether every chunk of the input is in the files; measures the input.
    async fn nothing_missing(&self, writer: &Arc<Mutex<Writer>>) -> Result<bool, CliError> {
        let chunks = Chunks::open(&self.source, self.cut.clone(), Arc::default())?;
        let done = writer.lock().done().clone();
        let extent = tokio::task::spawn_blocking(move || measure(chunks, |index| !done.contains(&index)))
            .await
            .map_err(|error| CliError::Failed(format!("reading failed: {error}")))??;
        self.counts.total.store(extent.records, Ordering::Relaxed);
        Ok(extent.wanted == 0)
    }

    /// Pushes what is missing to one batch, closes it, and pulls at the same time. A batch that takes no chunks is only
    /// drained.
    async fn round(
        &self,
        round: &Round,
        chunks: Chunks,
        writer: &Arc<Mutex<Writer>>,
    ) -> Result<(End, Option<Read>), CliError> {
        let stop = self.stop.child_token();
        let pushed = CancellationToken::new();
        let done = writer.lock().done().clone();
        let push = async {
            if !round.open {
                pushed.cancel();
                return Ok(None);
            }
            self.counts.pushed.store(0, Ordering::Relaxed);
            self.counts.records_read.store(0, Ordering::Relaxed);
            let wanted = move |index: u64| !done.contains(&index);
            let read =
                push_all(&self.client, &round.batch, chunks, wanted, self.in_flight, &self.counts, &stop)
                    .await?;
            if let Some(read) = read {
                self.counts.total.store(read.records, Ordering::Relaxed);
                self.close(&round.batch).await?;
                pushed.cancel();
            }
            Ok(read)
        };
        let pull = pull_all(&self.client, &round.batch, writer, &self.counts, round.base, &pushed, &stop);
        // Either side's failure stops the other; pulling first finishes the answer that is on its way.
        let (read, end) =
            tokio::join!(async { push.await.inspect_err(|_: &CliError| stop.cancel()) }, async {
                pull.await.inspect_err(|_| stop.cancel())
            });
        // The push's error came first when both fail: it stopped the pull.
        let read = read?;
        Ok((end?, read))
    }

    /// Closes a batch. One that was closed by somebody else is no trouble.
    async fn close(&self, batch: &str) -> Result<(), CliError> {
        match self.client.change_batch(batch, "closed").await {
            Err(error) if !error.has_status(StatusCode::CONFLICT) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Cancels a batch, as well as that goes: the server closes it by itself after a while.
    async fn cancel(&self, batch: &str) {
        let cancel = self.client.change_batch(batch, "cancelled");
        if !matches!(tokio::time::timeout(Duration::from_secs(5), cancel).await, Ok(Ok(_))) {
            self.say(format!("batch {batch} could not be cancelled; the server closes it after a while"));
        }
    }

    /// The final state of a batch, or the last one seen when it takes too long.
    async fn settle(&self, batch: &str) -> String {
        let mut last = "unknown".to_owned();
        let wait = async {
            let mut pause = Duration::from_millis(20);
            loop {
                if let Ok(status) = self.client.batch_status(batch).await {
                    let ended = status.is_terminal();
                    last = status.batch_status;
                    if ended {
                        return;
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        };
        // After Ctrl-C the result does not wait for the state.
        tokio::select! {
            _ = tokio::time::timeout(SETTLE, wait) => {}
            () = self.stop.cancelled() => {}
        }
        last
    }

    /// Ctrl-C came: leaves things so that a later run can go on, and says how.
    async fn interrupted(&self, batch: &str, writer: &Writer) -> CliError {
        let records = super::super::table::count(writer.totals().records);
        if writer.can_resume() {
            return CliError::Failed(format!(
                "stopped with the results of {records} records written. The same command with --resume goes on; batch \
                 {batch} goes on calculating, `millrace batch cancel {batch}` ends it"
            ));
        }
        self.cancel(batch).await;
        CliError::Failed(format!(
            "stopped with the results of {records} records written; the batch is cancelled"
        ))
    }
}
