//! What was measured, as a table to read and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

/// What a measure has to reach (design section 10).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least this share of the floor, or of what it is compared with.
    Share(f64),
    /// At least this value.
    AtLeast(f64),
    /// At most this value.
    AtMost(f64),
    /// Shown for information.
    None,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// The unit of both values.
    pub unit: &'static str,
    /// The floor's value, or the value that this one is compared with.
    pub floor: Option<f64>,
    /// Millrace's value; absent when the measure failed, or is the floor alone.
    pub millrace: Option<f64>,
    /// What it has to reach.
    pub target: Target,
    /// More about how it came about, or why it failed.
    pub note: String,
}

impl Row {
    /// Millrace's value in relation to the floor's.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.millrace? / self.floor?)
    }

    /// Whether the target is reached; `None` without a target.
    pub fn passes(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::Share(share) => Some(self.ratio().is_some_and(|ratio| ratio >= share)),
            Target::AtLeast(least) => Some(self.millrace.is_some_and(|value| value >= least)),
            Target::AtMost(most) => Some(self.millrace.is_some_and(|value| value <= most)),
        }
    }

    /// The row of a measure that could not be made.
    pub fn failed(measure: &str, error: &anyhow::Error) -> Self {
        let note = format!("FAILED: {error:#}");
        Self {
            measure: measure.to_owned(),
            unit: "",
            floor: None,
            millrace: None,
            target: Target::None,
            note,
        }
    }
}

/// Groups thousands, and shows small values with a decimal.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// The table; notes follow below it.
pub fn render(rows: &[Row]) -> String {
    let header = ["measure", "unit", "floor/base", "Millrace", "ratio", "target", ""].map(str::to_owned);
    let mut lines = vec![header];
    for row in rows {
        let target = match row.target {
            Target::Share(share) => format!("≥ {share:.2}"),
            Target::AtLeast(least) => format!("≥ {least}"),
            Target::AtMost(most) => format!("≤ {most}"),
            Target::None => String::new(),
        };
        let verdict = match row.passes() {
            Some(true) => "pass",
            Some(false) => "MISS",
            None if row.note.starts_with("FAILED") => "FAILED",
            None => "",
        };
        let show = |value: Option<f64>| value.map(number).unwrap_or_default();
        lines.push([
            row.measure.clone(),
            row.unit.to_owned(),
            show(row.floor),
            show(row.millrace),
            row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            target,
            verdict.to_owned(),
        ]);
    }
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let blank = " ".repeat(width - cell.chars().count());
            let right = (2..=4).contains(&column);
            let (before, after) = if right { (blank.as_str(), "") } else { ("", blank.as_str()) };
            let _ = write!(shown, "{before}{cell}{after}  ");
        }
        let _ = writeln!(text, "{}", shown.trim_end());
        if at == 0 {
            let _ = writeln!(text, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * 6));
        }
    }
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        let _ = writeln!(text, "  {}: {}", row.measure, row.note);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(floor: Option<f64>, millrace: f64, target: Target) -> Row {
        let measure = "m".to_owned();
        Row { measure, unit: "u", floor, millrace: Some(millrace), target, note: String::new() }
    }

    #[test]
    fn shares_and_limits_decide() {
        assert_eq!(row(Some(10.0), 5.0, Target::Share(0.5)).passes(), Some(true));
        assert_eq!(row(Some(10.0), 4.9, Target::Share(0.5)).passes(), Some(false));
        assert_eq!(row(None, 4.9, Target::Share(0.5)).passes(), Some(false));
        assert_eq!(row(None, 4.9, Target::AtLeast(5.0)).passes(), Some(false));
        assert_eq!(row(None, 5.0, Target::AtLeast(5.0)).passes(), Some(true));
        assert_eq!(row(None, 4.9, Target::AtMost(5.0)).passes(), Some(true));
        assert_eq!(row(None, f64::NAN, Target::AtMost(5.0)).passes(), Some(false));
        assert_eq!(row(None, 4.9, Target::None).passes(), None);
    }

    #[test]
    fn the_table_shows_numbers_to_read() {
        let text = render(&[
            row(Some(1_900_000.0), 950_000.0, Target::Share(0.6)),
            row(None, 3.12, Target::AtMost(10.0)),
        ]);
        assert!(text.contains("1 900 000") && text.contains("950 000") && text.contains("0.50"), "{text}");
        assert!(text.contains("MISS") && text.contains("3.1") && text.contains("pass"), "{text}");
    }
}
