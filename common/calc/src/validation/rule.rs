//! One input's rule: whether a value obeys it, and how that is told.

use serde_json::Value as Json;

use crate::functions::serial;
use crate::interface::Validation;
use crate::number;
use crate::source::value_json;
use crate::value::{ErrorValue, Value};

/// What a rule asks of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Decimal,
    List,
    Date,
    Time,
    TextLength,
    Custom,
    /// `true` or `false` (formula documents).
    Boolean,
}

impl Kind {
    /// Of a `dataValidation`'s `type`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "whole" => Self::Whole,
            "decimal" => Self::Decimal,
            "list" => Self::List,
            "date" => Self::Date,
            "time" => Self::Time,
            "textLength" => Self::TextLength,
            "custom" => Self::Custom,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// What Excel's dialog calls it.
    pub(super) const fn shown(self) -> &'static str {
        match self {
            Self::Whole => "Whole number",
            Self::Decimal => "Decimal",
            Self::List => "List",
            Self::Date => "Date",
            Self::Time => "Time",
            Self::TextLength => "Text length",
            Self::Custom => "Custom",
            Self::Boolean => "Boolean",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Decimal => "a number",
            Self::List => "one of the options",
            Self::Date => "a date",
            Self::Time => "a time",
            Self::TextLength => "text with a number of characters",
            Self::Custom => "a value that the workbook accepts",
            Self::Boolean => "true or false",
        }
    }

    /// A bound as JSON: dates and times as text.
    pub(super) fn bound(self, value: &Value) -> Json {
        match (self, value) {
            (Self::Date, Value::Number(serial)) => {
                date_text(*serial).map_or_else(|| value_json(value), Json::String)
            }
            (Self::Time, Value::Number(serial)) => Json::String(time_text(*serial)),
            _ => value_json(value),
        }
    }
}

/// `2026-01-31`, with its time of day where there is one.
fn date_text(serial: f64) -> Option<String> {
    let day = serial::day(serial.floor())?;
    let date = format!("{:04}-{:02}-{:02}", day.year, day.month, day.day);
    Some(if serial.fract() == 0.0 { date } else { format!("{date} {}", time_text(serial)) })
}

/// `12:30:00`.
fn time_text(serial: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of one day")]
    let seconds = (serial.rem_euclid(1.0) * 86_400.0).round().min(86_399.0) as u32;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// How a value relates to the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Between,
    NotBetween,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Operator {
    /// Of a `dataValidation`'s `operator`; it is `between` when absent.
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("notBetween") => Self::NotBetween,
            Some("equal") => Self::Equal,
            Some("notEqual") => Self::NotEqual,
            Some("greaterThan") => Self::Greater,
            Some("greaterThanOrEqual") => Self::GreaterOrEqual,
            Some("lessThan") => Self::Less,
            Some("lessThanOrEqual") => Self::LessOrEqual,
            _ => Self::Between,
        }
    }

    /// Which of the two formulas are lower and upper bounds; a rule with neither is told by its operator alone.
    pub(super) fn bounds<'v>(
        self,
        first: Option<&'v Value>,
        second: Option<&'v Value>,
    ) -> (Option<&'v Value>, Option<&'v Value>) {
        match self {
            Self::Between | Self::NotBetween => (first, second),
            Self::Equal | Self::NotEqual => (first, first),
            Self::Greater | Self::GreaterOrEqual => (first, None),
            Self::Less | Self::LessOrEqual => (None, first),
        }
    }

    /// Whether `x` obeys. Numbers compare by 15 digits, as in formulas.
    fn holds(self, x: f64, first: f64, second: f64) -> bool {
        let (a, b) = (number::compare(x, first), number::compare(x, second));
        match self {
            Self::Between => a.is_ge() && b.is_le(),
            Self::NotBetween => a.is_lt() || b.is_gt(),
            Self::Equal => a.is_eq(),
            Self::NotEqual => a.is_ne(),
            Self::Greater => a.is_gt(),
            Self::GreaterOrEqual => a.is_ge(),
            Self::Less => a.is_lt(),
            Self::LessOrEqual => a.is_le(),
        }
    }

    fn text(self, first: &str, second: &str) -> String {
        match self {
            Self::Between => format!("from {first} to {second}"),
            Self::NotBetween => format!("not from {first} to {second}"),
            Self::Equal => format!("equal to {first}"),
            Self::NotEqual => format!("other than {first}"),
            Self::Greater => format!("greater than {first}"),
            Self::GreaterOrEqual => format!("at least {first}"),
            Self::Less => format!("less than {first}"),
            Self::LessOrEqual => format!("at most {first}"),
        }
    }
}

/// A rule with its formulas computed.
#[derive(Debug, Clone)]
pub(super) struct Computed<'r> {
    pub kind: Kind,
    pub operator: Operator,
    pub ignore_blank: bool,
    /// Whether the options are compared with regard to case: those listed in the rule itself are, cells are not.
    pub exact: bool,
    /// The first formula; for a list its options.
    pub first: &'r [Value],
    /// The second formula.
    pub second: Option<&'r Value>,
}

/// Options named in a message.
const NAMED: usize = 20;

impl Computed<'_> {
    /// Why the value breaks the rule; `None` when it obeys.
    pub(super) fn fault(&self, name: &str, value: &Value) -> Option<String> {
        let is_blank = match value {
            Value::Blank => true,
            Value::Text(text) => text.is_empty(),
            _ => false,
        };
        if is_blank {
            return (!self.ignore_blank).then(|| format!("{name} must not be blank"));
        }
        if let Value::Error(error) = value {
            return Some(format!("{name} must be {}, not the error {error}", self.kind.noun()));
        }
        match self.kind {
            Kind::List => self.list_fault(name, value),
            Kind::Boolean => {
                (!matches!(value, Value::Boolean(_))).then(|| format!("{name} must be true or false"))
            }
            Kind::Custom => match self.first.first().map(Value::to_boolean) {
                Some(Ok(true)) | None => None,
                _ => Some(format!("{name} is not a value that the workbook accepts")),
            },
            Kind::TextLength => {
                let text = value.to_text().ok()?;
                #[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^53")]
                let length = text.encode_utf16().count() as f64;
                self.bound_fault(name, length, "the length of ")
            }
            Kind::Whole | Kind::Decimal | Kind::Date | Kind::Time => {
                let number = match value {
                    Value::Boolean(_) => Err(ErrorValue::Value),
                    other => other.to_number(),
                };
                match number {
                    Ok(number) if self.kind == Kind::Whole && number.fract() != 0.0 => {
                        Some(format!("{name} must be a whole number{}", self.range()))
                    }
                    Ok(number) if self.kind == Kind::Date && number < 0.0 => {
                        Some(format!("{name} must be a date{}", self.range()))
                    }
                    Ok(number) => self.bound_fault(name, number, ""),
                    Err(_) => Some(format!("{name} must be {}{}", self.kind.noun(), self.range())),
                }
            }
        }
    }

    fn bound_fault(&self, name: &str, number: f64, of: &str) -> Option<String> {
        let first = self.first.first()?;
        // Excel allows every value while a bound's cell is blank and blanks are ignored.
        let skipped = |bound: &Value| self.ignore_blank && *bound == Value::Blank;
        if skipped(first) || self.second.is_some_and(skipped) {
            return None;
        }
        let second = self.second.unwrap_or(first);
        let (Ok(a), Ok(b)) = (first.to_number(), second.to_number()) else {
            return Some(format!("{name} cannot be checked: a bound of its validation is no number"));
        };
        if self.operator.holds(number, a, b) {
            return None;
        }
        Some(if of.is_empty() {
            format!("{name} must be {}{}", self.kind.noun(), self.range())
        } else {
            format!("{of}{name} must be {}", self.range().trim_start())
        })
    }

    /// ` from 18 to 99`; nothing where there are no bounds.
    fn range(&self) -> String {
        let Some(first) = self.first.first() else { return String::new() };
        let shown = |value: &Value| match self.kind.bound(value) {
            Json::String(text) => text,
            Json::Null => "blank".to_owned(),
            _ => value.to_text().map_or_else(|error| error.to_string(), std::borrow::Cow::into_owned),
        };
        let first_text = shown(first);
        let second = self.second.map_or_else(|| first_text.clone(), shown);
        format!(" {}", self.operator.text(&first_text, &second))
    }

    fn list_fault(&self, name: &str, value: &Value) -> Option<String> {
        let options = self.first.iter().filter(|option| !matches!(option, Value::Blank | Value::Error(_)));
        if options.clone().any(|option| self.is_option(option, value)) {
            return None;
        }
        let named: Vec<String> =
            options.clone().take(NAMED).filter_map(|option| option.to_text().ok().map(Into::into)).collect();
        let more = if options.count() > named.len() { ", …" } else { "" };
        Some(if named.is_empty() {
            format!("{name} must be one of the options, and there are none")
        } else {
            format!("{name} must be one of {}{more}", named.join(", "))
        })
    }

    fn is_option(&self, option: &Value, value: &Value) -> bool {
        if let (Ok(a), Ok(b)) = (numeric(option), numeric(value)) {
            return number::compare(a, b).is_eq();
        }
        match (option.to_text(), value.to_text()) {
            (Ok(a), Ok(b)) if self.exact => a.trim() == b.trim(),
            (Ok(a), Ok(b)) => crate::value::compare_text(a.trim(), b.trim()).is_eq(),
            _ => false,
        }
    }
}

/// A number, or text that is one; booleans are none.
fn numeric(value: &Value) -> Result<f64, ErrorValue> {
    match value {
        Value::Number(x) => Ok(*x),
        Value::Text(text) => number::parse(text).ok_or(ErrorValue::Value),
        _ => Err(ErrorValue::Value),
    }
}

/// How a refusal is shown: `stop`, `warning` or `information`.
pub(super) fn style(validation: &Validation) -> &str {
    validation.error_style.as_deref().unwrap_or("stop")
}
