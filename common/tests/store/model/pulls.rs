//! The ways of results to callers: pulls, pulls of one chunk, redelivery, and cursors that are acknowledged.

use std::collections::BTreeSet;

use millrace_common::store::{Acknowledged, ChunkClaim, Claim, Reading, StoredResult};

use super::oracle::{Fate, GRACE, name};
use super::world::{Fault, World, same};

/// More than any list makes.
const ALL: i64 = 1_000;
const BYTES: i64 = 1_000_000;

#[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
const GRACE_SECONDS: f64 = GRACE as f64;

impl World<'_> {
    pub(super) async fn pull(&mut self, batch: usize, max: i64, max_bytes: i64) -> Result<usize, Fault> {
        let row = &self.rows[batch];
        let claim =
            self.tenant.store().claim_results(row.id, row.day, max, max_bytes).await.map(|(claim, _)| claim);
        let claim = claim.map_err(|error| error.to_string())?;
        let now = self.now;
        let oracle = &mut self.oracle[batch];
        oracle.touched_at = now;
        let results = match claim {
            Claim::Results(results) => results,
            other => {
                same("a pull", &other, &Claim::Cancelled)?;
                same("a pull was refused", &oracle.state.as_str(), &"cancelled")?;
                return Ok(0);
            }
        };
        if oracle.state.as_str() == "cancelled" {
            return Err("a pull from a cancelled batch".to_owned());
        }
        let available = oracle.unpulled();
        let mut taken = 0;
        for result in &results {
            let body = String::from_utf8_lossy(&result.body).into_owned();
            if taken > 0 && taken >= max_bytes {
                return Err(format!("{} results after {taken} of {max_bytes} bytes", results.len()));
            }
            taken += i64::from(result.bytes);
            let unpulled = oracle.unpulled();
            let earliest = unpulled.iter().filter_map(|no| oracle.chunks[no].group()).min();
            let found = unpulled.into_iter().find(|no| oracle.chunks[no].has_body(&result.body));
            let Some(no) = found else {
                return Err(format!("{} was not to be pulled: {body}", result.chunk_id));
            };
            let chunk = oracle.chunks.get_mut(&no).ok_or("a chunk")?;
            same("the id of a result", &result.chunk_id, &name(chunk.id))?;
            same("the size of a result", &result.bytes, &chunk.output_bytes())?;
            same("the order of results", &chunk.group(), &earliest)?;
            chunk.pull(now);
        }
        // Fewer than asked for only where the next one would go beyond the bytes.
        let most = usize::try_from(max).unwrap_or(0).min(available.len());
        let left = oracle.unpulled().into_iter().map(|no| i64::from(oracle.chunks[&no].output_bytes()));
        let is_full = taken + left.max().unwrap_or(0) > max_bytes;
        if results.len() > most || (results.len() < most && (results.is_empty() || !is_full)) {
            return Err(format!("{} results of {} ({taken} bytes)", results.len(), available.len()));
        }
        let pulled = results.len();
        self.look(batch).await?;
        Ok(pulled)
    }

    /// One chunk by its id: claimed now, or handed out again.
    pub(super) async fn pull_one(&mut self, batch: usize, id: usize) -> Result<(), Fault> {
        let row = &self.rows[batch];
        let claim = self
            .tenant
            .store()
            .claim_chunk(row.id, row.day, &name(id), GRACE_SECONDS)
            .await
            .map(|(claim, _)| claim);
        let claim = claim.map_err(|error| error.to_string())?;
        let (now, oracle) = (self.now, &mut self.oracle[batch]);
        let (dropped, number) = (oracle.dropped, oracle.ids.get(&id));
        let chunk = number.and_then(|number| oracle.chunks.get_mut(number));
        let expected = match chunk {
            _ if oracle.state.as_str() == "cancelled" => Err(ChunkClaim::Cancelled),
            None => Err(ChunkClaim::UnknownChunk),
            Some(chunk) => match &chunk.fate {
                Fate::Waiting | Fate::Withdrawn => Err(ChunkClaim::Unfinished),
                _ if dropped => Err(ChunkClaim::Gone),
                Fate::Finished { pulled: Some(at), .. } if now - at > GRACE => Err(ChunkClaim::Gone),
                Fate::Finished { pulled, body, .. } => Ok((pulled.is_none(), body.clone())),
            },
        };
        match (claim, expected) {
            (ChunkClaim::Result(result), Ok((is_new, body))) => {
                same("the result of one chunk", &result.body, &body)?;
                if let (true, Some(chunk)) = (is_new, number.and_then(|number| oracle.chunks.get_mut(number)))
                {
                    chunk.pull(now);
                    oracle.touched_at = now;
                }
            }
            (found, Err(expected)) => same("a pull of one chunk", &found, &expected)?,
            (found, Ok(_)) => return Err(format!("a pull of one chunk: {found:?}")),
        }
        self.look(batch).await
    }

    /// What was pulled within the grace time, all of it, and nothing else. It changes nothing.
    pub(super) async fn redeliver(&mut self, batch: usize) -> Result<(), Fault> {
        let row = &self.rows[batch];
        let read =
            self.tenant.store().read_pulled_results(row.id, row.day, 0, ALL, BYTES, GRACE_SECONDS).await;
        let Some(results) = self.page("a redelivery", batch, read.map_err(|error| error.to_string())?)?
        else {
            return Ok(());
        };
        let found: BTreeSet<Vec<u8>> = results.iter().map(|result| result.body.clone()).collect();
        same("results of a redelivery, each once", &found.len(), &results.len())?;
        let oracle = &self.oracle[batch];
        let pulled_lately = |fate: &Fate| match fate {
            Fate::Finished { pulled: Some(at), body, .. } if self.now - at <= GRACE => Some(body.clone()),
            _ => None,
        };
        let chunks = oracle.chunks.values().filter(|_| !oracle.dropped);
        same("a redelivery", &found, &chunks.filter_map(|chunk| pulled_lately(&chunk.fate)).collect())?;
        self.look(batch).await
    }

    /// Reads everything behind the start without taking it, then acknowledges the first of it, twice.
    pub(super) async fn read_and_ack(&mut self, batch: usize, count: usize) -> Result<(), Fault> {
        let row = &self.rows[batch];
        let read = self.tenant.store().read_results(row.id, row.day, 0, ALL, BYTES).await;
        let Some(results) = self.page("a reading", batch, read.map_err(|error| error.to_string())?)? else {
            return Ok(());
        };
        let oracle = &self.oracle[batch];
        let mut numbers = Vec::new();
        for result in &results {
            let mut unpulled = oracle.unpulled().into_iter().filter(|no| !numbers.contains(no));
            let found = unpulled.find(|no| oracle.chunks[no].has_body(&result.body));
            numbers.push(found.ok_or_else(|| format!("{} was not to be read", result.chunk_id))?);
        }
        same(
            "what is read",
            &numbers.iter().copied().collect(),
            &oracle.unpulled().into_iter().collect::<BTreeSet<_>>(),
        )?;
        let groups: Vec<_> = numbers.iter().map(|no| oracle.chunks[no].group()).collect();
        same("the order of completion", &groups.is_sorted(), &true)?;
        self.look(batch).await?;

        let Some(last) = count.min(results.len()).checked_sub(1) else { return Ok(()) };
        for (number, result) in numbers.iter().zip(&results).take(last + 1) {
            let chunk = self.oracle[batch].chunks.get_mut(number).ok_or("a chunk")?;
            same("the id of a result", &result.chunk_id, &name(chunk.id))?;
            chunk.pull(self.now);
        }
        self.oracle[batch].touched_at = self.now;
        for expected in [last as u64 + 1, 0] {
            let row = &self.rows[batch];
            let freed = self.tenant.store().acknowledge_results(row.id, row.day, results[last].ordinal).await;
            let freed = freed.map_err(|error| error.to_string())?;
            same("an acknowledgement", &freed, &Acknowledged::Chunks(expected))?;
        }
        self.look(batch).await
    }

    /// The results of a reading; `None` for a cancelled batch.
    fn page(&self, what: &str, batch: usize, reading: Reading) -> Result<Option<Vec<StoredResult>>, Fault> {
        let cancelled = self.oracle[batch].state.as_str() == "cancelled";
        match reading {
            Reading::Page { results, has_more } if !cancelled => {
                same(&format!("{what} has more"), &has_more, &false)?;
                Ok(Some(results))
            }
            Reading::Cancelled if cancelled => Ok(None),
            other => Err(format!("{what}: {other:?}")),
        }
    }
}
