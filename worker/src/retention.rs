//! What the reaper removes because its time is over, bit by bit: one transaction of each kind in a round.

use millrace_common::config::RetentionConfig;
use millrace_common::metrics::REMOVED;
use millrace_common::store::{Outside, RemovedDataset, SharedJobs, StoreError};

use crate::Worker;

/// Where a kind of things stands: a pass over all of them, from somewhere on, or the end of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pass<C> {
    #[default]
    Over,
    At(C),
}

impl<C: Default> Pass<C> {
    fn begin(&mut self) {
        if matches!(self, Self::Over) {
            *self = Self::At(C::default());
        }
    }
}

impl<C> From<Option<C>> for Pass<C> {
    fn from(next: Option<C>) -> Self {
        next.map_or(Self::Over, Self::At)
    }
}

/// A look at superseded batches of recipes: the last one that was looked at, and how far the next one was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Looking {
    after: i64,
    at: Option<(i64, i64)>,
}

/// The removal of hidden batches of recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removing {
    /// The one behind this is next.
    After(i64),
    /// Whether others share its jobs is looked at once more: how far.
    Confirm(i64, i64),
    /// Its recipes go, those before this one.
    Recipes(i64, i64),
}

impl Default for Removing {
    fn default() -> Self {
        Self::After(0)
    }
}

/// Where everything stands. It is forgotten when another worker reaps, which then begins anew.
#[derive(Debug, Default)]
pub struct Retention {
    batches: Pass<()>,
    superseded: Pass<Looking>,
    removing: Pass<Removing>,
    recipes: Pass<Outside>,
    jobs: Pass<Outside>,
    unused: Pass<i64>,
    datasets: Pass<()>,
    requests: Pass<()>,
}

impl Retention {
    /// Begins a pass of each kind whose last one is over.
    pub fn begin(&mut self) {
        self.batches.begin();
        self.superseded.begin();
        self.removing.begin();
        self.recipes.begin();
        self.jobs.begin();
        self.unused.begin();
        self.datasets.begin();
        self.requests.begin();
    }

    /// Takes every pass that is not over a bit further. Trouble with one kind does not keep the others from going on; the last of it
    /// is returned.
    pub async fn step(&mut self, worker: &Worker) -> Result<(), StoreError> {
        let days = &worker.config.retention;
        let mut trouble = Ok(());
        macro_rules! further {
            ($pass:ident, $wanted:expr, $step:ident) => {
                if let Pass::At(at) = self.$pass {
                    match if $wanted { $step(worker, days, at).await } else { Ok(None) } {
                        Ok(next) => self.$pass = next.into(),
                        Err(error) => {
                            self.$pass = Pass::Over;
                            trouble = Err(error);
                        }
                    }
                }
            };
        }
        further!(batches, days.batches_days > 0, ended_batches);
        further!(superseded, days.recipe_batches_days > 0, superseded_batches);
        // What was hidden goes, whatever the settings are by now.
        further!(removing, true, hidden_batches);
        further!(recipes, days.recipes_days > 0, outside_recipes);
        further!(jobs, days.recipes_days > 0, outside_jobs);
        further!(unused, days.datasets_days > 0, unused_datasets);
        further!(datasets, true, hidden_datasets);
        further!(requests, days.job_requests_days > 0, job_requests);
        trouble
    }
}

async fn ended_batches(worker: &Worker, days: &RetentionConfig, (): ()) -> Result<Option<()>, StoreError> {
    let removed = worker.store.remove_ended_batches(days.batches_days).await?;
    if removed > 0 {
        tracing::info!(batches = removed, "removed batches that ended long ago");
        REMOVED.with("batch").add(removed);
    }
    Ok((removed > 0).then_some(()))
}

/// Looks for a superseded batch that shares no job with others, and hides it.
async fn superseded_batches(
    worker: &Worker,
    days: &RetentionConfig,
    looking: Looking,
) -> Result<Option<Looking>, StoreError> {
    let (batch, recipe) = match looking.at {
        Some(at) => at,
        None => {
            let days = days.recipe_batches_days;
            let found = worker.store.superseded_recipe_batch(days, looking.after).await?;
            let Some(batch) = found else { return Ok(None) };
            (batch, 0)
        }
    };
    let at = match worker.store.jobs_shared_with(batch, recipe).await? {
        SharedJobs::NoneSoFar(last) => Some((batch, last)),
        SharedJobs::Some => None,
        SharedJobs::None => {
            if worker.store.hide_recipe_batch(batch).await? {
                tracing::info!(
                    recipe_batch.id = batch,
                    "a superseded batch of recipes is going to be removed"
                );
            }
            None
        }
    };
    Ok(Some(Looking { after: if at.is_some() { looking.after } else { batch }, at }))
}

async fn hidden_batches(
    worker: &Worker,
    _: &RetentionConfig,
    removing: Removing,
) -> Result<Option<Removing>, StoreError> {
    let store = &worker.store;
    match removing {
        Removing::After(last) => {
            Ok(store.hidden_recipe_batch(last).await?.map(|batch| Removing::Confirm(batch, 0)))
        }
        Removing::Confirm(batch, recipe) => Ok(Some(match store.jobs_shared_with(batch, recipe).await? {
            SharedJobs::NoneSoFar(last) => Removing::Confirm(batch, last),
            SharedJobs::None => Removing::Recipes(batch, i64::MAX),
            SharedJobs::Some => {
                tracing::info!(recipe_batch.id = batch, "a batch of recipes stays: others share its jobs");
                store.show_recipe_batch(batch).await?;
                Removing::After(batch)
            }
        })),
        Removing::Recipes(batch, before) => {
            let removed = store.remove_recipes_of_batch(batch, before).await?;
            REMOVED.with("recipe").add(removed.recipes);
            REMOVED.with("job").add(removed.jobs);
            if let Some(next) = removed.next {
                return Ok(Some(Removing::Recipes(batch, next)));
            }
            if store.remove_hidden_recipe_batch(batch).await? {
                tracing::info!(recipe_batch.id = batch, "removed a superseded batch of recipes");
                REMOVED.with("recipe_batch").add(1);
            }
            Ok(Some(Removing::After(batch)))
        }
    }
}

async fn outside_recipes(
    worker: &Worker,
    days: &RetentionConfig,
    after: Outside,
) -> Result<Option<Outside>, StoreError> {
    let removed = worker.store.remove_outside_recipes(days.recipes_days, after).await?;
    REMOVED.with("recipe").add(removed.recipes);
    REMOVED.with("job").add(removed.jobs);
    Ok(removed.next)
}

async fn outside_jobs(
    worker: &Worker,
    days: &RetentionConfig,
    after: Outside,
) -> Result<Option<Outside>, StoreError> {
    let removed = worker.store.remove_outside_jobs(days.recipes_days, after).await?;
    REMOVED.with("job").add(removed.jobs);
    Ok(removed.next)
}

async fn unused_datasets(
    worker: &Worker,
    days: &RetentionConfig,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    let looked = worker.store.hide_unused_datasets(days.datasets_days, after).await?;
    if looked.hidden > 0 {
        tracing::info!(datasets = looked.hidden, "unused datasets are going to be removed");
    }
    Ok(looked.next)
}

async fn hidden_datasets(worker: &Worker, _: &RetentionConfig, (): ()) -> Result<Option<()>, StoreError> {
    match worker.store.remove_hidden_dataset().await? {
        RemovedDataset::Nothing => return Ok(None),
        RemovedDataset::Whole => REMOVED.with("dataset").add(1),
        RemovedDataset::Members(_) => {}
        RemovedDataset::Shown => tracing::info!("a dataset stays: a batch refers to it"),
    }
    Ok(Some(()))
}

async fn job_requests(worker: &Worker, days: &RetentionConfig, (): ()) -> Result<Option<()>, StoreError> {
    let removed = worker.store.remove_finished_job_requests(days.job_requests_days).await?;
    REMOVED.with("job_request").add(removed);
    Ok((removed > 0).then_some(()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_pass_that_goes_on_is_not_begun_anew() {
        let mut pass: Pass<Outside> = Pass::default();
        pass.begin();
        assert_eq!(pass, Pass::At((Uuid::nil(), 0)));
        pass = Some((Uuid::max(), 7)).into();
        pass.begin();
        assert_eq!(pass, Pass::At((Uuid::max(), 7)));
        pass = None.into();
        assert_eq!(pass, Pass::Over);
    }
}
