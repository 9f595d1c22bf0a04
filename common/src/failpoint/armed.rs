//! Failpoints that work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// The variable that names the points.
pub const VARIABLE: &str = "MILLRACE_FAILPOINTS";

/// How long a thread waits for the signal that it has sent.
const SIGNALLED: Duration = Duration::from_millis(50);

static RULES: OnceLock<Vec<Rule>> = OnceLock::new();

/// A rule that cannot be read; the text is the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MILLRACE_FAILPOINTS: `{0}` is not `point=kill`, `point(detail)=stop@2` or the like")]
pub struct Unreadable(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Sleep(Duration),
}

#[derive(Debug)]
struct Rule {
    point: String,
    detail: Option<String>,
    action: Action,
    /// Which time; `None` means every time.
    turn: Option<u64>,
    times: AtomicU64,
}

impl Rule {
    fn read(text: &str) -> Option<Self> {
        let (place, action) = text.trim().split_once('=')?;
        let (point, detail) = match place.strip_suffix(')') {
            Some(place) => place.split_once('(').map(|(point, detail)| (point, Some(detail.to_owned())))?,
            None if place.contains('(') => return None,
            None => (place, None),
        };
        let (action, turn) = match action.split_once('@') {
            Some((action, turn)) => (action, Some(turn.parse().ok()?)),
            None => (action, None),
        };
        let action = match action.split_once(':') {
            Some(("sleep", wait)) => Action::Sleep(Duration::from_millis(wait.parse().ok()?)),
            None if action == "kill" => Action::Kill,
            None if action == "stop" => Action::Stop,
            _ => return None,
        };
        Some(Self { point: point.to_owned(), detail, action, turn, times: AtomicU64::new(0) })
    }

    /// Whether this passage is the one.
    fn applies(&self, point: &str, detail: &str) -> bool {
        if self.point != point || self.detail.as_ref().is_some_and(|wanted| wanted != detail) {
            return false;
        }
        let times = self.times.fetch_add(1, Ordering::SeqCst) + 1;
        self.turn.is_none_or(|turn| turn == times)
    }
}

fn read(text: &str) -> Result<Vec<Rule>, Unreadable> {
    let rules = text.split(';').filter(|rule| !rule.trim().is_empty());
    rules.map(|rule| Rule::read(rule).ok_or_else(|| Unreadable(rule.to_owned()))).collect()
}

/// Reads the rules of this process. To be called once, at its start.
///
/// # Errors
///
/// A rule that cannot be read.
pub fn arm() -> Result<(), Unreadable> {
    let rules = read(&std::env::var(VARIABLE).unwrap_or_default())?;
    for rule in &rules {
        tracing::warn!(point = rule.point, action = ?rule.action, "a failpoint is armed");
    }
    // Set once; a second call changes nothing.
    let _ = RULES.set(rules);
    Ok(())
}

/// Whether a rule names this point: a place that costs something to watch asks first.
pub fn is_armed(point: &str) -> bool {
    RULES.get().is_some_and(|rules| rules.iter().any(|rule| rule.point == point))
}

/// Says that the process has come to this point, with a detail that rules can name.
pub fn reach(point: &str, detail: &str) {
    let Some(rules) = RULES.get() else { return };
    for rule in rules.iter().filter(|rule| rule.applies(point, detail)) {
        tracing::warn!(point, detail, action = ?rule.action, "a failpoint is reached");
        let signal = match rule.action {
            Action::Kill => Signal::KILL,
            Action::Stop => Signal::STOP,
            Action::Sleep(wait) => {
                std::thread::sleep(wait);
                continue;
            }
        };
        // A signal to oneself cannot fail. It reaches all threads only after a moment, and this one must not go on in it.
        let _ = kill_process(getpid(), signal);
        std::thread::sleep(SIGNALLED);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn rules_have_a_point_a_detail_an_action_and_a_turn() {
        let rules = read("commit.stored=kill; evaluate(c7)=stop@2;evaluate=sleep:50").unwrap();
        let seen: Vec<_> = rules
            .iter()
            .map(|rule| (rule.point.as_str(), rule.detail.as_deref(), rule.action, rule.turn))
            .collect();
        assert_eq!(
            seen,
            [
                ("commit.stored", None, Action::Kill, None),
                ("evaluate", Some("c7"), Action::Stop, Some(2)),
                ("evaluate", None, Action::Sleep(Duration::from_millis(50)), None),
            ]
        );
        assert!(read("").unwrap().is_empty());
        for wrong in ["x", "x=die", "x(y=kill", "x=kill@soon", "x=sleep", "x=kill:1"] {
            assert_eq!(read(wrong).unwrap_err(), Unreadable(wrong.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_rule_applies_to_its_point_its_detail_and_its_turn() {
        let rule = Rule::read("evaluate(c7)=stop@2").unwrap();
        let passages = [
            ("evaluate", "c7"),
            ("evaluate", "c8"),
            ("commit", "c7"),
            ("evaluate", "c7"),
            ("evaluate", "c7"),
        ];
        let applied: Vec<bool> = passages.iter().map(|(point, detail)| rule.applies(point, detail)).collect();
        assert_eq!(applied, [false, false, false, true, false]);
        let always = Rule::read("evaluate=sleep:0").unwrap();
        assert!(always.applies("evaluate", "a") && always.applies("evaluate", "b"));
    }
}
