//! Values as they stand in tables: short, since lines should fit into 80 columns.

use serde_json::Value;

use super::super::table::count;

/// Any value as text; `-` for none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// At most `width` characters, the last of them `…` where something is left out.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// A number that counts something; what is no number is none.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// A count with commas between thousands; `-` for none.
pub fn counted(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), count)
}

/// A datetime of the server to the second, in UTC.
pub fn when(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| "-".to_owned(), |text| text.chars().take(19).collect::<String>().replace('T', " "))
}

/// An ISO-8601 duration of the server (contract 1.6) as a person says it.
pub fn took(value: &Value) -> String {
    value.as_str().and_then(seconds).map_or_else(|| "-".to_owned(), spoken)
}

fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.strip_prefix('P')?;
    let mut sum = 0.0;
    for (mark, factor) in [("D", 86_400.0), ("T", 0.0), ("H", 3_600.0), ("M", 60.0), ("S", 1.0)] {
        let Some((number, after)) = rest.split_once(mark) else { continue };
        if factor > 0.0 {
            sum += number.parse::<f64>().ok()? * factor;
        }
        rest = after;
    }
    rest.is_empty().then_some(sum)
}

fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

/// The values of a data document, `name value` with commas between.
pub fn values(data: &Value) -> String {
    let named = |key: &str| -> Vec<String> {
        let fields = data[key].as_object().into_iter().flatten();
        fields.map(|(name, value)| format!("{name} {}", text(value))).collect()
    };
    [named("json"), named("files")].concat().join(", ")
}

/// Lines of a label and a value, the values one under the other. Empty ones are left out.
pub fn labelled(lines: &[(&str, String)]) -> String {
    let shown: Vec<&(&str, String)> = lines.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (label, value) in shown {
        // No control character reaches the terminal.
        let value: String =
            value.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
        text.push_str(&format!("{label:<width$}{value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_short() {
        assert_eq!([clip("abcd", 4), clip("abcde", 4)], ["abcd", "abc…"]);
        assert_eq!(when(&json!("2026-11-29T20:51:03.123456Z")), "2026-11-29 20:51:03");
        assert_eq!(values(&json!({"json": {"a": 1.5, "b": "x"}, "files": {"f": [1]}})), "a 1.5, b x, f [1]");
        assert_eq!(
            labelled(&[("a", "1".to_owned()), ("none", String::new()), ("long", "2\n".to_owned())]),
            "a     1\nlong  2\u{fffd}\n"
        );
    }

    #[test]
    fn durations_are_said_as_people_say_them() {
        let texts = ["PT0S", "PT0.000123S", "PT0.0123S", "PT0.004S", "PT9M2S", "P1DT2H0S", "PT1.5S"];
        let told: Vec<String> = texts.iter().map(|text| took(&json!(text))).collect();
        assert_eq!(told, ["0 µs", "123 µs", "12 ms", "4.0 ms", "9 min", "1560 min", "1.5 s"]);
        assert_eq!([took(&Value::Null), took(&json!("soon"))], ["-", "-"]);
    }
}
