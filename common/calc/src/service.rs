//! Services: loaded once, prepared once per batch, evaluated chunk by chunk.

use std::hash::Hasher;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHasher};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::book::DateSystem;
use crate::chunk::evaluate::{self, Plan};
use crate::chunk::filter::{Filter, split_list};
use crate::chunk::lanes::Lanes;
use crate::chunk::layout::Layout;
use crate::chunk::{ChunkError, ChunkResult, Scan};
use crate::describe::{defaults, first_results, interface, self_test};
use crate::engine::Engine;
use crate::functions::serial;
use crate::interface::{DEFAULT_SUBSERVICE, Interface};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::program::{self, Column, Volatile};
use crate::reference::{Check, Difference, Fallback, Obstacle};
use crate::route::{compare, failed, route};
use crate::totals::TotalRequest;
use crate::validation::Rules;
use crate::{document, validation, workbook};

/// What kind of file a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// An Excel workbook, `.xlsx`.
    Workbook,
    /// A formula document, JSON (see [`crate::document`]).
    FormulaDocument,
}

impl SourceKind {
    /// The kind that the first bytes tell: a zip archive or the old binary format is a workbook, anything else a document.
    pub fn detect(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"PK") || bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
            Self::Workbook
        } else {
            Self::FormulaDocument
        }
    }
}

/// What loading found out, for the uploader.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub source_hash: String,
    /// What the uploader should know: ignored names, odd headings, results that differ from those saved in the workbook.
    pub warnings: Vec<String>,
    /// Functions that the outputs need, sorted.
    pub functions: Vec<String>,
    /// Volatile functions among them: fixed per batch.
    pub volatile_functions: Vec<String>,
    /// Formulas that the outputs need.
    pub formulas_used: u64,
    /// Instructions of the program.
    pub instructions: u64,
    /// Outputs whose computed value differs from the one saved in the workbook (a list, also told in `warnings`).
    pub mismatches: Vec<Mismatch>,
    /// Which engine evaluates the records.
    pub path: Path,
    /// What keeps the service off the fast path, cell by cell (up to a hundred); empty on the fast path.
    pub obstacles: Vec<Obstacle>,
    /// Generated records that were compared with the reference engine at the upload.
    pub checked_records: u64,
    /// Outputs that the reference engine computes differently from some of these records (a list, also told in `warnings`).
    pub differences: Vec<Difference>,
}

/// Which engine evaluates a service's records: all of them the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// A compiled program: fast.
    #[default]
    Compiled,
    /// The reference engine, in a process of its own: hundreds of times slower.
    Fallback,
}

/// What loading may use besides the compiler.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// Where services run whose constructs the compiler does not know; without it they are refused.
    pub fallback: Option<Arc<dyn Fallback>>,
    /// Compares a compiled service with the reference engine: for uploads.
    pub check: Option<Check>,
}

/// An output whose computed value is not the one that the workbook was saved with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mismatch {
    /// The output.
    pub output: String,
    /// The cell.
    pub cell: String,
    /// The saved value, as JSON.
    pub saved: String,
    /// The computed value, as JSON.
    pub computed: String,
}

/// What a caller wants of every chunk of a batch, or of one sync call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Names and patterns of the outputs (contract 2.5); empty for all.
    pub output: Vec<String>,
    /// Subservices (contract 5.3); empty for all.
    pub subservices: Vec<String>,
    /// Columns to copy into the results (contract 2.4). A single entry may be a comma-joined list.
    pub unique_record_key: Vec<String>,
    /// What volatile functions see.
    pub volatile: Volatile,
    /// Warn about every input that a record does not give (sync calls only, contract 2.1).
    pub default_warnings: bool,
    /// Totals to compute beside the records; names that no output has count nothing.
    pub totals: Vec<TotalRequest>,
}

/// A loaded service. Immutable; clones share it.
#[derive(Debug, Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: SourceKind,
    interface: Interface,
    report: Report,
    engine: Engine,
    layout: Layout,
    rules: Rules,
    dates: DateSystem,
}

/// Memory that one thread reuses from chunk to chunk.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) program: program::Scratch,
    pub(crate) outputs: Vec<Column>,
    pub(crate) columns: Vec<Column>,
    pub(crate) lanes: Lanes,
}

impl Service {
    /// Reads and compiles a service; refuses what the compiler does not know.
    ///
    /// # Errors
    ///
    /// Why the file is no service, with the place: see [`LoadError`]. No bytes make this panic or allocate beyond `limits`.
    pub fn load(kind: SourceKind, bytes: &[u8], limits: &Limits) -> Result<Self, LoadError> {
        Self::load_with(kind, bytes, limits, &Engines::default())
    }

    /// Reads and compiles a service; what the compiler does not know goes to the fallback, as a whole.
    ///
    /// # Errors
    ///
    /// As [`Self::load`], and how the fallback failed on the values of the file.
    pub fn load_with(
        kind: SourceKind,
        bytes: &[u8],
        limits: &Limits,
        engines: &Engines,
    ) -> Result<Self, LoadError> {
        let mut source = match kind {
            SourceKind::Workbook => workbook::read(bytes, limits)?,
            SourceKind::FormulaDocument => document::read(bytes, limits)?,
        };
        let mut report = Report {
            source_hash: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            warnings: source.warnings.clone(),
            ..Report::default()
        };
        let engine = route(kind, &source, limits, engines, &mut report)?;
        // Until the service is loaded: its defaults, bounds and saved values are in its own date system.
        let _dates = serial::enter(source.book.dates);
        let defaults = defaults(&source, limits, &mut report);
        let results = first_results(&engine, &defaults).map_err(|error| failed(&report, error))?;
        let rules = validation::build(&mut source, limits, &mut report.warnings);
        let mut interface = interface(&source, &defaults, &results);
        rules.describe(&defaults, &mut interface);
        if kind == SourceKind::Workbook {
            self_test(&source, &results, &mut report);
        }
        compare(&source, &engine, &defaults, limits, engines, &mut report);
        let dates = source.book.dates;
        let layout = Layout::new(&source.inputs, &source.outputs, defaults);
        Ok(Self { inner: Arc::new(Inner { kind, interface, report, engine, layout, rules, dates }) })
    }

    /// What kind of file it came from.
    pub fn kind(&self) -> SourceKind {
        self.inner.kind
    }

    /// Its inputs and outputs.
    pub fn interface(&self) -> &Interface {
        &self.inner.interface
    }

    /// What loading found out.
    pub fn report(&self) -> &Report {
        &self.inner.report
    }

    /// Gets ready for many chunks with the same options. Unknown names in the options only lead to warnings in the results.
    pub fn prepare(&self, options: &Options) -> Prepared {
        let layout = &self.inner.layout;
        let mut warnings = Vec::new();
        let wanted: Vec<String> = options.subservices.iter().flat_map(|list| split_list(list)).collect();
        let wanted = if layout.has_subservices() { wanted } else { Vec::new() };
        let folded: Vec<String> = wanted.iter().map(|name| name.to_lowercase()).collect();
        let is_in = |subservice: Option<&str>| {
            let own = subservice.unwrap_or(DEFAULT_SUBSERVICE).to_lowercase();
            folded.is_empty() || folded.contains(&own)
        };
        for name in &wanted {
            let folded = name.to_lowercase();
            let same = |sub: Option<&str>| sub.unwrap_or(DEFAULT_SUBSERVICE).to_lowercase() == folded;
            if !layout.inputs.iter().any(|slot| same(slot.subservice.as_deref()))
                && !layout.outputs.iter().any(|slot| same(slot.subservice.as_deref()))
            {
                warnings.push(format!("the service has no subservice {name:?}"));
            }
        }
        let filter = Filter::new(&options.output);
        let allowed: Vec<bool> =
            layout.outputs.iter().map(|slot| is_in(slot.subservice.as_deref())).collect();
        let selected = layout.outputs.iter().enumerate().filter(|(index, slot)| {
            allowed.get(*index) == Some(&true)
                && (filter.is_empty()
                    || filter.matches(&slot.name)
                    || (slot.subservice.is_some() && filter.matches(&slot.short)))
        });
        let selected: Vec<usize> = selected.map(|(index, _)| index).collect();
        if selected.is_empty() && !filter.is_empty() {
            warnings.push(format!("no output matches {}", options.output.join(", ")));
        }
        let names = layout.lookup(|slot| is_in(slot.subservice.as_deref()));
        let totals: Vec<Option<usize>> = options
            .totals
            .iter()
            .map(|total| layout.output(&total.output_name, |output| allowed.get(output) == Some(&true)))
            .collect();
        let mut computed: Vec<usize> =
            selected.iter().copied().chain(totals.iter().flatten().copied()).collect();
        computed.sort_unstable();
        computed.dedup();
        let plan = Plan::new(&self.inner.engine, layout, computed.into_iter());
        Prepared {
            inner: self.inner.clone(),
            options: options.clone(),
            names,
            allowed,
            filtered: !filter.is_empty(),
            selected,
            totals,
            warnings,
            plan,
            full_plan: OnceLock::new(),
        }
    }
}

/// A service ready for the chunks of one batch, or for one sync call. Immutable; threads share it.
#[derive(Debug)]
pub struct Prepared {
    inner: Arc<Inner>,
    options: Options,
    /// Names in lower case → input.
    names: FxHashMap<String, usize>,
    /// By output: whether its subservice is asked for.
    allowed: Vec<bool>,
    filtered: bool,
    /// Outputs to answer, in order.
    selected: Vec<usize>,
    /// By total that is asked for: its output.
    totals: Vec<Option<usize>>,
    warnings: Vec<String>,
    plan: Plan,
    /// All outputs, for summaries over outputs that the filter hides.
    full_plan: OnceLock<Plan>,
}

impl Prepared {
    /// Evaluates one chunk: `data` is the bytes of its `data` object.
    ///
    /// The result's parts are JSON as the API answers them. The clock is read once per block, for `process_time` and for the
    /// deadline; it never influences results.
    ///
    /// # Errors
    ///
    /// Only what fails the whole chunk: a wrong shape, a missing key column, the deadline. Errors of single records are in the
    /// result.
    pub fn evaluate(
        &self,
        data: &[u8],
        deadline: Option<Instant>,
        scratch: &mut Scratch,
    ) -> Result<ChunkResult, ChunkError> {
        evaluate::evaluate(self, data, None, deadline, scratch)
    }

    /// [`Self::evaluate`] for data that was scanned before, unchanged since: its shape is not checked again.
    ///
    /// # Errors
    ///
    /// As [`Self::evaluate`].
    pub fn evaluate_scanned(
        &self,
        data: &[u8],
        scan: Option<&Scan>,
        deadline: Option<Instant>,
        scratch: &mut Scratch,
    ) -> Result<ChunkResult, ChunkError> {
        evaluate::evaluate(self, data, scan, deadline, scratch)
    }

    /// The names of the outputs that a record answers, in order, keys aside.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.selected
            .iter()
            .filter_map(|index| self.inner.layout.outputs.get(*index))
            .map(|slot| slot.name.as_str())
    }

    /// Dates count as in the service, in this thread, while the answer lives. Programs see to that themselves.
    pub(crate) fn dates(&self) -> serial::Entered {
        serial::enter(self.inner.dates)
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    pub(crate) fn interface(&self) -> &Interface {
        &self.inner.interface
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) const fn names(&self) -> &FxHashMap<String, usize> {
        &self.names
    }

    pub(crate) fn is_allowed(&self, output: usize) -> bool {
        self.allowed.get(output) == Some(&true)
    }

    pub(crate) const fn is_filtered(&self) -> bool {
        self.filtered
    }

    pub(crate) fn selected(&self) -> &[usize] {
        &self.selected
    }

    pub(crate) fn totals(&self) -> &[Option<usize>] {
        &self.totals
    }

    pub(crate) fn chunk_warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn full_plan(&self) -> &Plan {
        self.full_plan.get_or_init(|| {
            let outputs = 0..self.inner.layout.outputs.len();
            Plan::new(&self.inner.engine, &self.inner.layout, outputs)
        })
    }

    /// What volatile functions see in a chunk with these inputs. Random numbers differ between chunks with different inputs, and
    /// are the same wherever and however often a chunk is computed.
    pub(crate) fn volatile(&self, inputs: &[u8]) -> Volatile {
        let mut volatile = self.options.volatile;
        if !self.inner.report.volatile_functions.is_empty() {
            let mut hasher = FxHasher::default();
            hasher.write(inputs);
            volatile.seed ^= hasher.finish();
        }
        volatile
    }
}
