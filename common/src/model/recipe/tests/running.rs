//! A recipe that runs, for tests: does what the evaluation says and holds each step to the rules.

use chrono::{DateTime, Utc};

use crate::model::recipe::{
    Evaluation, Graph, Job, JobEvent, JobStatus, JobStep, NodeIndex, NodeState, Surroundings, evaluate,
    job_step,
};

pub const WHOLE: Surroundings = Surroundings { has_input: true, blocked: false, superseded: false };

/// A recipe that runs: jobs live by their state machine, sub-recipes are a few switches.
pub struct Run {
    pub graph: Graph,
    pub surroundings: Surroundings,
    pub states: Vec<NodeState>,
    pub jobs: Vec<Job>,
    pub outcomes: u16,
    pub completed: bool,
}

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

impl Run {
    pub fn new(graph: Graph, outcomes: u16) -> Self {
        let job = Job {
            status: JobStatus::Pending,
            num_exes: 0,
            max_tries: 3,
            superseded: false,
            last_status_change: NOW,
        };
        Self {
            states: vec![NodeState::Absent; graph.len()],
            jobs: vec![job; graph.len()],
            graph,
            surroundings: WHOLE,
            outcomes,
            completed: false,
        }
    }

    pub fn at(index: NodeIndex) -> usize {
        usize::try_from(index.number()).unwrap()
    }

    pub fn index(&self, name: &str) -> NodeIndex {
        self.graph.find(name).unwrap()
    }

    pub fn state(&self, name: &str) -> NodeState {
        self.states[Self::at(self.index(name))]
    }

    pub fn status(&self, name: &str) -> JobStatus {
        match self.state(name) {
            NodeState::Job { status, .. } => status,
            state => panic!("{name} is {state:?}"),
        }
    }

    pub fn evaluate(&self) -> Evaluation {
        evaluate(&self.graph, self.surroundings, |index| self.states[Self::at(index)])
    }

    pub fn job(&mut self, index: NodeIndex, event: JobEvent) {
        let at = Self::at(index);
        if let JobStep::Become(job, _) = job_step(&self.jobs[at], event, NOW) {
            self.jobs[at] = job;
            self.states[at] = NodeState::Job {
                status: job.status,
                was_queued: job.num_exes > 0,
                superseded: job.superseded,
            };
        }
    }

    pub fn event(&mut self, name: &str, event: JobEvent) {
        self.job(self.index(name), event);
        self.settle();
    }

    pub fn finish(&mut self, name: &str) {
        let exe_num = self.jobs[Self::at(self.index(name))].num_exes;
        self.event(name, JobEvent::Succeed { exe_num });
    }

    pub fn fail(&mut self, name: &str) {
        let exe_num = self.jobs[Self::at(self.index(name))].num_exes;
        self.event(name, JobEvent::Fail { exe_num, retryable: false });
    }

    /// Does what the evaluation says, until it says nothing more, and holds each step to the rules.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 4 * self.graph.len() + 4, "it comes to rest");
            let evaluation = self.evaluate();
            assert!(!self.completed || evaluation.completed, "completion never reverts by itself");
            assert_eq!(
                evaluation.completed && self.surroundings.has_input,
                self.is_completed(),
                "{:?}",
                self.states
            );
            self.completed |= evaluation.completed;
            if evaluation.is_idle() {
                return;
            }
            self.carry_out(&evaluation);
        }
    }

    pub fn carry_out(&mut self, evaluation: &Evaluation) {
        for index in &evaluation.create {
            let node = self.graph.node(*index);
            assert_eq!(self.states[Self::at(*index)], NodeState::Absent);
            let parents = node.parents.iter().map(|parent| self.states[Self::at(parent.node)]);
            assert!(
                parents.into_iter().all(|parent| parent != NodeState::Absent),
                "parents are created first"
            );
            self.states[Self::at(*index)] = NodeState::created(node.kind.node_type());
        }
        for (nodes, now) in [(&evaluation.block, true), (&evaluation.release, false)] {
            for index in nodes {
                assert_eq!(self.has_block_before(*index), now);
                match &mut self.states[Self::at(*index)] {
                    NodeState::Recipe { blocked, .. } => *blocked = now,
                    _ => self.job(*index, if now { JobEvent::Block } else { JobEvent::Release }),
                }
            }
        }
        for index in &evaluation.start {
            assert!(!self.has_block_before(*index), "blocked nodes never start");
            for parent in self.graph.node(*index).parents.clone() {
                let ready = match self.states[Self::at(parent.node)] {
                    NodeState::Job { status, .. } => status == JobStatus::Completed,
                    NodeState::Recipe { completed, .. } => completed,
                    NodeState::Condition { outcome } => outcome == parent.acceptance && outcome.is_some(),
                    NodeState::Absent => false,
                };
                assert!(ready, "everything before it is ready");
            }
            match &mut self.states[Self::at(*index)] {
                NodeState::Recipe { started, .. } => {
                    assert!(!std::mem::replace(started, true), "starts once")
                }
                NodeState::Condition { outcome } => {
                    let accepted = self.outcomes & (1 << Self::at(*index)) != 0;
                    assert_eq!(outcome.replace(accepted), None, "is processed once");
                }
                NodeState::Job { was_queued, .. } => {
                    assert!(!*was_queued, "is queued once");
                    self.job(*index, JobEvent::Queue);
                }
                NodeState::Absent => panic!("starts before it exists"),
            }
        }
    }

    pub fn blocks(&self, index: NodeIndex) -> bool {
        match self.states[Self::at(index)] {
            NodeState::Job { status, .. } => matches!(status, JobStatus::Failed | JobStatus::Canceled),
            NodeState::Recipe { failed, .. } => failed,
            NodeState::Absent | NodeState::Condition { .. } => false,
        }
    }

    pub fn has_block_before(&self, index: NodeIndex) -> bool {
        self.surroundings.blocked || self.graph.node(index).ancestors.iter().any(|before| self.blocks(before))
    }

    /// By the words of the contract: nothing left to create, and everything that exists is complete.
    pub fn is_completed(&self) -> bool {
        self.graph.nodes().all(|(index, _)| match self.states[Self::at(index)] {
            NodeState::Absent => self.is_contradicted(index),
            NodeState::Job { status, .. } => status == JobStatus::Completed,
            NodeState::Recipe { completed, .. } => completed,
            NodeState::Condition { outcome } => outcome.is_some(),
        })
    }

    pub fn is_contradicted(&self, index: NodeIndex) -> bool {
        // Of a node behind both outcomes it is known before the condition is processed.
        self.graph.node(index).unreachable
            || self.graph.node(index).parents.iter().any(|parent| match self.states[Self::at(parent.node)] {
                NodeState::Absent => self.is_contradicted(parent.node),
                NodeState::Condition { outcome: Some(outcome) } => parent.acceptance != Some(outcome),
                _ => false,
            })
    }

    /// One thing that may happen, chosen by a number.
    pub fn happen(&mut self, choice: u32) {
        let index = self.graph.by_number(i16::try_from(choice as usize % self.graph.len()).unwrap()).unwrap();
        let at = Self::at(index);
        let exe_num = self.jobs[at].num_exes;
        let stale = exe_num - 1;
        match &mut self.states[at] {
            NodeState::Absent | NodeState::Condition { .. } => {}
            NodeState::Recipe { started, completed, failed, .. } => match choice >> 8 & 3 {
                0 if *started && !*failed => *completed = true,
                1 if !*completed => *failed = true,
                2 => *failed = false,
                _ => {}
            },
            NodeState::Job { .. } => {
                let event = match choice >> 8 & 15 {
                    0..=2 => JobEvent::Start { exe_num },
                    3..=6 => JobEvent::Succeed { exe_num },
                    7 | 8 => JobEvent::Fail { exe_num, retryable: true },
                    9 => JobEvent::Fail { exe_num, retryable: false },
                    10 => JobEvent::Cancel,
                    11 | 12 => JobEvent::Requeue { max_tries: 3 },
                    13 => JobEvent::Succeed { exe_num: stale },
                    14 => JobEvent::Fail { exe_num: stale, retryable: false },
                    _ => JobEvent::Start { exe_num: stale },
                };
                self.job(index, event);
            }
        }
        self.settle();
    }

    /// Ends whatever is under way, well or badly.
    pub fn drain(&mut self, bad: u16) {
        for round in 0.. {
            assert!(round < 3 * self.graph.len() + 3, "it comes to an end");
            let before = self.states.clone();
            for at in 0..self.graph.len() {
                let index = self.graph.by_number(i16::try_from(at).unwrap()).unwrap();
                let exe_num = self.jobs[at].num_exes;
                let is_bad = bad & (1 << at) != 0;
                match &mut self.states[at] {
                    NodeState::Job { status: JobStatus::Queued | JobStatus::Running, .. } => {
                        let event = match is_bad {
                            true => JobEvent::Fail { exe_num, retryable: false },
                            false => JobEvent::Succeed { exe_num },
                        };
                        self.job(index, event);
                    }
                    NodeState::Recipe { started: true, completed, failed, .. } if !*completed && !*failed => {
                        if is_bad {
                            *failed = true
                        } else {
                            *completed = true
                        }
                    }
                    _ => {}
                }
            }
            self.settle();
            if before == self.states {
                return;
            }
        }
    }

    pub fn repair(&mut self) {
        for at in 0..self.graph.len() {
            let index = self.graph.by_number(i16::try_from(at).unwrap()).unwrap();
            match &mut self.states[at] {
                NodeState::Recipe { failed, .. } => *failed = false,
                NodeState::Job { .. } => self.job(index, JobEvent::Requeue { max_tries: 3 }),
                _ => {}
            }
        }
        self.settle();
    }
}

pub fn run(graph: Graph, outcomes: u16) -> Run {
    let mut run = Run::new(graph, outcomes);
    run.settle();
    run
}
