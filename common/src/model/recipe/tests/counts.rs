//! Counters that are kept by changes are those that counting gives.

use proptest::prelude::*;

use crate::model::recipe::{
    BatchCounts, Delta, Durations, JobCounts, JobStatus, NodeMetrics, RecipeCounts, Took, side_by_side,
};

/// Recipes of two batches that share jobs and sub-recipes, with the counters that are kept of them.
#[derive(Default)]
struct World {
    jobs: Vec<(JobStatus, Took)>,
    recipes: Vec<Recipe>,
    batches: [BatchCounts; 2],
    nodes: [NodeMetrics; 2],
}

#[derive(Default, Clone)]
struct Recipe {
    batch: Option<usize>,
    jobs: Vec<usize>,
    subs: Vec<usize>,
    parents: Vec<usize>,
    completed: bool,
    counts: RecipeCounts,
}

const TOOK: [Took; 3] = [
    Took { job: Some(1_500), seed: Some(700) },
    Took { job: Some(0), seed: Some(0) },
    Took { job: Some(9_000), seed: None },
];

impl World {
    /// Adds a change to a recipe and to everything above.
    fn add(&mut self, recipe: usize, delta: Delta) {
        self.recipes[recipe].counts += delta;
        if let Some(batch) = self.recipes[recipe].batch {
            self.batches[batch] += BatchCounts::recipe_changed(&delta);
        }
        for parent in self.recipes[recipe].parents.clone() {
            self.add(parent, delta);
        }
    }

    fn create(&mut self, batch: usize) {
        self.recipes.push(Recipe { batch: Some(batch), ..Recipe::default() });
        self.batches[batch] += BatchCounts::recipe_created(&RecipeCounts::default(), false);
    }

    fn link_job(&mut self, recipe: usize, job: usize) {
        if self.recipes[recipe].jobs.contains(&job) {
            return;
        }
        let (status, took) = self.jobs[job];
        self.recipes[recipe].jobs.push(job);
        self.add(recipe, RecipeCounts::job_linked(status));
        if let Some(batch) = self.recipes[recipe].batch {
            self.nodes[batch] += NodeMetrics::job_linked(status, took);
        }
    }

    fn move_job(&mut self, job: usize, to: JobStatus, took: Took) {
        let from = self.jobs[job].0;
        if from == JobStatus::Completed || from == to {
            return;
        }
        self.jobs[job] = (to, took);
        for recipe in 0..self.recipes.len() {
            if self.recipes[recipe].jobs.contains(&job) {
                self.add(recipe, RecipeCounts::job_moved(from, to));
                if let Some(batch) = self.recipes[recipe].batch {
                    self.nodes[batch] += NodeMetrics::job_moved(from, to, took);
                }
            }
        }
    }

    fn link_sub(&mut self, parent: usize, sub: usize) {
        // Sub-recipes are younger than what they are in; top-level recipes are in nothing.
        if sub <= parent || self.recipes[sub].batch.is_some() || self.recipes[parent].subs.contains(&sub) {
            return;
        }
        self.recipes[parent].subs.push(sub);
        self.recipes[sub].parents.push(parent);
        let delta = RecipeCounts::sub_recipe_linked(&self.recipes[sub].counts, self.recipes[sub].completed);
        self.add(parent, delta);
    }

    fn complete(&mut self, recipe: usize) {
        if std::mem::replace(&mut self.recipes[recipe].completed, true) {
            return;
        }
        if let Some(batch) = self.recipes[recipe].batch {
            self.batches[batch] += BatchCounts::recipe_completed();
        }
        for parent in self.recipes[recipe].parents.clone() {
            self.add(parent, RecipeCounts::sub_recipe_completed());
        }
    }

    /// The formulas of contract 4.8, by counting.
    fn count(&self, recipe: usize) -> RecipeCounts {
        let recipe = &self.recipes[recipe];
        let mut counts = RecipeCounts::default();
        for job in &recipe.jobs {
            let status = self.jobs[*job].0;
            counts.jobs += JobCounts::one(status);
        }
        for sub in &recipe.subs {
            let inner = self.count(*sub);
            counts.jobs += inner.jobs;
            counts.sub_recipes_total += 1 + inner.sub_recipes_total;
            counts.sub_recipes_completed +=
                i64::from(self.recipes[*sub].completed) + inner.sub_recipes_completed;
        }
        counts
    }

    fn happen(&mut self, (what, one, other): (u8, usize, usize)) {
        let recipe = |of: usize, world: &Self| of.checked_rem(world.recipes.len());
        let (Some(first), Some(second)) = (recipe(one, self), recipe(other, self)) else {
            self.create(one % 2);
            return;
        };
        let status = JobStatus::ALL[other % 7];
        match what {
            0 => self.create(one % 2),
            1 | 2 => {
                self.jobs.push((status, TOOK[one % 3]));
                self.link_job(first, self.jobs.len() - 1);
            }
            3 if !self.jobs.is_empty() => self.link_job(first, other % self.jobs.len()),
            4 => {
                self.recipes.push(Recipe::default());
                self.link_sub(first, self.recipes.len() - 1);
            }
            5 => self.link_sub(first, second),
            6 => self.complete(first),
            _ if !self.jobs.is_empty() => self.move_job(one % self.jobs.len(), status, TOOK[other % 3]),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn kept_counters_are_exact(steps in prop::collection::vec((0..10_u8, any::<usize>(), any::<usize>()), 0..60)) {
        let mut world = World::default();
        for step in steps { world.happen(step); }
        for at in 0..world.recipes.len() { prop_assert_eq!(world.recipes[at].counts, world.count(at)); }
        for batch in 0..2 {
            let mut expected = BatchCounts::default();
            let (mut job, mut seed, mut jobs) = (vec![], vec![], JobCounts::default());
            for (at, recipe) in world.recipes.iter().enumerate().filter(|(_, recipe)| recipe.batch == Some(batch)) {
                let counts = world.count(at);
                expected.jobs += counts.jobs;
                expected.recipes_total += 1 + counts.sub_recipes_total;
                expected.recipes_completed += i64::from(recipe.completed) + counts.sub_recipes_completed;
                for (status, took) in recipe.jobs.iter().map(|job| world.jobs[*job]) {
                    jobs += JobCounts::one(status);
                    if status == JobStatus::Completed { job.extend(took.job); seed.extend(took.seed); }
                }
            }
            prop_assert_eq!(world.batches[batch], expected);
            prop_assert!(expected.jobs.total() >= jobs.total(), "jobs of sub-recipes are extra");
            let node = world.nodes[batch];
            prop_assert_eq!(node.jobs, jobs);
            for (kept, counted) in [(node.job, job), (node.seed, seed)] {
                let count = i64::try_from(counted.len()).unwrap();
                prop_assert_eq!((kept.count, kept.sum), (count, counted.iter().sum::<i64>()));
                prop_assert_eq!(kept.shortest(), counted.iter().copied().min());
                prop_assert_eq!(kept.longest(), counted.iter().copied().max());
                if let Some(mean) = kept.mean() { prop_assert!(kept.min <= mean && mean <= kept.max); }
                prop_assert_eq!(kept.mean().is_some(), count > 0);
            }
        }
    }
}

#[test]
fn totals_are_the_sum_of_all_statuses() {
    let mut counts = JobCounts::default();
    for (times, status) in (1..).zip(JobStatus::ALL) {
        (0..times).for_each(|_| counts += JobCounts::one(status));
        assert_eq!(counts.of(status), times);
    }
    assert_eq!(counts.total(), 28);
    assert_eq!(JobCounts::moved(JobStatus::Queued, JobStatus::Running).total(), 0);
    assert_eq!(JobCounts::moved(JobStatus::Queued, JobStatus::Queued), JobCounts::default(), "tried again");
    for status in JobStatus::ALL {
        let failed = matches!(status, JobStatus::Failed | JobStatus::Canceled);
        assert_eq!(JobCounts::one(status).has_failures(), failed, "{status}");
    }
}

#[test]
fn means_are_rounded_half_up() {
    let mut durations = Durations::one(1);
    assert_eq!(durations.mean(), Some(1));
    durations += Durations::one(2);
    assert_eq!(durations.mean(), Some(2));
    durations += Durations::one(-5);
    assert_eq!((durations.mean(), durations.shortest(), durations.longest()), (Some(1), Some(0), Some(2)));
    assert_eq!(Durations::default().mean(), None);
}

#[test]
fn chains_are_compared_node_by_node() {
    let one = NodeMetrics::job_linked(JobStatus::Failed, Took::default());
    let none = NodeMetrics::default();
    let batch = |nodes: &[(&str, NodeMetrics)]| {
        nodes.iter().map(|(name, node)| ((*name).to_owned(), *node)).collect()
    };
    let batches = [batch(&[("a", one), ("b", none)]), batch(&[("b", one), ("c", one)])];
    let expected =
        [("a", vec![Some(one), None]), ("b", vec![Some(none), Some(one)]), ("c", vec![None, Some(one)])];
    assert_eq!(side_by_side(&batches), expected.into());
    assert!(side_by_side(&[]).is_empty());
}
