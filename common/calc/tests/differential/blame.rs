//! Which operation of a formula makes the engines differ.
//!
//! Every operation is evaluated twice on both engines: as it stands in the formula, and with the values that the compiled program
//! gives for the operations in it written in their place. An operation that differs with the same arguments is to blame; one that
//! only differs as it stands must have an argument that differs.

use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Program, Scratch, Volatile};
use millrace_calc::reference::{Block, Definition, Fallback, FallbackError, InProcess};
use millrace_calc::value::Value;

use super::generate::{Case, HOLE, Part, parts};
use super::known::{Argument, equal, fault};

/// What both engines give for formulas and records, formula by formula; `None` where the reference engine refuses the book.
pub fn both(
    case: &Case,
    formulas: &[String],
    records: &[Vec<Value>],
    engine: &InProcess,
) -> Option<Vec<Vec<(Value, Value)>>> {
    let book = case.book_with(formulas);
    let (inputs, outputs) = (case.inputs(), case.outputs(formulas.len()));
    let program = Program::compile(&book, &inputs, &outputs, &Limits::default())
        .unwrap_or_else(|error| panic!("{error} in {formulas:?}"));
    let definition = Definition::new(&book, &inputs, &outputs, &Limits::default()).unwrap();
    let columns: Vec<Column> = (0..super::generate::INPUTS)
        .map(|input| Column::from_values(records.iter().map(|record| record[input].clone()).collect()))
        .collect();
    let volatile = Volatile::default();
    let mut ours = Vec::new();
    program.run(&columns, records.len(), &volatile, 0, &mut Scratch::default(), &mut ours);
    let wanted: Vec<usize> = (0..formulas.len()).collect();
    let block = Block {
        inputs: &columns,
        rows: records.len(),
        volatile: &volatile,
        first_record: 0,
        outputs: &wanted,
    };
    let theirs = engine.load(&definition).and_then(|_| engine.evaluate(&definition, &block, None));
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(FallbackError::Refused(_)) => return None,
        Err(error) => panic!("{error} in {formulas:?}"),
    };
    let column = |(ours, theirs): (&Column, &Column)| {
        (0..records.len()).map(|row| (ours.get(row), theirs.get(row))).collect()
    };
    Some(ours.iter().zip(&theirs).map(column).collect())
}

/// The faults of the reference engine that explain a difference, or the operation that nothing explains.
pub fn explain(
    case: &Case,
    formula: &str,
    record: &[Value],
    engine: &InProcess,
) -> Result<&'static str, String> {
    let parts = parts(formula);
    let single = |formulas: Vec<String>| -> Option<Vec<(Value, Value)>> {
        let all = both(case, &formulas, &[record.to_vec()], engine)?;
        Some(all.into_iter().map(|mut values| values.remove(0)).collect())
    };
    let texts: Vec<String> = (0..parts.len()).map(|i| whole(&parts, i)).collect();
    let refused = || Err("a part of it is refused".to_owned());
    let Some(as_it_stands) = single(texts.clone()) else { return refused() };
    let written = |part: &Part| part.filled(|i| literal(&as_it_stands[i].0));
    let Some(alone) = single(parts.iter().map(written).collect()) else { return refused() };
    // A formula that gives a blank shows 0.
    let shows_blank = |hole: usize| {
        let picks =
            ["IF(", "IFERROR(", "CHOOSE(", "INDEX("].iter().any(|name| parts[hole].text.starts_with(name));
        let blank = record.contains(&Value::Blank) || case.table.iter().flatten().any(|x| *x == Value::Blank);
        picks && blank && as_it_stands[hole].0 == Value::Number(0.0)
    };
    let mut rule = None;
    for (i, part) in parts.iter().enumerate() {
        let told = |(ours, theirs): &(Value, Value), text: &str| {
            Err(format!("{text}: compiled {ours:?}, reference {theirs:?}"))
        };
        let (ours, theirs) = &alone[i];
        if !equal(ours, theirs) {
            let (function, arguments, ranges) = taken_apart(part, &as_it_stands, case, record, |_| false);
            match fault(&function, &arguments, &ranges, ours, theirs) {
                Some(found) => rule = Some(found),
                None => return told(&alone[i], &written(part)),
            }
            continue;
        }
        let (ours, theirs) = &as_it_stands[i];
        if !equal(ours, theirs) && !part.holes.iter().any(|hole| differ(&as_it_stands[*hole])) {
            // The arguments are the same, but for a zero below zero, a blank, or a reference in place of a value.
            let (function, arguments, ranges) = taken_apart(part, &as_it_stands, case, record, shows_blank);
            let own = fault(&function, &arguments, &ranges, ours, theirs);
            match own.or_else(|| picked(&function, part, &parts, &as_it_stands, shows_blank)) {
                Some(found) => rule = Some(found),
                None => return told(&as_it_stands[i], &texts[i]),
            }
        }
    }
    // Nothing but the last digit of compound interest, which text shows and MOD makes the first.
    let interest = |(i, part): (usize, &Part)| {
        let own = ["PMT(", "FV(", "PV("].iter().any(|name| part.text.starts_with(name));
        own && differ(&as_it_stands[i])
    };
    if rule.is_none() && parts.iter().enumerate().any(interest) {
        rule = Some("the last digit of compound interest");
    }
    rule.ok_or_else(|| "no operation of it differs".to_owned())
}

/// A cell that `IF`, `IFERROR`, `CHOOSE` or `INDEX` picks is a reference to the one engine and a value to the other. Functions over
/// ranges pass over its blanks, texts and booleans; what `CHOOSE` picks cannot even be calculated with.
fn picked(
    function: &str,
    part: &Part,
    parts: &[Part],
    values: &[(Value, Value)],
    shows_blank: impl Fn(usize) -> bool,
) -> Option<&'static str> {
    const OVER_RANGES: [&str; 9] =
        ["SUM", "MIN", "MAX", "AVERAGE", "COUNT", "COUNTA", "PRODUCT", "MEDIAN", "COUNTBLANK"];
    let starts = |hole: usize, name: &str| parts[hole].text.starts_with(name);
    let passed_over = |hole: &usize| {
        let picks = ["IF(", "IFERROR(", "CHOOSE(", "INDEX("].iter().any(|name| starts(*hole, name));
        picks && (!matches!(values[*hole].0, Value::Number(_)) || shows_blank(*hole))
    };
    if OVER_RANGES.contains(&function) && part.holes.iter().any(passed_over) {
        return Some("a picked cell in an aggregate");
    }
    part.holes.iter().any(|hole| refers(parts, *hole)).then_some("CHOOSE gives a reference")
}

/// Whether an operation, or one in it, is a `CHOOSE` that may pick a cell.
fn refers(parts: &[Part], i: usize) -> bool {
    let text = &parts[i].text;
    let picks = |choice: &str| choice.trim_end_matches(')').starts_with('A');
    (text.starts_with("CHOOSE(") && text.split(',').skip(1).any(picks))
        || parts[i].holes.iter().any(|hole| refers(parts, *hole))
}

fn whole(parts: &[Part], i: usize) -> String {
    parts[i].filled(|hole| whole(parts, hole))
}

/// Whether two values differ at all, be it in the last digit.
fn differ((a, b): &(Value, Value)) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.to_bits() != b.to_bits(),
        (a, b) => a != b,
    }
}

/// A value as a formula says it.
fn literal(value: &Value) -> String {
    match value {
        Value::Number(x) if *x < 0.0 => format!("(-{:E})", -x),
        Value::Number(x) => format!("{x:E}"),
        Value::Text(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        Value::Boolean(true) => "TRUE".to_owned(),
        Value::Boolean(false) => "FALSE".to_owned(),
        Value::Error(e) => e.as_str().to_owned(),
        // A formula never shows a blank.
        Value::Blank => "0".to_owned(),
    }
}

/// The function of an operation, its arguments that are single values, and the values of its ranges.
fn taken_apart<'v>(
    part: &Part,
    values: &[(Value, Value)],
    case: &'v Case,
    record: &'v [Value],
    shows_blank: impl Fn(usize) -> bool,
) -> (String, Vec<Argument>, Vec<&'v Value>) {
    let text = part.text.as_str();
    let (function, inside) = match text.find('(') {
        Some(0) if text.contains("&\"|\"&") => ("&", text.trim_matches(['(', ')'])),
        Some(open) => (&text[..open], text[open + 1..].trim_end_matches(')')),
        None => ("", text),
    };
    let (mut arguments, mut ranges) = (Vec::new(), Vec::new());
    let mut holes = part.holes.iter();
    for piece in inside.split([',', '&']) {
        if piece.contains(HOLE) {
            let hole = holes.next().copied().unwrap_or_default();
            let value = if shows_blank(hole) { Value::Blank } else { values[hole].0.clone() };
            arguments.push(Argument { value, cell: false });
        } else if piece.contains(':') {
            if piece.starts_with('A') {
                ranges.extend(record);
            } else {
                ranges.extend(case.table.iter().flatten());
            }
        } else if let Some(input) = piece.strip_prefix('A').and_then(|row| row.parse::<usize>().ok()) {
            arguments.push(Argument { value: record[input - 1].clone(), cell: true });
        } else {
            let value = match piece.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                Some(text) => Value::from(text),
                None => match piece {
                    "TRUE" => Value::Boolean(true),
                    "FALSE" => Value::Boolean(false),
                    number => number.trim_end_matches('%').parse::<f64>().map_or(Value::Blank, Value::from),
                },
            };
            arguments.push(Argument { value, cell: false });
        }
    }
    (function.to_owned(), arguments, ranges)
}
