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

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn refuses_what_formulas_would_read_otherwise() {
        for name in ["price", "_x", "größe", "rate", "ABCD1", "R1C1x", "XFE1", "Class", "r_1"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", "A1", "xfd1048576", "R1C1", "r", "C", "RC", "R5", "c7", "TRUE", "False", "1a", "a b", "a.b", "a-b", "a$"] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check(&"x".repeat(256)).is_err());
    }
}
