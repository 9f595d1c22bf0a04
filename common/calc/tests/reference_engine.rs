//! The reference engine on books: what it computes, what it refuses, and how names, tables, texts and times reach it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::LazyLock;

use millrace_calc::book::{ArrayFormula, Book, Cell, DefinedName, Range, Sheet, Table};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Volatile};
use millrace_calc::reference::{Block, Definition, Fallback, FallbackError, InProcess, Summary};
use millrace_calc::value::{ErrorValue, Value};

static ENGINE: LazyLock<InProcess> = LazyLock::new(|| InProcess::start().unwrap());

/// A book whose inputs are A1… and whose outputs are B1… of the first sheet.
#[derive(Default)]
struct Case {
    book: Book,
    inputs: u32,
    outputs: u32,
}

fn line(column: u32, count: u32) -> Range {
    Range { sheet: 0, first_row: 0, first_column: column, last_row: count - 1, last_column: column }
}

impl Case {
    fn new(inputs: u32, formulas: &[&str]) -> Self {
        let mut case = Self { inputs, outputs: u32::try_from(formulas.len()).unwrap(), ..Self::default() };
        case.book.sheets.push(Sheet { name: "Main".into(), ..Sheet::default() });
        for (formula, row) in formulas.iter().zip(0..) {
            case.formula(0, row, 1, formula);
        }
        case
    }

    fn sheet(mut self, name: &str) -> Self {
        self.book.sheets.push(Sheet { name: name.into(), ..Sheet::default() });
        self
    }

    fn formula(&mut self, sheet: usize, row: u32, column: u32, text: &str) {
        let cell = Cell { value: Value::Blank, formula: Some(text.into()) };
        self.book.sheets[sheet].cells.insert((row, column), cell);
    }

    fn put(mut self, sheet: usize, row: u32, column: u32, value: impl Into<Value>) -> Self {
        self.book.sheets[sheet].cells.insert((row, column), Cell { value: value.into(), formula: None });
        self
    }

    fn name(mut self, name: &str, definition: &str) -> Self {
        self.book.names.push(DefinedName {
            name: name.into(),
            definition: definition.into(),
            ..DefinedName::default()
        });
        self
    }

    fn definition(&self) -> Definition {
        let inputs = if self.inputs == 0 { Vec::new() } else { vec![line(0, self.inputs)] };
        Definition::new(&self.book, &inputs, &[line(1, self.outputs)], &Limits::default()).unwrap()
    }

    fn load(&self) -> Result<Summary, FallbackError> {
        ENGINE.load(&self.definition())
    }

    fn refused(&self) -> String {
        match self.load() {
            Err(FallbackError::Refused(obstacle)) => format!("{}: {}", obstacle.place, obstacle.message),
            other => panic!("{other:?}"),
        }
    }

    /// The outputs of each record.
    fn run(&self, records: &[&[Value]]) -> Vec<Vec<Value>> {
        self.run_at(records, &Volatile::default(), 0)
    }

    fn run_at(&self, records: &[&[Value]], volatile: &Volatile, first_record: u64) -> Vec<Vec<Value>> {
        self.load().unwrap();
        let inputs: Vec<Column> = (0..self.inputs as usize)
            .map(|input| Column::from_values(records.iter().map(|record| record[input].clone()).collect()))
            .collect();
        let outputs: Vec<usize> = (0..self.outputs as usize).collect();
        let block = Block { inputs: &inputs, rows: records.len(), volatile, first_record, outputs: &outputs };
        let columns = ENGINE.evaluate(&self.definition(), &block, None).unwrap();
        (0..records.len()).map(|row| columns.iter().map(|column| column.get(row)).collect()).collect()
    }

    /// The first output of a single record.
    fn one(&self, record: &[Value]) -> Value {
        self.run(&[record]).remove(0).remove(0)
    }
}

fn number(x: f64) -> Value {
    Value::from(x)
}

fn text(text: &str) -> Value {
    Value::from(text)
}

#[test]
fn inputs_reach_formulas_and_results_come_back() {
    let case = Case::new(2, &["ROUND(A1*A2,2)", "A1>A2", "A1&\"-\"&A2"]);
    let rows = case.run(&[&[number(2.5), number(3.0)], &[number(-1.0), number(0.125)]]);
    assert_eq!(rows[0], [number(7.5), Value::Boolean(false), text("2.5-3")]);
    assert_eq!(rows[1], [number(-0.13), Value::Boolean(false), text("-1-0.125")]);
}

#[test]
fn values_keep_their_types() {
    let case = Case::new(1, &["ISTEXT(A1)", "ISNUMBER(A1)", "ISLOGICAL(A1)", "ISBLANK(A1)", "A1&\"\""]);
    let flag = |which: usize| (0..4).map(|i| Value::Boolean(i == which)).collect::<Vec<_>>();
    for shown in ["5", "=1+1", "TRUE", "#N/A", "'x", " 1", "1E5", "2026-01-31", "50%", "$5", ""] {
        let row = case.run(&[&[text(shown)]]).remove(0);
        assert_eq!(row[..4], flag(0), "{shown}");
        assert_eq!(row[4], text(shown), "{shown}");
    }
    assert_eq!(case.run(&[&[number(5.0)]])[0][..4], flag(1));
    assert_eq!(case.run(&[&[Value::Boolean(true)]])[0][..4], flag(2));
    assert_eq!(case.run(&[&[Value::Blank]])[0][..4], flag(3));
    let error = case.run(&[&[ErrorValue::NA.into()]]).remove(0);
    assert_eq!(error[4], ErrorValue::NA.into());
}

#[test]
fn one_record_leaves_nothing_behind_for_the_next() {
    let case = Case::new(2, &["IF(ISBLANK(A1),\"none\",A1)", "COUNTA(A1:A2)"]);
    let records: [&[Value]; 5] = [
        &[text("x"), number(1.0)],
        &[Value::Blank, Value::Blank],
        &[number(2.0), text("y")],
        &[Value::Boolean(false), Value::Blank],
        &[text("z"), text("z")],
    ];
    let rows = case.run(&records);
    let shown: Vec<Value> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(shown, [text("x"), text("none"), number(2.0), Value::Boolean(false), text("z")]);
    let counted: Vec<Value> = rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(counted, [2.0, 0.0, 2.0, 1.0, 2.0].map(number));
}

#[test]
fn names_may_be_references_constants_and_expressions() {
    let mut case =
        Case::new(2, &["price*quantity*(1+rate)", "-margin^2", "SUM(area)*factor", "INDEX(list,2)"])
            .name("price", "Main!$A$1")
            .name("quantity", "Main!$A$2")
            .name("rate", "0.25")
            .name("margin", "price-quantity")
            .name("area", "OFFSET(Main!$A$1,0,0,2,1)")
            .name("factor", "=rate*4")
            .name("list", "{10,20,30}");
    case.book.names[2].name = "RATE".into();
    assert_eq!(
        case.run(&[&[number(10.0), number(4.0)]])[0],
        [number(50.0), number(36.0), number(14.0), number(20.0)]
    );
    let looping = Case::new(0, &["a"]).name("a", "b+1").name("b", "a+1");
    assert!(looping.refused().contains("circular reference"), "{}", looping.refused());
}

#[test]
fn comparisons_keep_their_brackets() {
    let case = Case::new(2, &["(A1=A2)&\"x\"", "(A1&A2)=\"12\"", "A1-(A2-1)", "(A1<A2)+1", "-(A1+A2)%"]);
    assert_eq!(
        case.run(&[&[number(1.0), number(2.0)]])[0],
        [text("FALSEx"), Value::Boolean(true), number(0.0), number(2.0), number(-0.03)]
    );
}

#[test]
fn tables_and_structured_references_resolve() {
    let mut case = Case::new(1, &["SUM(Rates[rate])", "VLOOKUP(A1,Rates,2,FALSE)", "ROWS(Rates[#All])"])
        .sheet("Data")
        .put(1, 0, 0, "age")
        .put(1, 0, 1, "rate")
        .put(1, 1, 0, 18.0)
        .put(1, 1, 1, 0.5)
        .put(1, 2, 0, 40.0)
        .put(1, 2, 1, 0.25);
    case.book.tables.push(Table {
        name: "Rates".into(),
        range: Range { sheet: 1, first_row: 0, first_column: 0, last_row: 2, last_column: 1 },
        columns: vec!["age".into(), "rate".into()],
        header_rows: 1,
        totals_rows: 0,
    });
    assert_eq!(case.run(&[&[number(40.0)]])[0], [number(0.75), number(0.25), number(3.0)]);
}

#[test]
fn what_only_this_engine_knows_is_computed() {
    let case = Case::new(
        2,
        &[
            "LAMBDA(x,y,x*y+1)(A1,A2)",
            "SUM(MAP(A1:A2,LAMBDA(v,v*10)))",
            "REDUCE(0,A1:A2,LAMBDA(sum,v,sum+v))",
            "double(A1)",
            "INDIRECT(\"A\"&A2)",
            "SUM(OFFSET(A1,0,0,A2,1))",
            "INDEX(SORT(A1:A2,1,-1),2)",
            "LET(a,A1,b,a+A2,b*b)",
        ],
    )
    .name("double", "LAMBDA(n,n*2)");
    assert_eq!(
        case.run(&[&[number(3.0), number(2.0)]])[0],
        [
            number(7.0),
            number(50.0),
            number(5.0),
            number(6.0),
            number(2.0),
            number(5.0),
            number(2.0),
            number(25.0)
        ]
    );
    let summary = case.load().unwrap();
    assert!(summary.functions.contains(&"OFFSET".to_owned()), "{:?}", summary.functions);
    assert_eq!(summary.formulas, 8);
}

#[test]
fn plain_formulas_intersect_and_array_formulas_fill() {
    let mut case = Case::new(3, &["A1:A3*2", "A1:A3*2", "SUM(D1:D3)", "F1&F2&F3&F4", "SUM(E1#)"]);
    case.book.arrays.push(ArrayFormula {
        area: Range { sheet: 0, first_row: 0, first_column: 3, last_row: 2, last_column: 3 },
        formula: "A1:A3+1".into(),
        dynamic: false,
    });
    for (column, formula) in [(4, "SEQUENCE(A1)"), (5, "FILTER(A1:A3,A1:A3>1,0)")] {
        case.book.arrays.push(ArrayFormula {
            area: Range { sheet: 0, first_row: 0, first_column: column, last_row: 2, last_column: column },
            formula: formula.into(),
            dynamic: true,
        });
    }
    let rows = case.run(&[
        &[number(2.0), number(1.0), number(5.0)],
        &[number(4.0), number(0.0), number(0.0)],
        &[number(2.0), number(3.0), number(4.0)],
    ]);
    assert_eq!(rows[0], [number(4.0), number(2.0), number(11.0), text("25"), number(3.0)]);
    assert_eq!(rows[1], [number(8.0), number(0.0), number(7.0), text("4"), number(10.0)]);
    assert_eq!(rows[2], [number(4.0), number(6.0), number(12.0), text("234"), number(3.0)]);
}

#[test]
fn volatile_functions_see_the_batch() {
    let case = Case::new(1, &["NOW()", "TODAY()", "RAND()+RAND()*0", "A1+NOW()-TODAY()"]);
    let volatile = Volatile { now: 45_000.25, seed: 7 };
    let rows = case.run_at(&[&[number(1.0)], &[number(1.0)]], &volatile, 10);
    assert_eq!(rows[0][..2], [number(45_000.25), number(45_000.0)]);
    assert_eq!(rows[0][3], number(1.25));
    assert_ne!(rows[0][2], rows[1][2], "each record has its own number");
    assert_eq!(case.run_at(&[&[number(1.0)]], &volatile, 11)[0], rows[1], "and keeps it");
    assert_eq!(case.load().unwrap().volatile_functions, ["NOW", "RAND", "TODAY"]);
    assert!(Case::new(0, &["RANDBETWEEN(1,6)"]).refused().contains("RANDBETWEEN"));
}

#[test]
fn refusals_name_cell_and_construct() {
    let case = |formula: &str| Case::new(1, &[formula]).sheet("Other").name("n", "Main!$A$1").refused();
    for (formula, part) in [
        ("FOO(A1)", "Main!B1: the function FOO is not supported"),
        ("SUM((A1,A1))", "a union of references"),
        ("SUM(A1:A3 A1:B1)", "an intersection of references"),
        ("SUM(Main:Other!A1)", "a reference over several sheets"),
        ("[1]Sheet1!A1+1", "another workbook"),
        ("B1+1", "circular"),
        ("Main!n+1", "qualified with a sheet"),
        ("LET(n,1,n+1)", "bound here again"),
        ("MILLRACE.REFUSED()", "MILLRACE.REFUSED is not supported"),
        ("1+", "cannot be read"),
        ("SIN(1,2,3)", "cannot be calculated"),
    ] {
        let refused = case(formula);
        assert!(refused.starts_with("Main!B1: ") && refused.contains(part), "{formula}: {refused}");
    }
    let deep = format!("{}1{}", "(".repeat(70), ")".repeat(70));
    assert!(case(&deep).contains("nests deeper"));
    assert!(case(&format!("1{}", "+1".repeat(5000))).contains("characters"));
}

#[test]
fn only_what_the_outputs_need_can_be_in_the_way() {
    let mut case = Case::new(1, &["A1+C1"]).put(0, 0, 2, 5.0);
    case.formula(0, 9, 9, "FOO(1)");
    assert_eq!(case.one(&[number(1.0)]), number(6.0));
    assert_eq!(case.load().unwrap().formulas, 1);
    case.formula(0, 0, 1, "INDIRECT(\"C\"&A1)");
    assert!(case.refused().contains("Main!J10: the function FOO"), "{}", case.refused());
}

#[test]
fn long_chains_do_not_use_up_the_stack() {
    let mut case = Case::new(1, &["C20000"]);
    case.formula(0, 0, 2, "A1");
    for row in 1..20_000 {
        case.formula(0, row, 2, &format!("C{row}+1"));
    }
    assert_eq!(case.one(&[number(1.0)]), number(20_000.0));
}
