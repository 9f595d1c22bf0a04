//! Recipes of a large batch whose jobs are evaluated before there are rows of them: each row is then written once, in its last
//! state, and there is neither a bundle nor a message. While a page is being stored, the next one is read and evaluated.
//!
//! The first page of whoever begins, or goes on with what another worker left, is made without: should a job end workers, they
//! get past it, and its bundle finds out which one it is. So small batches go the way over their lane, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_calc::program::Volatile;
use millrace_calc::service::Scratch;
use millrace_common::failpoint;
use millrace_common::metrics::EVALUATION_SECONDS;
use millrace_common::store::StoreError;
use millrace_common::store::recipes::{AheadPage, Foreseen, ReadyPage};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::WorkloadTerms;
use super::creation::PAGE;
use super::evaluate::name;
use super::foresee::{Bench, Known, follow};
use super::publish::publish;
use crate::Worker;
use crate::fleet::excel_serial;

/// Pages whose evaluation takes longer go the way over the lane, where all workers share them.
const SLOW: Duration = Duration::from_millis(100);

/// How far it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Something else is to be done first, or somebody else is at it; or all recipes exist.
    Ended,
    /// It is of no use for this batch.
    Useless,
}

/// Goes on with the creation of a batch where this worker has just come to.
///
/// # Errors
///
/// See [`StoreError`]; the next page can be made as ever.
pub async fn create(
    worker: &Arc<Worker>,
    batch_id: i64,
    cursor: i64,
    shutdown: &CancellationToken,
) -> Result<Ahead, StoreError> {
    let mut prepared = prepare(worker, batch_id, cursor).await?;
    loop {
        let page = match prepared {
            Ok(page) => page,
            Err(ahead) => return Ok(ahead),
        };
        let following = async {
            match page.next() {
                Some(next) if !shutdown.is_cancelled() => prepare(worker, batch_id, next).await,
                _ => Ok(Err(Ahead::Ended)),
            }
        };
        let (made, following) =
            tokio::join!(worker.store.create_ahead(worker.counter_slot, &page), following);
        let Some(step) = made? else { return Ok(Ahead::Ended) };
        publish(worker, &step.settled.bundles, None).await;
        if step.next.is_none() {
            tracing::info!(batch.id = batch_id, "all recipes of the batch exist");
        }
        prepared = following?;
    }
}

/// Reads and evaluates a page, or tells why not.
async fn prepare(
    worker: &Arc<Worker>,
    batch_id: i64,
    cursor: i64,
) -> Result<Result<ReadyPage, Ahead>, StoreError> {
    let Some(page) = worker.store.read_ahead(batch_id, cursor, PAGE).await? else {
        return Ok(Err(Ahead::Useless));
    };
    if page.workload.paused || others_wait(worker, page.workload.id) {
        return Ok(Err(Ahead::Ended));
    }
    // What ran beside a chunk that ends workers must not be this.
    let Some(presence) = worker.quarantine.try_together() else { return Ok(Err(Ahead::Ended)) };
    let (looking, runtime) = (Arc::clone(worker), Handle::current());
    let looked = tokio::task::spawn_blocking(move || {
        let foreseen = look(&looking, &page, &runtime);
        drop(presence);
        (page, foreseen)
    });
    let Ok((page, Some(foreseen))) = looked.await else { return Ok(Err(Ahead::Useless)) };
    Ok(Ok(worker.store.settle_ahead(page, foreseen, &name(worker)).await?))
}

/// Whether work of others waits for a thread here: then these have the processors.
fn others_wait(worker: &Worker, workload: Uuid) -> bool {
    worker.dispatcher.load().iter().any(|(id, load)| *id != workload && load.waiting > 0)
}

/// What the jobs of a page give; none when it gives nothing, or too slowly.
fn look(worker: &Worker, page: &AheadPage, runtime: &Handle) -> Option<Vec<Foreseen>> {
    failpoint::reach("creation.ahead", "");
    let workload = page.workload;
    let volatile = Volatile { now: excel_serial(workload.created_at), seed: workload.seed.cast_unsigned() };
    let terms = WorkloadTerms { id: workload.id, volatile };
    let mut scratch = Scratch::default();
    let mut bench = Bench { worker, terms: &terms, scratch: &mut scratch, runtime };
    let revision = page.revision();
    let known: Vec<Known<'_>> = page
        .inputs()
        .map(|(recipe_id, input)| Known { recipe_id, input, outputs: std::collections::BTreeMap::new() })
        .collect();
    let began = Instant::now();
    let nodes = revision.graph.nodes().map(|(node, _)| node);
    let foreseen = follow(&mut bench, revision, nodes, std::collections::BTreeSet::new(), known);
    EVALUATION_SECONDS.record(began.elapsed().as_secs_f64());
    (!foreseen.is_empty() && began.elapsed() < SLOW).then_some(foreseen)
}
