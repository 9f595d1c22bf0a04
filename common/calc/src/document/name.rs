//! Names that formulas can refer to.

use crate::workbook::reference::parse_cell;

/// Whether a formula could use `name`, or why not.
pub(super) fn check(name: &str) -> Result<(), String> {
    let mut characters = name.chars();
    let Some(first) = characters.next() else { return Err("is empty".to_owned()) };
    if name.chars().count() > 255 {
        return Err("has more than 255 characters".to_owned());
    }
    if !(first.is_alphabetic() || first == '_') {
        return Err(format!("{name:?} must begin with a letter or an underscore"));
    }
    if let Some(bad) = characters.find(|character| !(character.is_alphanumeric() || *character == '_')) {
        return Err(format!("{name:?} contains {bad:?}; use letters, digits and underscores"));
    }
    if parse_cell(name).is_some() || is_row_column(name) {
        return Err(format!("{name:?} is a cell reference; choose another name"));
    }
    if name.eq_ignore_ascii_case("true") || name.eq_ignore_ascii_case("false") {
        return Err(format!("{name:?} is a boolean; choose another name"));
    }
    Ok(())
}

/// Whether Excel reads the name as a reference by row and column: `R`, `C`, `RC`, `R1C1`.
fn is_row_column(name: &str) -> bool {
    let folded = name.to_ascii_uppercase();
    let after = |text: &str| text.trim_start_matches(|character: char| character.is_ascii_digit()).to_owned();
    let rest = match folded.strip_prefix('R') {
        Some(rest) => after(rest),
        None if folded.starts_with('C') => folded,
        None => return false,
    };
    rest.is_empty() || rest.strip_prefix('C').is_some_and(|rest| after(rest).is_empty())
}

/// The first word of a formula that stands for nothing, and why. Text, error values and what is inside `[…]` are passed over; a
/// formula with `LET` or `LAMBDA` makes names of its own and is left to the compiler.
pub(super) fn unknown(formula: &str, is_known: impl Fn(&str) -> bool) -> Option<String> {
    let upper = formula.to_uppercase();
    if upper.contains("LET(") || upper.contains("LAMBDA(") {
        return None;
    }
    let mut rest = formula;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => 1 + rest.get(1..)?.find(first)? + 1,
            '[' => closing_bracket(rest)?,
            '#' => 1 + span(rest.get(1..)?, |c| c.is_alphanumeric() || matches!(c, '/' | '!' | '?')),
            '$' => {
                return Some(
                    "cell references mean nothing in a document; refer to inputs and formulas by name"
                        .to_owned(),
                );
            }
            c if c.is_ascii_digit() => span(rest, |c| c.is_alphanumeric() || c == '.'),
            c if c.is_alphabetic() || c == '_' => {
                let length = span(rest, |c| c.is_alphanumeric() || matches!(c, '_' | '.'));
                let (word, after) = rest.split_at(length);
                let is_boolean = word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false");
                if !after.trim_start().starts_with('(') && !is_boolean && !is_known(word) {
                    return Some(if parse_cell(word).is_some() {
                        format!(
                            "{word} is a cell reference, which means nothing in a document; refer to inputs and formulas by name"
                        )
                    } else {
                        format!("nothing in this document is named {word}")
                    });
                }
                length
            }
            c => c.len_utf8(),
        };
        rest = rest.get(length..)?;
    }
    None
}

/// Bytes of the leading characters that `inside` accepts.
fn span(text: &str, inside: impl Fn(char) -> bool) -> usize {
    text.find(|character| !inside(character)).unwrap_or(text.len())
}

/// Bytes up to and with the bracket that closes the leading one.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{check, unknown};

    #[test]
    fn finds_words_that_stand_for_nothing() {
        let known = |word: &str| ["age", "rates"].contains(&word.to_lowercase().as_str());
        for formula in [
            "AGE+1",
            "VLOOKUP(age, rates[[#All],[x y]], 2, TRUE)",
            "IF(age>1E5,\"nope \"\"A1\"\"\",#N/A)",
            "rates[rate]",
            "LET(x,1,x+age)",
            "1.5e3*age",
            "NORM.S.DIST (age,true)",
        ] {
            assert_eq!(unknown(formula, known), None, "{formula}");
        }
        for (formula, part) in [
            ("age+agee", "agee"),
            ("A1", "A1"),
            ("$A$1", "cell"),
            ("inputs!A1", "inputs"),
            ("größe", "größe"),
        ] {
            assert!(unknown(formula, known).is_some_and(|message| message.contains(part)), "{formula}");
        }
    }

    #[test]
    fn refuses_what_formulas_would_read_otherwise() {
        for name in ["price", "_x", "größe", "rate", "ABCD1", "R1C1x", "XFE1", "Class", "r_1"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "A1",
            "xfd1048576",
            "R1C1",
            "r",
            "C",
            "RC",
            "R5",
            "c7",
            "TRUE",
            "False",
            "1a",
            "a b",
            "a.b",
            "a-b",
            "a$",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check(&"x".repeat(256)).is_err());
    }
}
