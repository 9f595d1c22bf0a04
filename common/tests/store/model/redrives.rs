//! Redrives: failed work of one batch, pushed anew into another by servers that may die at it.

use std::collections::BTreeSet;

use millrace_common::model::Transition;
use millrace_common::store::{
    CreateBatchError, CreateRedriveError, FailureKinds, NewRedrive, Outcome, Redrive as Row, RedrivePlan,
};
use uuid::Uuid;

use super::operations::{Content, PushOp, Way};
use super::oracle::{Batch, Fate, Judged, name};
use super::tenant::Tenant;
use super::terms::Terms;
use super::world::{Fault, World, same};

/// For how long a server has a portion. Time goes by in hundreds.
const LEASE: i64 = 250;
#[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
const LEASE_SECONDS: f64 = LEASE as f64;
/// Portions that a redrive may need at rest.
const PORTIONS: usize = 100;

/// A redrive as the oracle knows it.
#[derive(Debug, Clone)]
pub struct Redrive {
    pub batch: usize,
    pub source: usize,
    kinds: FailureKinds,
    close: bool,
    /// The chunks that had failed when it began, and how many.
    ids: Vec<usize>,
    total: i64,
    done: i64,
    next_no: i64,
    leased_until: i64,
    pub state: &'static str,
}

/// Failed work whose input is there: the number of its chunk, its id, and what is pushed.
type Input = (i64, usize, Content);

impl Batch {
    /// Failed work of these kinds, by number; what is pushed again of it, if it was kept.
    fn failed(&self, kinds: FailureKinds) -> Vec<(i64, usize, Option<Content>)> {
        let wanted = |(number, chunk): (&i64, &super::oracle::Chunk)| match &chunk.fate {
            Fate::Finished { outcome: Outcome::Failed, work, .. } if kinds.chunks => {
                Some((*number, chunk.id, *work))
            }
            Fate::Finished { outcome: Outcome::Completed, work: Some(work), .. } if kinds.records => {
                Some((*number, chunk.id, Some(*work)))
            }
            _ => None,
        };
        self.chunks.iter().filter_map(wanted).collect()
    }
}

impl World<'_> {
    /// The owner has failed work of a batch done again.
    pub(super) async fn redrive(
        &mut self,
        source: usize,
        kinds: FailureKinds,
        close: bool,
        input: i64,
        output: i64,
    ) -> Result<(), Fault> {
        let (id, day) = (self.rows[source].id, self.rows[source].day);
        let failed = self.oracle[source].failed(kinds);
        let possible: Vec<Content> = failed.iter().filter_map(|(_, _, work)| *work).collect();
        let expected = RedrivePlan {
            failed: failed.len() as i64,
            possible: possible.len() as i64,
            largest: possible.iter().map(|content| content.bytes()).max().unwrap_or(0),
            impossible: failed
                .iter()
                .filter(|(_, _, work)| work.is_none())
                .map(|(_, id, _)| name(*id))
                .collect(),
        };
        let plan =
            self.tenant.store().plan_redrive(id, day, kinds).await.map_err(|error| error.to_string())?;
        same("what a redrive could do", &plan, &expected)?;
        if plan.possible == 0 {
            return Ok(());
        }
        let new = NewRedrive {
            batch_id: Uuid::new_v4(),
            source_id: id,
            source_day: day,
            kinds,
            close,
            chunks: plan.possible,
            largest: plan.largest,
        };
        let (input_allocated, output_allocated) = (Tenant::clamp(input), Tenant::clamp(output));
        let largest = i64::from(plan.largest);
        let fits = self.fits(input_allocated + output_allocated);
        let gone = self.oracle[source].dropped;
        let created = match self.tenant.redrive(input, output, &new).await {
            Err(CreateRedriveError::Expired) => return same("a redrive of what is gone", &gone, &true),
            Err(CreateRedriveError::Batch(CreateBatchError::TenantExhausted { .. })) => {
                return same("a redrive found no room", &(gone, fits), &(false, false));
            }
            Err(CreateRedriveError::TooLarge { needed, allocated }) => {
                let found = (gone, fits, needed, allocated, needed > allocated);
                return same(
                    "a chunk too large to redrive",
                    &found,
                    &(false, true, largest, input_allocated, true),
                );
            }
            Err(error) => return Err(error.to_string()),
            Ok(created) => created,
        };
        same("a redrive began", &(gone, fits, largest <= input_allocated), &(false, true, true))?;
        self.enter(created.batch, input_allocated, output_allocated, Terms::tolerant(0, None, false))?;
        let batch = self.rows.len() - 1;
        same("the batch of a redrive", &self.rows[batch].id, &new.batch_id)?;
        let (total, leased_until) = (plan.possible, self.now);
        let ids = failed.iter().filter(|(_, _, work)| work.is_some()).map(|(_, id, _)| *id).collect();
        self.redrives.push(Redrive {
            batch,
            source,
            kinds,
            close,
            ids,
            total,
            done: 0,
            next_no: 0,
            leased_until,
            state: "running",
        });
        self.look(batch).await
    }

    /// A server takes one redrive a portion further, or dies after it was pushed or half pushed. `twice`: another one, whose lease
    /// was over, did the same portion.
    pub(super) async fn portion(&mut self, most: i64, way: Way, twice: bool) -> Result<(), Fault> {
        let store = self.tenant.store().clone();
        let claimed = store.claim_redrive(LEASE_SECONDS).await.map_err(|error| error.to_string())?;
        let free = |redrive: &Redrive| redrive.state == "running" && redrive.leased_until <= self.now;
        let free: BTreeSet<usize> = (0..self.redrives.len()).filter(|at| free(&self.redrives[*at])).collect();
        let Some(row) = claimed else { return same("redrives that nobody takes", &free, &BTreeSet::new()) };
        let of_row = |redrive: &Redrive| self.rows[redrive.batch].id == row.batch_id;
        let at = self.redrives.iter().position(of_row).ok_or("a redrive of nobody")?;
        same("a redrive was free", &free.contains(&at), &true)?;
        self.check_row(at, &row)?;
        self.redrives[at].leased_until = self.now + LEASE;

        let bytes = (row.input_allocated / 4).max(1);
        let inputs = store.redrive_inputs(&row, most, bytes).await.map_err(|error| error.to_string())?;
        let expected = self.inputs(at, most, bytes);
        let found: Result<Vec<Input>, Fault> = inputs
            .iter()
            .map(|input| {
                let content = Content(*input.input.first().ok_or("an empty input")?);
                same("the size of an input", &input.bytes, &content.bytes())?;
                Ok((input.chunk_no, super::oracle::number(&input.chunk_id), content))
            })
            .collect();
        same("the inputs of a portion", &found?, &expected)?;
        let Some((last, _, _)) = expected.last() else {
            return self.end_redrive(at, "done").await;
        };
        let (batch, next_no) = (self.redrives[at].batch, last + 1);
        let chunks: Vec<(usize, Content)> = expected.iter().map(|(_, id, content)| (*id, *content)).collect();
        let judged = self.oracle[batch].judge(&chunks);
        self.push(&[PushOp { batch, chunks, way }]).await?;
        match judged {
            Judged::Admitted { publish } if way == Way::Confirmed || publish.is_empty() => {
                let count = expected.len() as i64;
                for _ in 0..=usize::from(twice) {
                    store.advance_redrive(&row, next_no, count).await.map_err(|error| error.to_string())?;
                }
                let redrive = &mut self.redrives[at];
                redrive.done += count;
                redrive.next_no = next_no;
                redrive.leased_until = self.now;
            }
            // The server died, or waits for its confirms: the lease goes on.
            Judged::Admitted { .. } => {}
            Judged::Refused(millrace_common::store::Admission::InputFull { .. }) => {
                store.postpone_redrive(row.batch_id, 0.0).await.map_err(|error| error.to_string())?;
                self.redrives[at].leased_until = self.now;
            }
            Judged::Refused(_) => self.end_redrive(at, "stopped").await?,
        }
        self.check_links(at).await
    }

    async fn end_redrive(&mut self, at: usize, state: &'static str) -> Result<(), Fault> {
        let Redrive { batch, close, .. } = self.redrives[at];
        if close {
            self.change(batch, Transition::Close).await?;
        }
        let ended = self.tenant.store().end_redrive(self.rows[batch].id, state == "done", None).await;
        ended.map_err(|error| error.to_string())?;
        self.redrives[at].state = state;
        self.check_links(at).await
    }

    /// What is left of a redrive: at most so many, and beyond the first no more than these bytes.
    fn inputs(&self, at: usize, most: i64, bytes: i64) -> Vec<Input> {
        let Redrive { source, kinds, next_no, .. } = self.redrives[at];
        let failed = self.oracle[source].failed(kinds).into_iter();
        let left = failed.filter(|(number, _, _)| *number >= next_no);
        let kept = left.filter_map(|(number, id, work)| Some((number, id, work?)));
        let mut before = 0;
        let mut inputs = Vec::new();
        for input in kept.take(usize::try_from(most).unwrap()) {
            let size = i64::from(input.2.bytes());
            if before == 0 || before + size <= bytes {
                inputs.push(input);
            }
            before += size;
        }
        inputs
    }

    fn check_row(&self, at: usize, row: &Row) -> Result<(), Fault> {
        let redrive = &self.redrives[at];
        let found = (row.kind.as_str(), row.state.as_str(), row.close, row.source_id);
        let source = self.rows[redrive.source].id;
        same("a redrive", &found, &(redrive.kinds.as_str(), redrive.state, redrive.close, source))?;
        let expected =
            (redrive.total, redrive.done, redrive.next_no, self.oracle[redrive.batch].input_allocated);
        same(
            "the progress of a redrive",
            &(row.chunks_total, row.chunks_done, row.next_no, row.input_allocated),
            &expected,
        )
    }

    /// What both batches know of each other.
    pub(super) async fn check_links(&self, at: usize) -> Result<(), Fault> {
        let Redrive { batch, source, .. } = self.redrives[at];
        let store = self.tenant.store();
        let links = store.redrive_links(self.rows[batch].id).await.map_err(|error| error.to_string())?;
        match links.own {
            Some(own) => self.check_row(at, &own)?,
            None => same("the batch knows nothing of its redrive", &self.oracle[batch].removed, &true)?,
        }
        let links = store.redrive_links(self.rows[source].id).await.map_err(|error| error.to_string())?;
        let expected: BTreeSet<Uuid> = self
            .redrives
            .iter()
            .filter(|redrive| redrive.source == source && !self.oracle[redrive.batch].removed)
            .map(|redrive| self.rows[redrive.batch].id)
            .collect();
        same("redrives of a batch", &links.redriven_by.into_iter().collect(), &expected)
    }

    /// Every redrive comes to its end, while its chunks are evaluated.
    pub(super) async fn end_redrives(&mut self) -> Result<(), Fault> {
        for _ in 0..PORTIONS {
            self.deliver_all().await?;
            if self.redrives.iter().all(|redrive| redrive.state != "running") {
                return Ok(());
            }
            self.pass(LEASE + 50).await?;
            self.portion(10, Way::Confirmed, false).await?;
        }
        Err(format!("redrives have no end: {:?}", self.redrives))
    }

    /// A redrive that says that it is done has left nothing out of what had failed when it began.
    pub(super) fn settle_redrives(&self) -> Result<(), Fault> {
        for redrive in self.redrives.iter().filter(|redrive| redrive.state == "done") {
            let batch = &self.oracle[redrive.batch];
            let left_out = redrive.ids.iter().find(|id| !batch.ids.contains_key(id) && !batch.dropped);
            if left_out.is_some() || redrive.done < redrive.total {
                return Err(format!("{left_out:?} was left out of {redrive:?}"));
            }
        }
        Ok(())
    }
}
