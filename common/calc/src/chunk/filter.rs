//! Which outputs a caller asks for (contract 2.5).

use regex::{Regex, RegexBuilder};

/// Memory that one pattern may take when compiled.
const PATTERN_BYTES: usize = 1 << 20;

/// A list of wanted output names and patterns.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    exact: String,
    patterns: Vec<Regex>,
}

impl Filter {
    /// A filter of entries, each of which may itself be a comma-joined list. Blank entries are dropped; without any entry the
    /// filter is empty and means "everything".
    pub fn new<S: AsRef<str>>(entries: &[S]) -> Self {
        let entries = entries.iter().flat_map(|entry| split_list(entry.as_ref()));
        let entries = entries.map(|entry| {
            let glob = Some(glob_pattern(&entry));
            // The entry must be a pattern by itself: `a)|(b` only becomes one inside the anchors.
            let own = Regex::new(&entry).is_ok().then(|| format!("^(?:{entry})$"));
            let compile = |pattern: String| {
                RegexBuilder::new(&pattern).case_insensitive(true).size_limit(PATTERN_BYTES).build().ok()
            };
            let patterns = [glob, own].into_iter().flatten().filter_map(compile).collect();
            Entry { exact: entry.to_lowercase(), patterns }
        });
        Self { entries: entries.collect() }
    }

    /// Whether nothing was asked for in particular.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an entry selects this name: equal, or matched as a glob (`*`, `?`) or regular expression over the whole name;
    /// always without regard to case.
    pub fn matches(&self, name: &str) -> bool {
        let folded = name.to_lowercase();
        self.entries
            .iter()
            .any(|entry| entry.exact == folded || entry.patterns.iter().any(|pattern| pattern.is_match(name)))
    }
}

/// A glob over the whole name, as a regular expression.
fn glob_pattern(glob: &str) -> String {
    let mut pattern = String::from("^(?s:");
    let mut buffer = [0; 4];
    for character in glob.chars() {
        match character {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut buffer))),
        }
    }
    pattern.push_str(")$");
    pattern
}

/// Splits a comma-joined list on the commas outside `[]`, `()` and `{}`; trims, drops blanks.
pub fn split_list(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut open = 0_u32;
    for character in text.chars() {
        match character {
            '[' | '(' | '{' => open += 1,
            ']' | ')' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if character == ',' && open == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_name_glob_and_regex_over_the_whole_name() {
        for (entry, name, selected) in [
            ("total", "total", true),
            ("TOTAL", "Total", true),
            ("total", "subtotal", false),
            ("vol*", "volume", true),
            ("vol.*", "volume", true),
            ("^vol", "volume", false),
            ("value_*", "value_3", true),
            ("value_?", "value_3", true),
            ("value_?", "value_33", false),
            ("value_[0-9]{1,2}", "value_33", true),
            ("value_[", "value_[", true),
            ("*[", "value_[", true),
            ("a)|(b", "b", false),
            ("a,b", "b", true),
        ] {
            assert_eq!(Filter::new(&[entry]).matches(name), selected, "{entry} on {name}");
        }
        assert!(Filter::new(&["", " , "]).is_empty());
        assert!(!Filter::new(&["(a{1000}){1000}"]).matches("aaa"), "a huge pattern is only a glob");
    }

    #[test]
    fn splits_lists_outside_brackets() {
        assert_eq!(split_list("total, value_{1,2} ,[a,b],(x,y)"), ["total", "value_{1,2}", "[a,b]", "(x,y)"]);
        assert!(split_list(" , ").is_empty());
    }
}
