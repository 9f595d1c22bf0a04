//! Choosing records of a chunk: a smaller chunk with the same header and parameters.

use super::json::{Cursor, MAX_DEPTH, Syntax};
use super::scan::{Form, Scan, ShapeError, parts};

/// A chunk's `data` with only these of its records (numbers from 0 on, ascending), its header row and its parameters. The summary
/// stays behind: aggregates of a part of the records would mean nothing.
///
/// # Errors
///
/// A [`ShapeError`] when the bytes are no chunk's `data`.
pub fn select(data: &[u8], scan: Option<&Scan>, records: &[u32]) -> Result<Vec<u8>, ShapeError> {
    let parts = match scan.and_then(|scan| scan.parts(data)) {
        Some(parts) => parts,
        None => parts(data)?,
    };
    let broken = |error: Syntax| ShapeError {
        path: "data.inputs".to_owned(),
        message: format!("invalid JSON at byte {}: {}", error.at, error.what),
    };
    let mut out = b"{\"inputs\":[".to_vec();
    let mut cursor = Cursor::new(parts.inputs);
    cursor.expect(b'[', "expected an array").map_err(broken)?;
    let mut header = parts.form == Form::Rows;
    let mut number = 0_u32;
    let mut wanted = records.iter().copied().peekable();
    let mut first = true;
    loop {
        cursor.peek();
        let start = cursor.position();
        cursor.skip(MAX_DEPTH).map_err(broken)?;
        let element = cursor.since(start);
        if header || wanted.next_if_eq(&number).is_some() {
            if !std::mem::replace(&mut first, false) {
                out.push(b',');
            }
            // The first element decides the form, which `null` cannot.
            let element = if parts.form == Form::Objects && element == b"null" { b"{}" } else { element };
            out.extend_from_slice(element);
        }
        if header {
            header = false;
        } else {
            number += 1;
        }
        if !cursor.more(b']').map_err(broken)? || (wanted.peek().is_none() && !header) {
            break;
        }
    }
    out.push(b']');
    if let Some(parameters) = parts.parameters {
        out.extend_from_slice(b",\"parameters\":");
        out.extend_from_slice(parameters);
    }
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::scan::scan;
    use super::*;

    fn selected(data: &str, records: &[u32]) -> String {
        let scanned = scan(data.as_bytes()).unwrap();
        let with = select(data.as_bytes(), Some(&scanned), records).unwrap();
        assert_eq!(with, select(data.as_bytes(), None, records).unwrap());
        let count = scan(&with).unwrap().records;
        assert_eq!(count as usize, records.len());
        String::from_utf8(with).unwrap()
    }

    #[test]
    fn rows_keep_their_header_and_parameters() {
        let data = r#"{"summary":{"aggregation":[]}, "inputs" : [ ["a","b"] , [1, "x]"], null,[3] ],"parameters":{"p":[1]}}"#;
        assert_eq!(selected(data, &[0, 2]), r#"{"inputs":[["a","b"],[1, "x]"],[3]],"parameters":{"p":[1]}}"#);
        assert_eq!(selected(data, &[1]), r#"{"inputs":[["a","b"],null],"parameters":{"p":[1]}}"#);
        assert_eq!(selected(r#"{"inputs":[["a"],[1]]}"#, &[]), r#"{"inputs":[["a"]]}"#);
    }

    #[test]
    fn objects_keep_their_form() {
        let data = r#"{"inputs":[{"a":1},null,{"a":{"b":[2]}}],"parameters":null}"#;
        assert_eq!(selected(data, &[2]), r#"{"inputs":[{"a":{"b":[2]}}]}"#);
        assert_eq!(selected(data, &[1, 2]), r#"{"inputs":[{},{"a":{"b":[2]}}]}"#);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        assert!(select(b"{}", None, &[0]).is_err());
        assert!(select(b"[1", None, &[0]).is_err());
    }
}
