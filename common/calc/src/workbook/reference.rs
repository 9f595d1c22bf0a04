//! References as defined names and attributes write them: `B3`, `$B$3:$D$9`, `'My sheet'!$B$3`.

use crate::book::{Book, Range};

/// Rows of a sheet.
pub(crate) const MAX_ROWS: u32 = 1_048_576;
/// Columns of a sheet.
pub(crate) const MAX_COLUMNS: u32 = 16_384;

/// Parses `B3` or `$B$3` to zero-based (row, column).
pub(crate) fn parse_cell(text: &str) -> Option<(u32, u32)> {
    let text = text.strip_prefix('$').unwrap_or(text);
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (column, row) = text.split_at_checked(letters)?;
    let row = row.strip_prefix('$').unwrap_or(row);
    if !(1..=3).contains(&column.len())
        || row.is_empty()
        || row.len() > 7
        || !row.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let column = column.bytes().fold(0_u32, |sum, b| sum * 26 + u32::from(b.to_ascii_uppercase() - b'A') + 1);
    let row: u32 = row.parse().ok()?;
    ((1..=MAX_ROWS).contains(&row) && column <= MAX_COLUMNS).then(|| (row - 1, column - 1))
}

/// Parses `B3` or `$B$3:$D$9`; the sheet of the answer is 0.
pub(crate) fn parse_area(text: &str) -> Option<Range> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let ((r1, c1), (r2, c2)) = (parse_cell(first)?, parse_cell(last)?);
    Some(Range {
        sheet: 0,
        first_row: r1.min(r2),
        first_column: c1.min(c2),
        last_row: r1.max(r2),
        last_column: c1.max(c2),
    })
}

/// Resolves `Sheet!$B$3:$D$9` in `book`; a definition without a sheet means `home`.
pub(super) fn resolve(book: &Book, definition: &str, home: Option<u32>) -> Result<Range, String> {
    let definition = definition.trim();
    let shown = || definition.chars().take(80).collect::<String>();
    if definition.contains("#REF!") {
        return Err(format!("refers to a cell that was deleted ({})", shown()));
    }
    if definition.contains('[') {
        return Err(format!("must refer to a cell or range of this workbook, not to {}", shown()));
    }
    let (sheet, area) = match definition.rsplit_once('!') {
        Some((sheet, area)) => {
            let sheet = match sheet.strip_prefix('\'').and_then(|quoted| quoted.strip_suffix('\'')) {
                Some(quoted) => quoted.replace("''", "'"),
                None => sheet.to_owned(),
            };
            let folded = sheet.to_lowercase();
            let index = book.sheets.iter().position(|known| known.name.to_lowercase() == folded);
            let index =
                index.ok_or_else(|| format!("refers to the sheet {sheet:?}, which does not exist"))?;
            (u32::try_from(index).map_err(|_| "too many sheets".to_owned())?, area)
        }
        None => {
            (home.ok_or_else(|| format!("must refer to a cell or range, not to {}", shown()))?, definition)
        }
    };
    let area = parse_area(area)
        .ok_or_else(|| format!("must refer to one cell or one bounded range, not to {}", shown()))?;
    Ok(Range { sheet, ..area })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::book::Sheet;

    #[test]
    fn parses_cells_within_the_sheet_only() {
        assert_eq!(parse_cell("B3"), Some((2, 1)));
        assert_eq!(parse_cell("$xfd$1048576"), Some((1_048_575, 16_383)));
        for text in ["", "B", "3", "B0", "XFE1", "A1048577", "A1B", "B-1", "AAAA1", "$$A1", "A$", "é1"] {
            assert_eq!(parse_cell(text), None, "{text}");
        }
    }

    #[test]
    fn resolves_definitions_of_names() {
        let sheet = |name: &str| Sheet { name: name.into(), ..Sheet::default() };
        let book = Book { sheets: vec![sheet("Main"), sheet("It's!")], ..Book::default() };
        assert_eq!(resolve(&book, "main!$B$3", None), Ok(Range::cell(0, 2, 1)));
        assert_eq!(
            resolve(&book, "'It''s!'!$D$9:$B$3", None).map(|r| (r.sheet, r.rows(), r.columns())),
            Ok((1, 7, 3))
        );
        assert_eq!(resolve(&book, "$A$1", Some(1)), Ok(Range::cell(1, 0, 0)));
        for wrong in
            ["Main!#REF!", "[1]Main!$A$1", "Other!$A$1", "Main!$A:$A", "Main!$A$1,Main!$B$1", "5", "SUM(A1)"]
        {
            assert!(resolve(&book, wrong, None).is_err(), "{wrong}");
        }
    }
}
