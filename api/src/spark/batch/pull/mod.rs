//! `GET …/batch/{id}/chunkresults` (contract 1.3): claim, then stream the stored bytes; and the ways to get results again.

mod page;
mod query;
pub(super) mod results;

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use millrace_common::model::{BatchState, Caller};
use millrace_common::store::{BatchView, ChunkClaim, Claim, Reading, StoredResult};
use uuid::Uuid;

use super::access::{BatchId, glance, not_found, note, visible_view};
use super::cursor::{Cursor, Purpose};
use super::to_the_end;
use super::wire::{StatusBody, StatusFields};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::memory::MemoryPermit;
use crate::middleware;
use crate::openapi::schemas::Page as PageSchema;
use crate::state::AppState;

use page::{Forward, Page};
use query::PullQuery;

/// So many full pages may be in memory at once.
pub(super) const PAGES_AT_ONCE: usize = 2;
/// The smallest page worth claiming.
const SMALLEST_PAGE: usize = 256 * 1024;
/// How long a pull waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(2);
/// A pull that finds nothing is written down unless the batch was touched within this time.
const LONGEST_MOMENT: Duration = Duration::from_secs(1);

/// Hands out finished chunks, in the order of their completion; with `redeliver` those that were pulled lately, again.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/chunkresults", tag = "Batches", operation_id = "pullResults",
    params(("id" = String, Path, description = "The batch."), ("max" = Option<i64>, Query, minimum = 1, description = "At most so many chunks, 50 when absent, never more than 100."), ("max_chunks" = Option<i64>, Query, minimum = 1, description = "Another name of `max`, which wins."), ("max_bytes" = Option<i64>, Query, minimum = 1, description = "At most so many bytes of results, uncompressed; one chunk comes in any case."), ("redeliver" = Option<bool>, Query, description = "What was pulled lately, once more."), ("after" = Option<String>, Query, description = "With `redeliver`: the cursor to go on from.")),
    responses((status = 200, description = "Finished chunks, which are gone from the output buffer now; none is fine. The status after the pull.", body = PageSchema), (status = 409, description = "The batch is cancelled: nothing of it is handed out.")))]
pub(super) async fn pull(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let received_at = middleware::current().received_at;
    let query = PullQuery::read(&query)?;
    let page = if query.redeliver {
        redeliver(&state, &caller, id, &query, received_at).await?
    } else {
        to_the_end(claim(state, caller, id, query, received_at)).await?
    };
    page.into_response().await
}

/// Hands out one chunk: claimed now, or once more when it was pulled within the grace time.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/chunkresults/{chunk_id}", tag = "Batches", operation_id = "pullChunk",
    params(("id" = String, Path, description = "The batch.")), responses(
        (status = 200, description = "The chunk, and the status after it was taken.", body = PageSchema), (status = 409, description = "The batch is cancelled: nothing of it is handed out."),
        (status = 404, description = "There is no such batch or chunk, the chunk is not finished, or it was pulled too long ago."),
    ))]
pub(super) async fn chunk(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id, chunk_id)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let received_at = middleware::current().received_at;
    let id = BatchId::read(&id)?.0;
    to_the_end(claim_chunk(state, caller, id, chunk_id, received_at)).await?.into_response().await
}

async fn claim(
    state: AppState,
    caller: Caller,
    id: Uuid,
    query: PullQuery,
    received_at: DateTime<Utc>,
) -> Result<Page, ApiError> {
    let before = glance(&state, &caller, id).await?;
    if before.batch.state == BatchState::Cancelled {
        return Err(cancelled());
    }
    if need_not_claim(&before, state.config.clocks.inactivity_seconds) {
        let permit = state.batches.pulls.reserve(0, MEMORY_WAIT).await.ok_or_else(busy)?;
        let status = status(&state, &before, received_at);
        return Ok(Page { results: Vec::new(), status, forward: None, permit });
    }
    let available = usize::try_from(before.counters.output_bytes).unwrap_or(0);
    let (mut permit, max_bytes) = reserve(&state, available, query.max_bytes).await?;
    let (claim, after) = state.store.claim_results(id, before.batch.day, query.max_chunks, max_bytes).await?;
    let results = match claim {
        Claim::Results(results) => results,
        Claim::Cancelled => return Err(cancelled()),
        Claim::NotFound => return Err(not_found(id)),
    };
    permit.shrink_to(results.iter().map(|result| result.body.len()).sum());
    Ok(claimed(&state, results, &after.unwrap_or(before), received_at, permit))
}

/// The answer to a claim; `view` is the batch after it.
fn claimed(
    state: &AppState,
    results: Vec<StoredResult>,
    view: &BatchView,
    received_at: DateTime<Utc>,
    permit: MemoryPermit,
) -> Page {
    note(state, view);
    Page { results, status: status(state, view, received_at), forward: None, permit }
}

/// Whether a pull can do without the claim, which writes: nothing is there to be claimed, and the batch was touched a moment
/// ago. A pull is activity (contract 3.3), also one that finds nothing; but a caller that asks again and again need not have
/// each of its calls written down.
fn need_not_claim(view: &BatchView, inactivity_seconds: u64) -> bool {
    let moment = Duration::from_secs(inactivity_seconds).div_f64(10.0).min(LONGEST_MOMENT);
    let since = (view.now - view.counters.touched_at).to_std();
    // A touch that is later than the view is as fresh as can be.
    view.available().0 == 0 && since.map_or(true, |since| since < moment)
}

async fn redeliver(
    state: &AppState,
    caller: &Caller,
    id: Uuid,
    query: &PullQuery,
    received_at: DateTime<Utc>,
) -> Result<Page, ApiError> {
    let view = visible_view(state, caller, id).await?;
    let [after] = Cursor::read_or_start(Purpose::Redelivery, id, query.after.as_deref())?.places();
    let (mut permit, max_bytes) = reserve(state, usize::MAX, query.max_bytes).await?;
    let day = view.batch.day;
    let reading =
        state.store.read_pulled_results(id, day, after, query.max_chunks, max_bytes, grace(state)).await?;
    let (results, has_more) = page_of(reading, id)?;
    permit.shrink_to(results.iter().map(|result| result.body.len()).sum());
    let last = results.last().map_or(after, |result| result.ordinal);
    let next_cursor = Cursor::new(Purpose::Redelivery, [last]).write(id);
    let status = status(state, &view, received_at);
    Ok(Page { results, status, forward: Some(Forward { next_cursor, has_more }), permit })
}

async fn claim_chunk(
    state: AppState,
    caller: Caller,
    id: Uuid,
    chunk_id: String,
    received_at: DateTime<Utc>,
) -> Result<Page, ApiError> {
    let before = glance(&state, &caller, id).await?;
    let (mut permit, _) = reserve(&state, usize::MAX, None).await?;
    let (claim, after) = if chunk_id.contains('\0') {
        // The database cannot hold it, so no chunk has it.
        (ChunkClaim::UnknownChunk, None)
    } else {
        state.store.claim_chunk(id, before.batch.day, &chunk_id, grace(&state)).await?
    };
    let result = match claim {
        ChunkClaim::Result(result) => result,
        ChunkClaim::NotFound => return Err(not_found(id)),
        ChunkClaim::Cancelled => return Err(cancelled()),
        ChunkClaim::UnknownChunk => {
            return Err(ApiError::not_found("CHUNK_NOT_FOUND", "the batch has no such chunk"));
        }
        ChunkClaim::Unfinished => {
            return Err(ApiError::not_found("CHUNK_NOT_FINISHED", "the chunk has no result yet; ask again"));
        }
        ChunkClaim::Gone => {
            let message = "the chunk was pulled too long ago to be handed out again";
            return Err(ApiError::not_found("CHUNK_RESULT_EXPIRED", message));
        }
    };
    permit.shrink_to(result.body.len());
    Ok(claimed(&state, vec![result], &after.unwrap_or(before), received_at, permit))
}

/// For how long a pulled result is handed out again, in seconds.
fn grace(state: &AppState) -> f64 {
    Duration::from_secs(state.config.clocks.redeliver_seconds).as_secs_f64()
}

fn status(state: &AppState, view: &BatchView, received_at: DateTime<Utc>) -> StatusBody {
    StatusBody { id: view.batch.id, status: StatusFields::new(view, received_at, &state.config.clocks) }
}

/// 409: nothing of a cancelled batch is handed out.
pub(super) fn cancelled() -> ApiError {
    ApiError::conflict("BATCH_CANCELLED", "the batch is cancelled; nothing of it can be pulled")
}

/// The results of a reading, and whether there are more.
pub(super) fn page_of(reading: Reading, id: Uuid) -> Result<(Vec<StoredResult>, bool), ApiError> {
    match reading {
        Reading::Page { results, has_more } => Ok((results, has_more)),
        Reading::Cancelled => Err(cancelled()),
        Reading::NotFound => Err(not_found(id)),
    }
}

/// Memory for a page, and how many bytes of results it may have: `limits.pull_bytes`, or less when the caller wants less, when
/// there is less to pull, or when other pulls hold most of the budget.
pub(super) async fn reserve(
    state: &AppState,
    available: usize,
    max_bytes: Option<usize>,
) -> Result<(MemoryPermit, i64), ApiError> {
    let budget = &state.batches.pulls;
    let most = state.config.limits.pull_bytes.max(SMALLEST_PAGE);
    let wanted = available.min(max_bytes.unwrap_or(usize::MAX)).clamp(SMALLEST_PAGE, most);
    let page = wanted.min(budget.free_for_large()).max(SMALLEST_PAGE);
    let permit = budget.reserve(page, MEMORY_WAIT).await.ok_or_else(busy)?;
    let bytes = permit.bytes().min(max_bytes.unwrap_or(usize::MAX));
    Ok((permit, i64::try_from(bytes).unwrap_or(i64::MAX)))
}

fn busy() -> ApiError {
    ApiError::too_many("SERVER_BUSY", "too many results are on their way; try again", None, 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::wire::tests::view;
    use super::*;

    #[test]
    fn a_pull_that_finds_nothing_is_written_down_now_and_then() {
        let mut view = view();
        let seconds = chrono::TimeDelta::milliseconds;
        view.counters.touched_at = view.now - seconds(500);
        assert!(!need_not_claim(&view, 1_800), "there is something to claim");
        view.counters.chunks_pulled += view.available().0;
        assert!(need_not_claim(&view, 1_800));
        assert!(!need_not_claim(&view, 1), "half of the time after which the batch is closed");
        view.counters.touched_at = view.now - seconds(1_500);
        assert!(!need_not_claim(&view, 1_800));
        view.counters.touched_at = view.now + seconds(5);
        assert!(need_not_claim(&view, 1_800));
        // Counters that drifted: the claim finds out.
        view.counters.chunks_pulled += 1;
        assert!(!need_not_claim(&view, 1_800));
    }
}
