//! Tables for the terminal.

/// Columns as wide as their widest cell, two spaces between them, no space at a line's end.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|text| text.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            // A name with a line break or an escape sequence must not change the terminal.
            let cell: String =
                cell.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut heading.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A count with commas between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            [vec!["a".to_owned(), "long name".to_owned()], vec!["bcd\u{1b}".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID    NAME\na     long name\nbcd\u{fffd}\n");
    }

    #[test]
    fn thousands_are_marked() {
        let texts: Vec<String> = [0, 999, 1_000, 100_000, 1_234_567].map(count).to_vec();
        assert_eq!(texts, ["0", "999", "1,000", "100,000", "1,234,567"]);
    }
}
