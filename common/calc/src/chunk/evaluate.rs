//! One chunk, bytes to bytes: read a block, run the program, write the block, until the records end.

use std::time::Instant;

use super::error::ChunkError;
use super::layout::{Layout, OutputSlot};
use super::notes::Notes;
use super::read::{Reader, Remarks};
use super::result::ChunkResult;
use super::scan::{Form, Scan, parts};
use super::summary::Summary;
use super::write::{self, repeat};
use crate::engine::Engine;
use crate::program::Column;
use crate::reference::FallbackError;
use crate::service::{Prepared, Scratch};
use crate::totals::Totals;
use crate::value::ErrorValue;

/// What evaluates blocks, and where it puts the columns of each output.
#[derive(Debug)]
pub(crate) struct Plan {
    pub engine: Engine,
    /// By output: the first of its columns, or `None` when it is not computed.
    pub first: Vec<Option<usize>>,
}

impl Plan {
    /// A plan for these outputs of the whole service.
    pub(crate) fn new(whole: &Engine, layout: &Layout, outputs: impl Iterator<Item = usize>) -> Self {
        let mut first = vec![None; layout.outputs.len()];
        let mut columns = Vec::new();
        for index in outputs {
            if let (Some(slot), Some(place @ None)) = (layout.outputs.get(index), first.get_mut(index)) {
                *place = Some(columns.len());
                columns.extend(slot.first..slot.first + slot.cells());
            }
        }
        let all: usize = layout.outputs.iter().map(OutputSlot::cells).sum();
        let in_order =
            columns.len() == all && columns.iter().enumerate().all(|(index, column)| index == *column);
        let engine = if in_order { whole.clone() } else { whole.select(&columns) };
        Self { engine, first }
    }

    fn columns<'c>(&self, layout: &Layout, output: usize, columns: &'c [Column]) -> &'c [Column] {
        let first = self.first.get(output).copied().flatten();
        let cells = layout.outputs.get(output).map(OutputSlot::cells);
        first.zip(cells).and_then(|(first, cells)| columns.get(first..first + cells)).unwrap_or_default()
    }
}

/// Evaluates a chunk's `data`; see [`Prepared::evaluate`].
pub(crate) fn evaluate(
    prepared: &Prepared,
    data: &[u8],
    scan: Option<&Scan>,
    deadline: Option<Instant>,
    scratch: &mut Scratch,
) -> Result<ChunkResult, ChunkError> {
    let parts = match scan.and_then(|scan| scan.parts(data)) {
        Some(parts) => parts,
        None => parts(data)?,
    };
    if parts.records == 0 {
        return Ok(ChunkResult {
            outputs: b"[]".to_vec(),
            summary_output: b"[[]]".to_vec(),
            summary_errors: b"[[]]".to_vec(),
            warnings: b"[]".to_vec(),
            errors: b"[]".to_vec(),
            process_time: b"[]".to_vec(),
            ..ChunkResult::default()
        });
    }
    let layout = prepared.layout();
    let mut summary = Summary::parse(parts.summary, layout, |output| prepared.is_allowed(output));
    let mut remarks = Remarks::default();
    let absent = prepared.options().default_warnings;
    let keys = &prepared.options().unique_record_key;
    let lanes = std::mem::take(&mut scratch.lanes);
    let mut reader = Reader::new(&parts, layout, prepared.names(), keys, absent, lanes, &mut remarks)?;

    let plan =
        if summary.outputs().all(|output| prepared.plan().first.get(output).copied().flatten().is_some()) {
            prepared.plan()
        } else {
            prepared.full_plan()
        };
    // With aggregates only what was asked for by name is wanted of the records (contract 2.6).
    let aggregates_only = summary.is_active() && !summary.return_all_records && !prepared.is_filtered();
    let emitted: &[usize] = if aggregates_only { &[] } else { prepared.selected() };
    let no_outputs = aggregates_only && reader.keys().is_empty();
    for warning in prepared.chunk_warnings() {
        remarks.warnings.warn(0, None, warning);
    }

    let requests = &prepared.options().totals;
    let mut totals = (!requests.is_empty()).then(|| Totals::of_chunk(requests, parts.records));
    let mut columns = std::mem::take(&mut scratch.columns);
    reader.start_columns(&mut columns);
    let mut writer = Writer::new(layout, emitted, parts.form, &reader, no_outputs, parts.records);
    let mut times = Times::default();
    let volatile = prepared.volatile(parts.inputs);
    let mut done = 0_u32;
    let mut started = Instant::now();
    loop {
        if deadline.is_some_and(|deadline| started >= deadline) {
            return Err(ChunkError::Timeout { done, records: parts.records });
        }
        let rows = reader.block(&mut columns, &mut remarks)?;
        if rows == 0 {
            break;
        }
        let run = plan.engine.run(
            &columns,
            rows,
            &volatile,
            u64::from(done),
            deadline,
            &mut scratch.program,
            &mut scratch.outputs,
        );
        run.map_err(|error| match error {
            FallbackError::Timeout => ChunkError::Timeout { done, records: parts.records },
            other => ChunkError::Engine(other),
        })?;
        let found = writer.columns(plan, &scratch.outputs);
        for row in 0..rows {
            let record = done + u32::try_from(row).unwrap_or(0);
            writer.record(&found, &reader, row);
            writer.report(prepared.selected(), plan, &scratch.outputs, row, record, &mut remarks.warnings);
        }
        if summary.is_active() {
            summary.add(rows, |output| plan.columns(layout, output, &scratch.outputs));
        }
        if let Some(totals) = &mut totals {
            totals.add(rows, |request| {
                let output = prepared.totals().get(request).copied().flatten();
                output.map_or(&[][..], |output| plan.columns(layout, output, &scratch.outputs))
            });
        }
        done += u32::try_from(rows).unwrap_or(0);
        let now = Instant::now();
        times.add(rows, now.duration_since(started).as_millis());
        started = now;
    }
    reader.require_keys()?;
    scratch.lanes = reader.into_lanes();
    scratch.columns = columns;

    let mut result =
        ChunkResult { records: parts.records, outputs: writer.finish(), ..ChunkResult::default() };
    summary.write(parts.records, &mut result.summary_output, &mut result.summary_errors);
    remarks.warnings.write(parts.records, &mut result.warnings);
    result.records_failed = remarks.errors.write(parts.records, &mut result.errors);
    result.failed = remarks.errors.records();
    result.compute_time_ms = times.write(&mut result.process_time);
    result.totals = totals.map(|totals| totals.encode());
    Ok(result)
}

/// Writes `outputs` (contract 2.3: the form of the inputs).
struct Writer<'l> {
    layout: &'l Layout,
    emitted: &'l [usize],
    form: Form,
    /// `"key":` for each key, for objects.
    keys: Vec<Vec<u8>>,
    silent: bool,
    out: Vec<u8>,
    /// Outputs of the current record that are errors.
    errors: Vec<(usize, ErrorValue)>,
}

/// An output and its columns of one block.
struct Written<'l, 'c> {
    output: usize,
    slot: &'l OutputSlot,
    columns: &'c [Column],
}

impl<'l> Writer<'l> {
    fn new(
        layout: &'l Layout,
        emitted: &'l [usize],
        form: Form,
        reader: &Reader<'_>,
        silent: bool,
        records: u32,
    ) -> Self {
        let mut out = Vec::new();
        let keys: Vec<Vec<u8>> = reader.keys().iter().map(|key| super::layout::json(key)).collect();
        out.push(b'[');
        if !silent {
            // About what a short number takes, so that most chunks are written without growing the buffer.
            out.reserve(records as usize * (4 + 10 * (emitted.len() + keys.len())).min(4096));
        }
        if form == Form::Rows && !silent {
            out.push(b'[');
            let names =
                emitted.iter().filter_map(|output| layout.outputs.get(*output)).map(|slot| &slot.json_name);
            for (index, name) in keys.iter().chain(names).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
            }
            out.extend_from_slice(b"],");
        }
        Self { layout, emitted, form, keys, silent, out, errors: Vec::new() }
    }

    /// The columns of the outputs that are written, in their order.
    fn columns<'c>(&self, plan: &Plan, columns: &'c [Column]) -> Vec<Written<'l, 'c>>
    where
        'l: 'c,
    {
        let written = |output: &usize| {
            let slot = self.layout.outputs.get(*output)?;
            Some(Written { output: *output, slot, columns: plan.columns(self.layout, *output, columns) })
        };
        self.emitted.iter().filter_map(written).collect()
    }

    /// Appends one record; keeps which of its outputs are errors.
    fn record(&mut self, outputs: &[Written<'_, '_>], reader: &Reader<'_>, row: usize) {
        self.errors.clear();
        if self.silent {
            return;
        }
        let objects = self.form == Form::Objects;
        self.out.push(if objects { b'{' } else { b'[' });
        let start = self.out.len();
        for (index, name) in self.keys.iter().enumerate() {
            if objects {
                self.out.extend_from_slice(name);
                self.out.push(b':');
            }
            self.out.extend_from_slice(reader.key(index, row));
            self.out.push(b',');
        }
        for Written { output, slot, columns } in outputs {
            if objects {
                self.out.extend_from_slice(&slot.json_name);
                self.out.push(b':');
            }
            let error = match columns {
                [column] if !slot.table => write::cell(column, row, &mut self.out),
                columns if slot.table => table(slot, columns, row, &mut self.out),
                _ => None,
            };
            if let Some(error) = error {
                self.errors.push((*output, error));
            }
            self.out.push(b',');
        }
        if self.out.len() > start {
            self.out.pop();
        }
        self.out.extend_from_slice(if objects { b"}," } else { b"]," });
    }

    /// Adds the warning about Excel errors of the record just written, if it has any. Outputs that were selected but not written
    /// (aggregates only) are looked at as well.
    fn report(
        &mut self,
        selected: &[usize],
        plan: &Plan,
        columns: &[Column],
        row: usize,
        record: u32,
        warnings: &mut Notes,
    ) {
        if self.emitted.len() != selected.len() {
            for output in selected {
                for column in plan.columns(self.layout, *output, columns) {
                    if let crate::value::Value::Error(error) = column.get(row) {
                        self.errors.push((*output, error));
                        break;
                    }
                }
            }
        }
        if self.errors.is_empty() {
            return;
        }
        let mut message = String::from("Excel error in the result: ");
        for (index, (output, error)) in self.errors.iter().enumerate() {
            if index > 0 {
                message.push_str(", ");
            }
            message.push_str(self.layout.outputs.get(*output).map_or("", |slot| slot.name.as_str()));
            message.push_str(" (");
            message.push_str(error.as_str());
            message.push(')');
        }
        warnings.warn(record, None, &message);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.out.len() > 1 {
            self.out.pop();
        }
        self.out.push(b']');
        self.out
    }
}

/// Appends a table output: a list of objects, or of lists when the table has no headings. Answers its first error value.
fn table(slot: &OutputSlot, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Option<ErrorValue> {
    let mut first = None;
    out.push(b'[');
    for (line, cells) in columns.chunks(slot.width.max(1)).enumerate() {
        if line > 0 {
            out.push(b',');
        }
        let objects = !slot.json_headings.is_empty();
        out.push(if objects { b'{' } else { b'[' });
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if let Some(heading) = slot.json_headings.get(index) {
                out.extend_from_slice(heading);
            }
            let error = write::cell(cell, row, out);
            first = first.or(error);
        }
        out.push(if objects { b'}' } else { b']' });
    }
    out.push(b']');
    first
}

/// Milliseconds per record, by blocks of equal time.
#[derive(Default)]
struct Times {
    runs: Vec<(usize, u64)>,
}

impl Times {
    fn add(&mut self, rows: usize, milliseconds: u128) {
        let each = u64::try_from(milliseconds / rows.max(1) as u128).unwrap_or(u64::MAX).max(1);
        match self.runs.last_mut() {
            Some((count, time)) if *time == each => *count += rows,
            _ => self.runs.push((rows, each)),
        }
    }

    /// Appends the list; answers its sum.
    fn write(&self, out: &mut Vec<u8>) -> u64 {
        let mut sum = 0;
        out.push(b'[');
        for (index, (count, time)) in self.runs.iter().enumerate() {
            let piece = format!(",{time}");
            if index == 0 {
                out.extend_from_slice(piece.trim_start_matches(',').as_bytes());
                repeat(piece.as_bytes(), count.saturating_sub(1), out);
            } else {
                repeat(piece.as_bytes(), *count, out);
            }
            sum += *count as u64 * time;
        }
        out.push(b']');
        sum
    }
}
