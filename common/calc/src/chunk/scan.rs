//! The shape check of a chunk: one pass over the bytes, nothing built (contract 1.2, 2.1).

use thiserror::Error;

use super::json::{Cursor, MAX_DEPTH, Syntax};

/// What a chunk's `data` holds, as far as a push needs to know, and where its parts are, so that whoever evaluates the same
/// bytes need not look for them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Records in `inputs`; the header row does not count.
    pub records: u32,
    form: Form,
    inputs: Span,
    parameters: Option<Span>,
    summary: Option<Span>,
}

/// The first byte of a part, and the one behind its last.
type Span = (u32, u32);

impl Scan {
    /// The scan as bytes that may travel with the data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let none = (0, 0);
        let spans = [self.inputs, self.parameters.unwrap_or(none), self.summary.unwrap_or(none)];
        let numbers = spans.into_iter().flat_map(|(from, to)| [from, to]).chain([self.records]);
        let form = u8::from(self.form == Form::Objects);
        std::iter::once(form).chain(numbers.flat_map(u32::to_le_bytes)).collect()
    }

    /// What [`Self::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (form, rest) = bytes.split_first()?;
        let (words, []) = rest.as_chunks::<4>() else { return None };
        let numbers: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let [a, b, c, d, e, f, records] = numbers.as_slice() else { return None };
        let some = |from: u32, to: u32| (to > from).then_some((from, to));
        let form = match form {
            0 => Form::Rows,
            1 => Form::Objects,
            _ => return None,
        };
        let inputs = some(*a, *b)?;
        Some(Self { records: *records, form, inputs, parameters: some(*c, *d), summary: some(*e, *f) })
    }

    /// The parts of the data that was scanned; `None` when it surely is not that data.
    pub(crate) fn parts<'a>(&self, data: &'a [u8]) -> Option<Parts<'a>> {
        let part = |(from, to): Span| data.get(from as usize..to as usize);
        let object = |span: Option<Span>| match span {
            None => Some(None),
            Some(span) => part(span).filter(|part| part.starts_with(b"{") && part.ends_with(b"}")).map(Some),
        };
        Some(Parts {
            inputs: part(self.inputs).filter(|part| part.starts_with(b"[") && part.ends_with(b"]"))?,
            parameters: object(self.parameters)?,
            summary: object(self.summary)?,
            form: self.form,
            records: self.records,
        })
    }
}

/// Why a chunk's `data` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {message}")]
pub struct ShapeError {
    /// The place, from `data` on, such as `data.inputs[3]`.
    pub path: String,
    /// What is wrong there, for the caller.
    pub message: String,
}

impl ShapeError {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// How the records of a chunk are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A header row, then a row per record.
    Rows,
    /// An object per record.
    Objects,
}

/// The parts of a chunk's `data`, as the scan found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The value of `inputs`, brackets included.
    pub inputs: &'a [u8],
    /// The value of `parameters`, when it is an object.
    pub parameters: Option<&'a [u8]>,
    /// The value of `summary`, when it is an object.
    pub summary: Option<&'a [u8]>,
    /// How the records are written down.
    pub form: Form,
    /// How many records there are.
    pub records: u32,
}

/// Checks the shape of a chunk's `data` and counts its records, without materialising them.
///
/// `data` must be one JSON object (RFC 8259, UTF-8, nested at most 64 deep) with `inputs`: an array whose first element decides
/// its form. A header array is followed by arrays or `null`s; an object is followed by objects or `null`s. `parameters` must be
/// an object, `null` or (ignored, contract 2.2) an array; `summary` an object or `null`. Unknown keys are ignored.
///
/// # Errors
///
/// A [`ShapeError`] with the first offending place, for example `data.inputs[3]`.
pub fn scan(data: &[u8]) -> Result<Scan, ShapeError> {
    let parts = parts(data)?;
    let start = data.as_ptr().addr();
    let span = |part: &[u8]| {
        let from = u32::try_from(part.as_ptr().addr() - start).ok()?;
        Some((from, from.checked_add(u32::try_from(part.len()).ok()?)?))
    };
    let large = || ShapeError::new("data", "more than 4294967295 bytes");
    Ok(Scan {
        records: parts.records,
        form: parts.form,
        inputs: span(parts.inputs).ok_or_else(large)?,
        parameters: parts.parameters.and_then(span),
        summary: parts.summary.and_then(span),
    })
}

/// [`scan`], answering where the parts are.
pub(crate) fn parts(data: &[u8]) -> Result<Parts<'_>, ShapeError> {
    if let Err(error) = std::str::from_utf8(data) {
        return Err(ShapeError::new("data", format!("not UTF-8 at byte {}", error.valid_up_to())));
    }
    let mut cursor = Cursor::new(data);
    if cursor.peek() != b'{' {
        return Err(match cursor.skip(MAX_DEPTH) {
            Ok(()) => ShapeError::new("data", "must be an object with `inputs`"),
            Err(error) => invalid("data", error),
        });
    }
    cursor.advance();
    let mut inputs = None;
    let (mut parameters, mut summary) = (None, None);
    if !cursor.is_empty(b'}') {
        loop {
            let key = cursor.key().map_err(|error| invalid("data", error))?;
            match key.decode().as_ref() {
                "inputs" => {
                    if inputs.is_some() {
                        return Err(ShapeError::new("data.inputs", "given twice"));
                    }
                    inputs = Some(records(&mut cursor)?);
                }
                "parameters" => parameters = object(&mut cursor, "data.parameters", true)?,
                "summary" => summary = object(&mut cursor, "data.summary", false)?,
                _ => cursor.skip(MAX_DEPTH - 1).map_err(|error| invalid("data", error))?,
            }
            if !cursor.more(b'}').map_err(|error| invalid("data", error))? {
                break;
            }
        }
    }
    if !cursor.at_end() {
        return Err(ShapeError::new("data", format!("more than one value, at byte {}", cursor.position())));
    }
    let Some((inputs, form, records)) = inputs else {
        return Err(ShapeError::new(
            "data.inputs",
            "missing; give a header row and rows, or a list of objects",
        ));
    };
    Ok(Parts { inputs, parameters, summary, form, records })
}

/// Moves over `inputs`; answers its bytes, its form and how many records it has.
fn records<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Form, u32), ShapeError> {
    let wrong = "must be an array: a header row and rows, or a list of objects";
    if cursor.peek() != b'[' {
        cursor.skip(MAX_DEPTH - 1).map_err(|error| invalid("data.inputs", error))?;
        return Err(ShapeError::new("data.inputs", wrong));
    }
    let start = cursor.position();
    cursor.advance();
    let form = match cursor.peek() {
        b'[' => Form::Rows,
        b'{' => Form::Objects,
        b']' => return Err(ShapeError::new("data.inputs", "empty; give at least the header row")),
        _ => {
            cursor.skip(MAX_DEPTH - 2).map_err(|error| invalid("data.inputs[0]", error))?;
            return Err(ShapeError::new(
                "data.inputs[0]",
                "must be an array (the header row) or an object (a record)",
            ));
        }
    };
    let opening = if form == Form::Rows { b'[' } else { b'{' };
    let mut elements = 0_u64;
    loop {
        match cursor.peek() {
            byte if byte == opening => {
                cursor
                    .skip(MAX_DEPTH - 2)
                    .map_err(|error| invalid(&format!("data.inputs[{elements}]"), error))?;
            }
            b'n' => cursor
                .literal(b"null")
                .map_err(|error| invalid(&format!("data.inputs[{elements}]"), error))?,
            _ => {
                let path = format!("data.inputs[{elements}]");
                cursor.skip(MAX_DEPTH - 2).map_err(|error| invalid(&path, error))?;
                let message = match form {
                    Form::Rows => "must be an array or null, because inputs[0] is a header row",
                    Form::Objects => "must be an object, because inputs[0] is one",
                };
                return Err(ShapeError::new(path, message));
            }
        }
        elements += 1;
        if !cursor.more(b']').map_err(|error| invalid(&format!("data.inputs[{elements}]"), error))? {
            break;
        }
    }
    let records = if form == Form::Rows { elements - 1 } else { elements };
    let records =
        u32::try_from(records).map_err(|_| ShapeError::new("data.inputs", "more than 4294967295 records"))?;
    Ok((cursor.since(start), form, records))
}

/// Moves over an object (answering its bytes), `null`, or an array where that is ignored.
fn object<'a>(cursor: &mut Cursor<'a>, path: &str, array: bool) -> Result<Option<&'a [u8]>, ShapeError> {
    let first = cursor.peek();
    let start = cursor.position();
    cursor.skip(MAX_DEPTH - 1).map_err(|error| invalid(path, error))?;
    match first {
        b'{' => Ok(Some(cursor.since(start))),
        b'n' => Ok(None),
        b'[' if array => Ok(None),
        _ => Err(ShapeError::new(path, "must be an object or null")),
    }
}

#[cold]
fn invalid(path: &str, error: Syntax) -> ShapeError {
    ShapeError::new(path, format!("invalid JSON at byte {} of data: {}", error.at, error.what))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (String, String) {
        let error = scan(text.as_bytes()).unwrap_err();
        (error.path, error.message)
    }

    #[test]
    fn counts_records_in_both_forms() {
        for (text, records) in [
            (r#"{"inputs":[["a"],[1],[2]]}"#, 2),
            (r#"{"inputs":[["a"]]}"#, 0),
            (r#"{"inputs":[[]]}"#, 0),
            (r#"{"inputs":[["a"],null,[]],"parameters":{},"summary":null}"#, 2),
            (r#"{"inputs":[{"a":1},{},null]}"#, 3),
            (r#" { "parameters" : null , "x" : [[[1]]], "inputs" : [ { } ] } "#, 1),
            (r#"{"inputs":[["a"]],"parameters":[1,2]}"#, 0),
        ] {
            assert_eq!(scan(text.as_bytes()).unwrap().records, records, "{text}");
        }
    }

    #[test]
    fn a_scan_travels_with_its_data() {
        for text in [
            r#"{"inputs":[["a"],[1],[2]]}"#,
            r#" { "parameters" : {"a":1} , "x" : 1, "inputs" : [ { } ], "summary": {"ignore_error":true} } "#,
            r#"{"inputs":[["a"]],"parameters":null,"summary":null}"#,
        ] {
            let scanned = scan(text.as_bytes()).unwrap();
            let read = Scan::from_bytes(&scanned.to_bytes()).unwrap();
            assert_eq!(read, scanned);
            let (there, here) = (read.parts(text.as_bytes()).unwrap(), parts(text.as_bytes()).unwrap());
            assert_eq!(
                (there.inputs, there.parameters, there.summary),
                (here.inputs, here.parameters, here.summary)
            );
            assert_eq!((there.form, there.records), (here.form, here.records));
            assert!(read.parts(b"{}").is_none(), "other data");
        }
        assert_eq!(Scan::from_bytes(&[]), None);
        assert_eq!(Scan::from_bytes(&[2; 29]), None);
    }

    #[test]
    fn names_the_place_that_is_wrong() {
        for (text, path) in [
            ("", "data"),
            ("[]", "data"),
            ("{}", "data.inputs"),
            (r#"{"inputs":null}"#, "data.inputs"),
            (r#"{"inputs":[]}"#, "data.inputs"),
            (r#"{"inputs":[null]}"#, "data.inputs[0]"),
            (r#"{"inputs":["a"]}"#, "data.inputs[0]"),
            (r#"{"inputs":[["a"],[1],[2],{"a":1}]}"#, "data.inputs[3]"),
            (r#"{"inputs":[["a"],5]}"#, "data.inputs[1]"),
            (r#"{"inputs":[{"a":1},[1]]}"#, "data.inputs[1]"),
            (r#"{"inputs":[["a"],[1,]]}"#, "data.inputs[1]"),
            (r#"{"inputs":[["a"],[1]"#, "data.inputs[2]"),
            (r#"{"inputs":[["a"]],"parameters":5}"#, "data.parameters"),
            (r#"{"inputs":[["a"]],"summary":[]}"#, "data.summary"),
            (r#"{"inputs":[["a"]],"inputs":[["a"]]}"#, "data.inputs"),
            (r#"{"inputs":[["a"]]} x"#, "data"),
        ] {
            assert_eq!(refused(text).0, path, "{text}");
        }
        assert_eq!(
            refused(r#"{"inputs":[["a"],[1 2]]}"#).1,
            "invalid JSON at byte 20 of data: expected `,` or `]`"
        );
        assert!(scan(b"{\"inputs\":[[\"\xff\"]]}").unwrap_err().message.contains("UTF-8"));
        let deep = format!("{{\"inputs\":[[{}{}]]}}", "[".repeat(70), "]".repeat(70));
        assert!(refused(&deep).1.contains("deeply"));
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes);
        }

        #[test]
        fn accepts_only_what_serde_json_accepts(
            prefix in prop_oneof![Just(r#"{"inputs":[["a","b"]"#), Just(r#"{"inputs":[{"a":1}"#)],
            middle in "[\\[\\]{}:,\"\\\\0-9eE.\\-nula ]{0,30}",
        ) {
            let text = format!("{prefix}{middle}]}}");
            if scan(text.as_bytes()).is_ok() {
                let parsed = serde_json::from_str::<serde_json::Value>(&text);
                let out_of_range = parsed.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
                prop_assert!(out_of_range || parsed.is_ok(), "{}", text);
            }
        }
    }
}
