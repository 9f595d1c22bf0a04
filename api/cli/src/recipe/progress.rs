//! How far a batch of recipes is: read from its details, and said in words.

use serde_json::{Map, Value};

use super::super::table::count;
use super::cells::number;

/// What a batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its recipes are being made; those that exist run.
    Creating,
    /// All recipes exist, and jobs are left to do.
    Running,
    /// It is paused: nothing of it is evaluated.
    Paused,
    /// Every recipe is completed.
    Completed,
    /// Nothing goes on any more, and not every recipe is completed.
    Stopped,
}

impl State {
    /// As the batch's counters say.
    pub fn of(batch: &Value) -> Self {
        let jobs = |status: &str| number(&batch[format!("jobs_{status}")]);
        let open = jobs("pending") + jobs("queued") + jobs("running");
        let paused = batch["is_paused"] == true;
        if batch["is_creation_done"] != true {
            if paused { Self::Paused } else { Self::Creating }
        } else if batch["recipes_completed"] == batch["recipes_total"] {
            Self::Completed
        } else if open == 0 && jobs("failed") + jobs("blocked") + jobs("canceled") > 0 {
            Self::Stopped
        } else if paused {
            Self::Paused
        } else {
            Self::Running
        }
    }

    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it stays as it is.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Stopped)
    }
}

/// Jobs of a node, or of all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs {
    /// All that exist.
    pub total: u64,
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Blocked or canceled.
    pub held: u64,
    /// Waiting for a worker.
    pub queued: u64,
}

impl Jobs {
    /// As the counters of a batch, or of one of its nodes, say.
    pub fn of(counters: &Value) -> Self {
        let jobs = |status: &str| number(&counters[format!("jobs_{status}")]);
        Self {
            total: jobs("total"),
            completed: jobs("completed"),
            failed: jobs("failed"),
            held: jobs("blocked") + jobs("canceled"),
            queued: jobs("queued"),
        }
    }

    /// Those that have an outcome, or wait for nothing that will come.
    pub const fn done(&self) -> u64 {
        self.completed + self.failed + self.held
    }

    /// Those that are neither completed nor failed.
    pub const fn other(&self) -> u64 {
        self.total.saturating_sub(self.completed + self.failed)
    }

    /// What is remarkable, such as `3 failed, 1 blocked`.
    pub fn note(&self) -> String {
        let mut notes = Vec::new();
        for (number, word) in
            [(self.failed, "failed"), (self.held, "blocked or canceled"), (self.queued, "queued")]
        {
            if number > 0 {
                notes.push(format!("{} {word}", count(number)));
            }
        }
        notes.join(", ")
    }
}

/// One look at a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What it does.
    pub state: State,
    /// Recipes that are made.
    pub recipes: u64,
    /// Recipes that there will be; an estimate while they are being made.
    pub expected: u64,
    /// Recipes that are completed.
    pub completed: u64,
    /// All jobs, those of sub-recipes included.
    pub jobs: Jobs,
    /// Jobs by node, in the order of the graph; those of sub-recipes together at the end.
    pub nodes: Vec<(String, Jobs)>,
}

/// What jobs of sub-recipes are called.
const INSIDE: &str = "(sub-recipes)";

impl Look {
    /// From a batch's details.
    pub fn at(batch: &Value) -> Self {
        let state = State::of(batch);
        let recipes = number(&batch["recipes_total"]);
        let estimated = number(&batch["recipes_estimated"]);
        let jobs = Jobs::of(batch);
        let mut nodes: Vec<(String, Jobs)> = in_order(batch)
            .into_iter()
            .map(|name| (name.to_owned(), Jobs::of(&batch["job_metrics"][name])))
            .collect();
        let inside = jobs.total.saturating_sub(nodes.iter().map(|(_, jobs)| jobs.total).sum());
        if inside > 0 {
            let rest =
                |of: fn(&Jobs) -> u64| of(&jobs).saturating_sub(nodes.iter().map(|(_, jobs)| of(jobs)).sum());
            let rest = Jobs {
                total: inside,
                completed: rest(|jobs| jobs.completed),
                failed: rest(|jobs| jobs.failed),
                held: rest(|jobs| jobs.held),
                queued: rest(|jobs| jobs.queued),
            };
            nodes.push((INSIDE.to_owned(), rest));
        }
        Self {
            state,
            recipes,
            expected: if batch["is_creation_done"] == true { recipes } else { recipes.max(estimated) },
            completed: number(&batch["recipes_completed"]),
            jobs,
            nodes,
        }
    }

    /// One line for a log; `rate` is in jobs a second.
    pub fn line(&self, rate: f64) -> String {
        let mut text = format!(
            "{}: {} of {} recipes completed, {} of {} jobs done",
            self.state.word(),
            count(self.completed),
            count(self.expected),
            count(self.jobs.done()),
            count(self.jobs.total),
        );
        let note = self.jobs.note();
        if !note.is_empty() {
            text.push_str(&format!(" ({note})"));
        }
        if rate >= 1.0 {
            text.push_str(&format!(", {} jobs/s", count(rate as u64)));
        }
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|(name, jobs)| format!("{name} {}/{}", count(jobs.done()), count(jobs.total)))
            .collect();
        if !nodes.is_empty() {
            text.push_str(&format!("; {}", nodes.join(", ")));
        }
        text
    }
}

/// The job nodes of a batch in the order of its graph: what others depend on first, then by name.
pub fn in_order(batch: &Value) -> Vec<&str> {
    let nodes = batch["recipe_type_rev"]["definition"]["nodes"].as_object();
    let metrics = batch["job_metrics"].as_object();
    let mut waiting: Vec<&str> = nodes.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    waiting.sort_unstable();
    let mut sorted: Vec<&str> = Vec::new();
    loop {
        let ready = |name: &&str| {
            let node = nodes.and_then(|nodes| nodes.get(*name));
            let parents = node.and_then(|node| node["dependencies"].as_array()).into_iter().flatten();
            parents.filter_map(|parent| parent["name"].as_str()).all(|parent| sorted.contains(&parent))
        };
        let (next, later): (Vec<&str>, Vec<&str>) = waiting.into_iter().partition(ready);
        waiting = later;
        if next.is_empty() {
            break;
        }
        sorted.extend(next);
    }
    // A definition that cannot be read hides no counters.
    let mut rest: Vec<&str> = metrics.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    sorted.retain(|name| rest.contains(name));
    rest.retain(|name| !sorted.contains(name));
    sorted.extend(rest);
    sorted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn batch(counters: &Value) -> Value {
        let mut batch = json!({
            "is_creation_done": true, "recipes_estimated": 10, "recipes_total": 10, "recipes_completed": 4,
            "jobs_total": 25, "jobs_pending": 0, "jobs_blocked": 0, "jobs_queued": 0, "jobs_running": 0,
            "jobs_failed": 0, "jobs_completed": 25, "jobs_canceled": 0,
            "job_metrics": {
                "a-last": {"jobs_total": 10, "jobs_completed": 8, "jobs_failed": 1, "jobs_blocked": 1},
                "first": {"jobs_total": 10, "jobs_completed": 10},
            },
            "recipe_type_rev": {"definition": {"nodes": {
                "a-last": {"dependencies": [{"name": "gate"}]}, "gate": {"dependencies": [{"name": "first"}]},
                "first": {"dependencies": []},
            }}},
        });
        for (name, value) in counters.as_object().into_iter().flatten() {
            batch[name] = value.clone();
        }
        batch
    }

    #[test]
    fn states_follow_from_the_counters() {
        let state = |counters: Value| State::of(&batch(&counters));
        assert_eq!(state(json!({"is_creation_done": false, "recipes_completed": 10})), State::Creating);
        assert_eq!(state(json!({"recipes_completed": 10})), State::Completed);
        assert_eq!(state(json!({"recipes_total": 0, "recipes_completed": 0})), State::Completed);
        assert_eq!(state(json!({"jobs_failed": 1})), State::Stopped);
        assert_eq!(state(json!({"jobs_failed": 1, "jobs_queued": 1})), State::Running);
        assert_eq!(state(json!({})), State::Running, "a sub-recipe may be about to be made");
        assert_eq!(state(json!({"is_paused": true, "is_creation_done": false})), State::Paused);
        assert_eq!(state(json!({"is_paused": true, "jobs_queued": 1})), State::Paused);
        assert_eq!(state(json!({"is_paused": true, "jobs_failed": 1})), State::Stopped);
        assert_eq!(state(json!({"is_paused": true, "recipes_completed": 10})), State::Completed);
    }

    #[test]
    fn a_line_says_how_far_a_batch_is() {
        let look = Look::at(&batch(&json!({"jobs_completed": 21, "jobs_failed": 1, "jobs_blocked": 3})));
        assert_eq!(
            look.nodes[2],
            ("(sub-recipes)".to_owned(), Jobs { total: 5, completed: 3, held: 2, ..Jobs::default() })
        );
        assert_eq!(
            look.line(1_234.5),
            "stopped: 4 of 10 recipes completed, 25 of 25 jobs done (1 failed, 3 blocked or canceled), 1,234 jobs/s; \
             first 10/10, a-last 10/10, (sub-recipes) 5/5"
        );
        let creating = json!({"is_creation_done": false, "recipes_total": 3});
        assert_eq!(Look::at(&batch(&creating)).expected, 10);
    }
}
