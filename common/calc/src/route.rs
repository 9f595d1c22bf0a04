//! Which engine a service goes to, and what keeps it off the fast path.

use std::sync::Arc;

use crate::book::{DateSystem, Range};
use crate::describe::{DATE_FUNCTIONS, explain};
use crate::engine::{Engine, Routed};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::program::{CompileError, CompileErrorKind, Program};
use crate::reference::{self, Definition, FallbackError, Obstacle, Summary};
use crate::service::{Engines, Path, Report, SourceKind};
use crate::source::{Source, SourceField};
use crate::value::Value;

/// Functions of the reference engine whose results depend on the date system, besides [`DATE_FUNCTIONS`].
const MORE_DATE_FUNCTIONS: [&str; 32] = [
    "ACCRINT",
    "ACCRINTM",
    "AMORDEGRC",
    "AMORLINC",
    "CELL",
    "COUPDAYBS",
    "COUPDAYS",
    "COUPDAYSNC",
    "COUPNCD",
    "COUPNUM",
    "COUPPCD",
    "DISC",
    "DURATION",
    "FORECAST.ETS",
    "INTRATE",
    "MDURATION",
    "MINUTE",
    "ODDFPRICE",
    "ODDFYIELD",
    "ODDLPRICE",
    "ODDLYIELD",
    "PRICE",
    "PRICEDISC",
    "PRICEMAT",
    "RECEIVED",
    "SECOND",
    "TBILLEQ",
    "TBILLPRICE",
    "TBILLYIELD",
    "YIELD",
    "YIELDDISC",
    "YIELDMAT",
];

/// Compiles a source; what the compiler does not know goes to the fallback. Writes the ways and obstacles into the report.
pub(crate) fn route(
    kind: SourceKind,
    source: &Source,
    limits: &Limits,
    engines: &Engines,
    report: &mut Report,
) -> Result<Engine, LoadError> {
    let (inputs, outputs) = areas(source);
    let obstacles = match Program::compile_or_obstacles(&source.book, &inputs, &outputs, limits) {
        Ok(program) => {
            let used = program.report();
            report.functions.clone_from(&used.functions);
            report.volatile_functions.clone_from(&used.volatile_functions);
            report.formulas_used = used.formulas as u64;
            report.instructions = used.instructions as u64;
            return Ok(Engine::Program(program));
        }
        Err(obstacles) => obstacles,
    };
    let refused = |obstacles: Vec<CompileError>| {
        let first = obstacles.into_iter().next();
        let first = first.unwrap_or_else(|| CompileError {
            place: "the workbook".to_owned(),
            kind: CompileErrorKind::Unsupported("an unknown construct".to_owned()),
        });
        explain(kind, first, source)
    };
    let hopeless = obstacles.iter().position(|obstacle| hopeless(&obstacle.kind));
    let Some(fallback) = engines.fallback.as_ref().filter(|_| hopeless.is_none()) else {
        return Err(refused(obstacles.into_iter().skip(hopeless.unwrap_or(0)).collect()));
    };
    report.path = Path::Fallback;
    report.obstacles = obstacles
        .iter()
        .map(|obstacle| {
            let told = explain(kind, obstacle.clone(), source);
            let place = match &told {
                LoadError::Document { path, .. } => path.clone(),
                _ => obstacle.place.clone(),
            };
            Obstacle { message: without_place(&told.to_string(), &place), place }
        })
        .collect();
    if let Some(first) = report.obstacles.first() {
        let others = match report.obstacles.len() - 1 {
            0 => String::new(),
            others => format!(", and of {others} more"),
        };
        report.warnings.push(format!(
            "evaluated by the fallback engine, hundreds of times slower than a compiled program, because of {}: {}{others}",
            first.place, first.message
        ));
    }
    let definition = Definition::new(&source.book, &inputs, &outputs, limits);
    let definition = definition.map_err(|error| failed(report, error))?;
    let Summary { functions, volatile_functions, formulas } = match fallback.load(&definition) {
        Ok(summary) => summary,
        Err(FallbackError::Refused(obstacle)) => {
            let kind_of = CompileErrorKind::Fallback(obstacle.message);
            return Err(explain(kind, CompileError { place: obstacle.place, kind: kind_of }, source));
        }
        Err(error) => return Err(failed(report, error)),
    };
    report.functions = functions;
    report.volatile_functions = volatile_functions;
    report.formulas_used = formulas;
    refuse_1904(source, report)?;
    let cells = |range: &Range| range.rows() as usize * range.columns() as usize;
    let wanted: Arc<[usize]> = (0..outputs.iter().map(cells).sum()).collect();
    Ok(Engine::Fallback(Routed { fallback: Arc::clone(fallback), definition, outputs: wanted }))
}

fn areas(source: &Source) -> (Vec<Range>, Vec<Range>) {
    let cells = |fields: &[SourceField]| fields.iter().map(|field| field.cells).collect::<Vec<_>>();
    (cells(&source.inputs), cells(&source.outputs))
}

/// What the reference engine cannot calculate either, or must not be given.
const fn hopeless(kind: &CompileErrorKind) -> bool {
    matches!(
        kind,
        CompileErrorKind::Circular(_)
            | CompileErrorKind::ExternalReference(_)
            | CompileErrorKind::TooLong { .. }
            | CompileErrorKind::TooDeep { .. }
            | CompileErrorKind::TooLarge { .. }
            | CompileErrorKind::ArgumentCount { .. }
            | CompileErrorKind::Syntax(_)
    )
}

fn without_place(text: &str, place: &str) -> String {
    text.strip_prefix(place).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text).to_owned()
}

/// The fallback's failure in the words of an upload.
pub(crate) fn failed(report: &Report, error: FallbackError) -> LoadError {
    let first = report.obstacles.first().cloned().unwrap_or_default();
    LoadError::Fallback { place: first.place, construct: first.message, error }
}

/// The reference engine knows the 1900 date system only.
fn refuse_1904(source: &Source, report: &Report) -> Result<(), LoadError> {
    if source.book.dates == DateSystem::From1900 {
        return Ok(());
    }
    let is_date = |name: &&str| {
        DATE_FUNCTIONS.contains(name)
            || MORE_DATE_FUNCTIONS.contains(name)
            || name.starts_with("FORECAST.ETS")
    };
    let dates: Vec<&str> = report.functions.iter().map(String::as_str).filter(is_date).collect();
    if dates.is_empty() { Ok(()) } else { Err(LoadError::Date1904(dates.join(", "))) }
}

/// The upload check of a compiled service, if it is asked for.
pub(crate) fn compare(
    source: &Source,
    engine: &Engine,
    defaults: &[Value],
    limits: &Limits,
    engines: &Engines,
    report: &mut Report,
) {
    let (Some(check), Some(fallback), Engine::Program(program)) = (engines.check, &engines.fallback, engine)
    else {
        return;
    };
    // Nothing to compare where the two differ by nature: random numbers.
    // And dates from 1904, which the reference engine does not know.
    if source.book.dates != DateSystem::From1900 {
        return;
    }
    if check.records == 0 || check.budget.is_zero() || !report.volatile_functions.is_empty() {
        return;
    }
    let (inputs, outputs) = areas(source);
    let Ok(definition) = Definition::new(&source.book, &inputs, &outputs, limits) else { return };
    let checked = reference::check(source, program, &definition, fallback, defaults, check);
    report.checked_records = checked.records;
    report.warnings.extend(checked.differences.iter().map(ToString::to_string));
    report.differences = checked.differences;
}
