//! Pushes: admitted in groups, published one by one, and answered at once, late or never.

use std::collections::BTreeMap;

use millrace_common::store::{Admission, Batch as Row, Push, PushedChunk, QueuedPush};

use super::operations::{Content, PushOp, Way};
use super::oracle::{Judged, name, number};
use super::world::{Fault, Message, World, same};

/// A push whose API has not come round to the answer yet.
pub(super) struct SlowPush {
    batch: usize,
    pushed: Vec<usize>,
    published: Vec<(usize, i64)>,
}

/// Names of chunks have no order.
fn in_order(mut admission: Admission) -> Admission {
    if let Admission::Conflict { chunk_ids } = &mut admission {
        chunk_ids.sort_unstable();
    }
    admission
}

pub fn pushed(row: &Row, chunks: &[(usize, Content)]) -> Push {
    let chunk = |(id, content): &(usize, Content)| PushedChunk {
        chunk_id: name(*id),
        digest: content.digest(*id),
        records: content.records(),
        bytes: content.bytes(),
    };
    Push { batch_id: row.id, day: row.day, chunks: chunks.iter().map(chunk).collect() }
}

pub fn queued(row: &Row, published: &[(usize, i64)]) -> QueuedPush {
    let chunks = published.iter().map(|(id, number)| (name(*id), *number)).collect();
    QueuedPush { batch_id: row.id, day: row.day, chunks }
}

impl World<'_> {
    pub(super) async fn push(&mut self, pushes: &[PushOp]) -> Result<(), Fault> {
        let batches = self.rows.len();
        let there = |push: &&PushOp| !self.oracle[push.batch % batches].removed;
        let pushes: Vec<&PushOp> = pushes.iter().filter(there).collect();
        let group: Vec<Push> =
            pushes.iter().map(|push| pushed(&self.rows[push.batch % batches], &push.chunks)).collect();
        let answers = self.tenant.store().admit(&group).await.map_err(|error| error.to_string())?;
        same("answers to a group", &answers.len(), &pushes.len())?;
        // All are admitted before any of them is published.
        let mut admitted = Vec::new();
        for (push, answer) in pushes.iter().zip(answers) {
            let batch = push.batch % batches;
            let judged = self.oracle[batch].judge(&push.chunks);
            let publish = match (judged, answer) {
                (Judged::Refused(expected), found) => {
                    same("a push", &in_order(found), &in_order(expected))?;
                    continue;
                }
                (Judged::Admitted { publish }, Admission::Admitted { lane_id, epoch, publish: found }) => {
                    let mut publish = publish;
                    publish.sort_unstable();
                    let row = &self.rows[batch];
                    same("the lease", &(Some(lane_id), Some(epoch)), &(row.lane_id, row.lane_epoch))?;
                    let mut ids: Vec<usize> = found.iter().map(|(id, _)| number(id)).collect();
                    ids.sort_unstable();
                    same("what is published", &ids, &publish)?;
                    found
                }
                (Judged::Admitted { .. }, refused) => return Err(format!("a push was refused: {refused:?}")),
            };
            let published: Vec<(usize, i64)> = publish.iter().map(|(id, no)| (number(id), *no)).collect();
            let numbers: BTreeMap<usize, i64> = published.iter().copied().collect();
            for (id, number) in &published {
                let known = self.oracle[batch].ids.get(id).copied();
                let used = self.oracle[batch].chunks.contains_key(number);
                same("the number of a chunk", number, &known.unwrap_or(*number))?;
                same("a new number was used before", &(known.is_none() && used), &false)?;
            }
            self.oracle[batch].admit(&push.chunks, &numbers, self.now);
            admitted.push((batch, push, published));
        }
        for (batch, push, published) in admitted {
            self.publish(batch, push, published).await?;
        }
        self.look_at(pushes.iter().map(|push| push.batch % batches)).await
    }

    /// What becomes of an admitted push.
    async fn publish(
        &mut self,
        batch: usize,
        push: &PushOp,
        published: Vec<(usize, i64)>,
    ) -> Result<(), Fault> {
        let content: BTreeMap<usize, Content> = push.chunks.iter().copied().collect();
        let reaches = |at: usize| match push.way {
            Way::Refused => false,
            Way::HalfPublished => at.is_multiple_of(2),
            Way::Confirmed | Way::ConfirmLost | Way::Slow => true,
        };
        for (at, (id, number)) in published.iter().enumerate() {
            if reaches(at) {
                self.lanes[batch].push(Message {
                    batch,
                    id: *id,
                    number: *number,
                    content: content[id],
                    redelivered: false,
                    given_up: false,
                });
            }
        }
        let pushed = push.chunks.iter().map(|(id, _)| *id).collect();
        let slow = SlowPush { batch, pushed, published };
        // With nothing to publish, the caller hears of success at once.
        if slow.published.is_empty() || push.way == Way::Confirmed {
            self.mark(slow).await?;
        } else if push.way == Way::Slow {
            self.slow.push(slow);
        }
        Ok(())
    }

    async fn mark(&mut self, push: SlowPush) -> Result<(), Fault> {
        let SlowPush { batch, pushed, published } = push;
        if !published.is_empty() {
            let mark = [queued(&self.rows[batch], &published)];
            let mut gone = self
                .tenant
                .store()
                .mark_queued(&mark)
                .await
                .map_err(|error| error.to_string())?
                .remove(0)
                .withdrawn;
            gone.sort_unstable();
            let now = self.tick();
            let batch = &mut self.oracle[batch];
            let gone_by_now = if batch.expired {
                published.iter().map(|(id, _)| *id).collect()
            } else {
                batch.mark_queued(&published, now)
            };
            let mut expected: Vec<_> = gone_by_now.into_iter().map(name).collect();
            expected.sort_unstable();
            same("chunks that were withdrawn before their confirm", &gone, &expected)?;
            if !gone.is_empty() {
                return Ok(());
            }
        }
        self.oracle[batch].answer(pushed.into_iter());
        Ok(())
    }

    pub(super) async fn answer(&mut self, pick: usize) -> Result<(), Fault> {
        let Some(at) = pick.checked_rem(self.slow.len()) else { return Ok(()) };
        let push = self.slow.remove(at);
        let batch = push.batch;
        self.mark(push).await?;
        self.look(batch).await
    }
}
