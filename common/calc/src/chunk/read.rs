//! Reading records straight into columns, a block at a time.
//!
//! The cursor walks the records once, and values land in [`Lanes`], which start filled with what counts when a record gives no
//! value (parameter or default): short rows, absent keys and duplicate columns need no code of their own.

use rustc_hash::FxHashMap;

use super::error::{ChunkError, error_object};
use super::json::{Cursor, MAX_DEPTH, Raw, Syntax};
use super::lanes::Lanes;
use super::layout::Layout;
use super::notes::Notes;
use super::scalar::{Scalar, number_lane, scalar};
use super::scan::{Form, Parts, ShapeError};
use super::table;
use super::texts::Texts;
use crate::number;
use crate::program::{BLOCK, Column};

/// No input, no key.
const NONE: u32 = u32::MAX;

/// Spellings of keys that are remembered; honest chunks have a few, and the rest is looked up anew.
const KNOWN: usize = 4096;

/// What a column of the chunk feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    input: u32,
    key: u32,
}

const NOWHERE: Target = Target { input: NONE, key: NONE };

/// What becomes of the values of a chunk beside the columns.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    pub warnings: Notes,
    pub errors: Notes,
}

/// Reads the records of one chunk.
pub(crate) struct Reader<'a> {
    cursor: Cursor<'a>,
    inputs: &'a [u8],
    /// The same as text.
    whole: Option<&'a str>,
    form: Form,
    layout: &'a Layout,
    names: &'a FxHashMap<String, usize>,
    lanes: Lanes,
    texts: Texts,
    /// Inputs that the parameters give.
    given: Vec<bool>,
    /// Keys as the caller spells them.
    keys: Vec<String>,
    /// Where each key's raw value lies among the spans.
    key_spans: Vec<u32>,
    seen: Vec<bool>,
    spans: Vec<(usize, usize)>,
    /// Columns of the header row, or the keys of the object before this one.
    targets: Vec<Target>,
    layouts: Vec<(&'a [u8], Target)>,
    known: FxHashMap<&'a [u8], Target>,
    provided: Option<Vec<bool>>,
    next: u32,
    records: u32,
    block: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first record. `keys` is what the caller asked to echo; a single entry may be a comma-joined list.
    /// `absent` asks for a warning for every input that a record does not give. `lanes` is memory to use again.
    pub(crate) fn new(
        parts: &Parts<'a>,
        layout: &'a Layout,
        names: &'a FxHashMap<String, usize>,
        keys: &[String],
        absent: bool,
        mut lanes: Lanes,
        remarks: &mut Remarks,
    ) -> Result<Self, ChunkError> {
        lanes.reset(&layout.defaults);
        let mut reader = Self {
            cursor: Cursor::new(parts.inputs),
            inputs: parts.inputs,
            whole: std::str::from_utf8(parts.inputs).ok(),
            form: parts.form,
            layout,
            names,
            lanes,
            texts: Texts::default(),
            given: vec![false; layout.inputs.len()],
            keys: Vec::new(),
            key_spans: Vec::new(),
            seen: Vec::new(),
            spans: Vec::new(),
            targets: Vec::new(),
            layouts: Vec::new(),
            known: FxHashMap::default(),
            provided: absent.then(|| vec![false; layout.inputs.len()]),
            next: 0,
            records: parts.records,
            block: BLOCK,
        };
        if let Some(parameters) = parts.parameters {
            reader.parameters(parameters, remarks).map_err(|error| broken("data.parameters", error))?;
        }
        reader.start(keys).map_err(|error| broken("data.inputs[0]", error))?;
        if reader.form == Form::Rows && reader.records > 0 {
            reader.require_keys()?;
        }
        Ok(reader)
    }

    /// Makes the columns what they are before the first block: constants.
    pub(crate) fn start_columns(&mut self, columns: &mut Vec<Column>) {
        self.lanes.constants(columns);
    }

    /// The memory for the next reader.
    pub(crate) fn into_lanes(self) -> Lanes {
        self.lanes
    }

    /// Keys to echo, as the caller spells them.
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The raw value of a key in a record of the current block, `null` when the record has none.
    pub(crate) fn key(&self, key: usize, row: usize) -> &'a [u8] {
        let span = self.key_spans.get(key).and_then(|span| self.spans.get(*span as usize * BLOCK + row));
        match span {
            Some(&(start, end)) if end > start => self.inputs.get(start..end).unwrap_or(b"null"),
            _ => b"null",
        }
    }

    fn parameters(&mut self, parameters: &'a [u8], remarks: &mut Remarks) -> Result<(), Syntax> {
        let mut cursor = Cursor::new(parameters);
        cursor.expect(b'{', "expected an object")?;
        if cursor.is_empty(b'}') {
            return Ok(());
        }
        loop {
            let name = cursor.key()?;
            match self.names.get(&name.decode().to_lowercase()) {
                None => cursor.skip(MAX_DEPTH)?,
                Some(&input) => {
                    if let Some(given) = self.given.get_mut(input) {
                        *given = true;
                    }
                    let Some(slot) = self.layout.inputs.get(input) else { continue };
                    if slot.table {
                        cursor.peek();
                        let start = cursor.position();
                        cursor.skip(MAX_DEPTH)?;
                        let values = table::read(cursor.since(start), slot).unwrap_or_else(|message| {
                            remark_table(remarks, 0, &slot.name, &message);
                            table::refused(slot)
                        });
                        for (base, value) in self.lanes.base.iter_mut().skip(slot.first).zip(values.cells) {
                            *base = value;
                        }
                    } else {
                        let value = match scalar(&mut cursor, None, slot.declared)? {
                            Scalar::Number(lane) => number::value(lane),
                            Scalar::Value(value) => value,
                            Scalar::Text(text) => text.into(),
                        };
                        if let Some(base) = self.lanes.base.get_mut(slot.first) {
                            *base = value;
                        }
                    }
                }
            }
            if !cursor.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads the header row, or looks at the first object's keys.
    fn start(&mut self, keys: &[String]) -> Result<(), Syntax> {
        self.cursor.expect(b'[', "expected an array")?;
        let mut probe = self.cursor;
        let mut names = Vec::new();
        match self.form {
            Form::Rows => {
                self.cursor.expect(b'[', "expected the header row")?;
                if !self.cursor.is_empty(b']') {
                    loop {
                        let name = if self.cursor.peek() == b'"' {
                            Some(self.cursor.string()?.decode().to_lowercase())
                        } else {
                            self.cursor.skip(MAX_DEPTH)?;
                            None
                        };
                        names.push(name);
                        if !self.cursor.more(b']')? {
                            break;
                        }
                    }
                }
                // Leaves the cursor before the first record, or behind the end.
                self.cursor.more(b']')?;
            }
            Form::Objects => {
                if probe.peek() == b'{' {
                    probe.advance();
                    if !probe.is_empty(b'}') {
                        loop {
                            names.push(Some(probe.key()?.decode().to_lowercase()));
                            probe.skip(MAX_DEPTH)?;
                            if !probe.more(b'}')? {
                                break;
                            }
                        }
                    }
                }
            }
        }
        let is_column = |key: &str| names.iter().flatten().any(|name| *name == key.to_lowercase());
        self.keys = match keys {
            [single] if single.contains(',') && !is_column(single) => {
                single.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect()
            }
            keys => keys.iter().filter(|key| !key.is_empty()).cloned().collect(),
        };
        // Keys that name the same column share its span.
        let folded: Vec<String> = self.keys.iter().map(|key| key.to_lowercase()).collect();
        for key in &folded {
            let first = folded.iter().position(|other| other == key).unwrap_or(0);
            self.key_spans.push(u32::try_from(first).unwrap_or(NONE));
        }
        self.seen = vec![false; self.keys.len()];
        self.spans = vec![(0, 0); self.keys.len() * BLOCK];
        if self.form == Form::Rows {
            let mut last: Vec<Option<usize>> = vec![None; self.keys.len()];
            for name in &names {
                let target = name.as_deref().map_or(NOWHERE, |name| self.target(name));
                if let (Some(seen), Some(column)) =
                    (self.seen.get_mut(target.key as usize), last.get_mut(target.key as usize))
                {
                    *seen = true;
                    // The last of several columns of one name is the key.
                    let earlier =
                        column.replace(self.targets.len()).and_then(|index| self.targets.get_mut(index));
                    if let Some(earlier) = earlier {
                        earlier.key = NONE;
                    }
                }
                self.targets.push(target);
            }
        }
        Ok(())
    }

    /// What a column of this name (in lower case) feeds.
    fn target(&self, name: &str) -> Target {
        let input = self.names.get(name).and_then(|input| u32::try_from(*input).ok()).unwrap_or(NONE);
        let key = self.keys.iter().position(|key| key.to_lowercase() == name);
        Target { input, key: key.and_then(|key| u32::try_from(key).ok()).unwrap_or(NONE) }
    }

    /// Fails when a key was in no record.
    pub(crate) fn require_keys(&self) -> Result<(), ChunkError> {
        for (key, span) in self.keys.iter().zip(&self.key_spans) {
            if self.seen.get(*span as usize) != Some(&true) {
                return Err(ChunkError::KeyMissing { key: key.clone() });
            }
        }
        Ok(())
    }

    /// Reads the next block into `columns`; answers its number of records, 0 at the end.
    pub(crate) fn block(
        &mut self,
        columns: &mut [Column],
        remarks: &mut Remarks,
    ) -> Result<usize, ChunkError> {
        let left = (self.records - self.next) as usize;
        self.block = self.lanes.block();
        let rows = left.min(self.block);
        self.spans.fill((0, 0));
        self.lanes.start();
        for row in 0..rows {
            let record = self.next;
            if let Some(provided) = &mut self.provided {
                provided.copy_from_slice(&self.given);
            }
            let read = match self.form {
                Form::Rows => self.row(row, record, remarks),
                Form::Objects => self.object(row, record, remarks),
            };
            read.and_then(|()| self.cursor.more(b']').map(drop))
                .map_err(|error| broken(&format!("data.inputs[{record}]"), error))?;
            if self.provided.is_some() {
                self.warn_absent(record, remarks);
            }
            self.next += 1;
        }
        self.lanes.finish(columns, rows);
        Ok(rows)
    }

    fn row(&mut self, row: usize, record: u32, remarks: &mut Remarks) -> Result<(), Syntax> {
        if self.cursor.peek() == b'n' {
            return self.cursor.literal(b"null");
        }
        self.cursor.expect(b'[', "expected a row")?;
        if self.cursor.is_empty(b']') {
            return Ok(());
        }
        let mut column = 0;
        loop {
            let target = self.targets.get(column).copied().unwrap_or(NOWHERE);
            self.take(target, row, record, remarks)?;
            column += 1;
            if !self.cursor.more(b']')? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, row: usize, record: u32, remarks: &mut Remarks) -> Result<(), Syntax> {
        if self.cursor.peek() == b'n' {
            return self.cursor.literal(b"null");
        }
        self.cursor.expect(b'{', "expected an object")?;
        if self.cursor.is_empty(b'}') {
            return Ok(());
        }
        let mut place = 0;
        loop {
            let name = self.cursor.key()?;
            // Objects mostly have their keys in the order of the object before.
            let target = match self.layouts.get(place) {
                Some((known, target)) if *known == name.text => *target,
                _ => self.predict(name, place),
            };
            if let Some(seen) = self.seen.get_mut(target.key as usize) {
                *seen = true;
            }
            self.take(target, row, record, remarks)?;
            place += 1;
            if !self.cursor.more(b'}')? {
                return Ok(());
            }
        }
    }

    #[cold]
    fn predict(&mut self, name: Raw<'a>, place: usize) -> Target {
        let target = match self.known.get(name.text) {
            Some(target) => *target,
            None => {
                let target = self.target(&name.decode().to_lowercase());
                if self.known.len() < KNOWN {
                    self.known.insert(name.text, target);
                }
                target
            }
        };
        self.layouts.truncate(place);
        if self.layouts.len() == place {
            self.layouts.push((name.text, target));
        }
        target
    }

    /// Takes the value at the cursor to where it belongs.
    #[inline]
    fn take(&mut self, target: Target, row: usize, record: u32, remarks: &mut Remarks) -> Result<(), Syntax> {
        let first = self.cursor.peek();
        let start = self.cursor.position();
        match self.layout.inputs.get(target.input as usize) {
            None if first.is_ascii_digit() => self.cursor.number()?,
            None => self.cursor.skip(MAX_DEPTH)?,
            Some(slot) if slot.table => self.table(target.input as usize, row, record, remarks)?,
            Some(slot) => {
                if let Some(provided) =
                    self.provided.as_mut().and_then(|all| all.get_mut(target.input as usize))
                {
                    *provided = true;
                }
                if first.is_ascii_digit() {
                    let lane = number_lane(&mut self.cursor)?;
                    self.lanes.set(slot.first, row, lane);
                } else {
                    match scalar(&mut self.cursor, self.whole, slot.declared)? {
                        Scalar::Text(text) => {
                            self.lanes.set_odd(slot.first, row, self.texts.value(text));
                            if text.is_empty() {
                                warn_empty(&slot.name, record, remarks);
                            }
                        }
                        Scalar::Number(lane) => self.lanes.set(slot.first, row, lane),
                        Scalar::Value(value) => self.lanes.set_odd(slot.first, row, value),
                    }
                }
            }
        }
        if target.key != NONE
            && let Some(span) =
                self.spans.get_mut((target.key as usize).wrapping_mul(BLOCK).wrapping_add(row))
        {
            *span = (start, self.cursor.position());
        }
        Ok(())
    }

    #[cold]
    fn table(&mut self, input: usize, row: usize, record: u32, remarks: &mut Remarks) -> Result<(), Syntax> {
        self.cursor.peek();
        let start = self.cursor.position();
        self.cursor.skip(MAX_DEPTH)?;
        let Some(slot) = self.layout.inputs.get(input) else { return Ok(()) };
        if let Some(provided) = self.provided.as_mut().and_then(|all| all.get_mut(input)) {
            *provided = true;
        }
        let values = table::read(self.cursor.since(start), slot).unwrap_or_else(|message| {
            remark_table(remarks, record, &slot.name, &message);
            table::refused(slot)
        });
        if values.truncated {
            let message = format!("more rows than the {} of the table: the rest is ignored", slot.height);
            remarks.warnings.warn(record, Some(&format!("inputs.{}", slot.name)), &message);
        }
        for (offset, value) in values.cells.into_iter().enumerate() {
            self.lanes.set_odd(slot.first + offset, row, value);
        }
        Ok(())
    }

    #[cold]
    fn warn_absent(&self, record: u32, remarks: &mut Remarks) {
        let Some(provided) = &self.provided else { return };
        let mut absent: Vec<usize> =
            self.names.values().copied().filter(|input| provided.get(*input) == Some(&false)).collect();
        absent.sort_unstable();
        absent.dedup();
        for slot in absent.into_iter().filter_map(|input| self.layout.inputs.get(input)) {
            let message =
                format!("the input {} was not given: the default of the workbook was used", slot.name);
            remarks.warnings.warn(record, Some("Default Values"), &message);
        }
    }
}

#[cold]
fn warn_empty(name: &str, record: u32, remarks: &mut Remarks) {
    let path = format!("inputs.{name}");
    remarks.warnings.warn(record, Some(&path), "empty text; give null to leave the cell blank");
}

fn remark_table(remarks: &mut Remarks, record: u32, name: &str, message: &str) {
    remarks.errors.add(record, |out| {
        error_object("validation_error", "error.TABLE", Some(&format!("inputs.{name}")), message, out);
    });
}

/// Only bytes that the scan refused get here, or a fault of the reader; both are answered as a failed chunk.
#[cold]
fn broken(path: &str, error: Syntax) -> ChunkError {
    ChunkError::Shape(ShapeError { path: path.to_owned(), message: format!("invalid JSON: {}", error.what) })
}
