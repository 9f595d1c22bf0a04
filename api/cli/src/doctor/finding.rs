//! What a check found.

use serde::Serialize;

/// How bad it is; later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Could not be looked at from here; says nothing.
    Skipped,
    /// Works, and will hurt one day.
    Warning,
    /// Does not work, or loses what was promised.
    Error,
}

impl Status {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, `area.check`; stable, for scripts.
    pub check: String,
    pub status: Status,
    /// What was seen.
    pub seen: String,
    /// Why it matters; empty where all is well.
    pub why: &'static str,
    /// What to do; empty where all is well.
    pub advice: String,
}

/// The findings of a run.
#[derive(Debug, Default)]
pub struct Findings {
    area: &'static str,
    all: Vec<Finding>,
}

impl Findings {
    /// The area of the findings that follow.
    pub fn enter(&mut self, area: &'static str) {
        self.area = area;
    }

    pub fn ok(&mut self, check: &str, seen: impl Into<String>) {
        self.add(check, Status::Ok, seen.into(), "", String::new());
    }

    pub fn skipped(&mut self, check: &str, seen: impl Into<String>, advice: impl Into<String>) {
        self.add(check, Status::Skipped, seen.into(), "", advice.into());
    }

    pub fn warning(
        &mut self,
        check: &str,
        seen: impl Into<String>,
        why: &'static str,
        advice: impl Into<String>,
    ) {
        self.add(check, Status::Warning, seen.into(), why, advice.into());
    }

    pub fn error(
        &mut self,
        check: &str,
        seen: impl Into<String>,
        why: &'static str,
        advice: impl Into<String>,
    ) {
        self.add(check, Status::Error, seen.into(), why, advice.into());
    }

    /// As the status says: ok, or `status` with why and what to do.
    pub fn judge(
        &mut self,
        check: &str,
        status: Status,
        seen: impl Into<String>,
        why: &'static str,
        advice: impl Into<String>,
    ) {
        match status {
            Status::Ok => self.ok(check, seen),
            worse => self.add(check, worse, seen.into(), why, advice.into()),
        }
    }

    fn add(&mut self, check: &str, status: Status, seen: String, why: &'static str, advice: String) {
        self.all.push(Finding { check: format!("{}.{check}", self.area), status, seen, why, advice });
    }

    pub fn all(&self) -> &[Finding] {
        &self.all
    }

    pub fn worst(&self) -> Status {
        self.all.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
    }

    pub fn count(&self, status: Status) -> usize {
        self.all.iter().filter(|finding| finding.status == status).count()
    }

    #[cfg(test)]
    pub fn status(&self, check: &str) -> Option<Status> {
        self.all.iter().find(|finding| finding.check == check).map(|finding| finding.status)
    }
}
