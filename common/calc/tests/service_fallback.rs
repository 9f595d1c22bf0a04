//! Services on the fallback: the way they take, what is told about it, and answers of the same shape.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use millrace_calc::chunk::ChunkError;
use millrace_calc::limits::Limits;
use millrace_calc::load::LoadError;
use millrace_calc::program::{Column, Volatile};
use millrace_calc::reference::{
    Block, Check, Definition, Fallback, FallbackError, InProcess, Obstacle, Summary,
};
use millrace_calc::service::{Engines, Options, Path, Scratch, Service, SourceKind};
use millrace_calc::value::Value as Cell;
use rust_xlsxwriter::{Formula, Workbook};
use serde_json::{Value, json};
use support::{answer, filtered, keyed, outputs, sales};

static ENGINE: LazyLock<Arc<InProcess>> = LazyLock::new(|| Arc::new(InProcess::start().unwrap()));

fn engines() -> Engines {
    Engines { fallback: Some(ENGINE.clone()), check: None }
}

fn load_document(json: &Value, engines: &Engines) -> Result<Service, LoadError> {
    Service::load_with(SourceKind::FormulaDocument, json.to_string().as_bytes(), &Limits::default(), engines)
}

fn load_workbook(book: &mut Workbook) -> Result<Service, LoadError> {
    let bytes = book.save_to_buffer().unwrap();
    Service::load_with(SourceKind::Workbook, &bytes, &Limits::default(), &engines())
}

/// The sales example with a construct that only the fallback knows.
fn slow_sales() -> Service {
    let document = json!({
        "inputs": [
            {"name": "price", "type": "number", "default": 20},
            {"name": "quantity", "type": "number", "default": 65},
            {"name": "tax", "type": "number", "default": 0.1}
        ],
        "outputs": [{"name": "total", "formula": "LAMBDA(p,q,t,ROUND(p*q*(1+t),2))(price,quantity,tax)"}]
    });
    load_document(&document, &engines()).unwrap()
}

#[test]
fn answers_have_the_shapes_of_compiled_services() {
    let (fast, slow) = (sales(), slow_sales());
    assert_eq!((fast.report().path, slow.report().path), (Path::Compiled, Path::Fallback));
    let many: Vec<Value> = (0..300).map(|i| json!([i, i % 7, f64::from(i % 3) / 10.0])).collect();
    let rows = |rows: &[Value]| {
        let mut list = vec![json!(["price", "quantity", "tax"])];
        list.extend_from_slice(rows);
        json!({"inputs": list})
    };
    for data in [
        rows(&[json!([20, 65, 0.1]), json!(["x", 1, 0]), json!([null, 3, 0.5]), json!(["12.5", 2, 0])]),
        json!({"inputs": [{"price": 10, "quantity": 3}, {}]}),
        json!({"inputs": [["id", "price"], ["a", 1], ["b", true]], "parameters": {"tax": 1},
               "summary": {"ignore_error": true, "aggregation": [{"output_name": "total", "operator": "SUM"}]}}),
        rows(&many),
        json!({"inputs": [["price"]]}),
    ] {
        for options in [Options::default(), filtered(&["tot*"])] {
            let times = |mut answer: Value| {
                answer.as_object_mut().unwrap().remove("process_time");
                answer
            };
            let fast = times(answer(&fast, &options, &data));
            assert_eq!(fast, times(answer(&slow, &options, &data)), "{data}");
        }
    }
    let keys = keyed(&["id"]);
    let data = json!({"inputs": [["id", "price"], ["a", 1], ["b", 2]]});
    assert_eq!(answer(&fast, &keys, &data)["outputs"], answer(&slow, &keys, &data)["outputs"]);
}

#[test]
fn the_interface_shows_what_the_fallback_computes() {
    let (fast, slow) = (sales(), slow_sales());
    assert_eq!(json!(fast.interface().outputs), json!(slow.interface().outputs));
    assert_eq!(slow.report().functions, ["ROUND"]);
}

#[test]
fn every_obstacle_is_told_with_its_place() {
    let document = json!({
        "inputs": [{"name": "x", "type": "number", "default": 2}],
        "formulas": [{"name": "middle", "formula": "REDUCE(0,{1,2},LAMBDA(a,b,a+b))*x"}],
        "outputs": [
            {"name": "first", "formula": "middle+1"},
            {"name": "second", "formula": "SUM(MAP({1,2,3},LAMBDA(v,v*x)))"},
            {"name": "fine", "formula": "x*2"},
            {"name": "third", "formula": "BESSELJ(x,1)"}
        ]
    });
    let service = load_document(&document, &engines()).unwrap();
    let report = service.report();
    assert_eq!(report.path, Path::Fallback);
    let places: Vec<&str> = report.obstacles.iter().map(|obstacle| obstacle.place.as_str()).collect();
    assert_eq!(places, ["formulas[0].formula", "outputs[1].formula", "outputs[3].formula"]);
    assert!(report.obstacles[2].message.contains("BESSELJ"), "{:?}", report.obstacles[2]);
    assert!(report.warnings[0].contains("and of 2 more"), "{:?}", report.warnings);
    let result = outputs(&service, json!({"inputs": [["x"], [2]]}));
    assert_eq!(result[1].as_array().unwrap()[..3], [json!(7.0), json!(12.0), json!(4.0)]);
    // Without a fallback the first of them refuses the file.
    let refused = load_document(&document, &Engines::default()).unwrap_err().to_string();
    assert!(refused.starts_with("formulas[0].formula: "), "{refused}");
}

#[test]
fn obstacles_are_bounded() {
    let formulas: Vec<Value> =
        (0..300).map(|i| json!({"name": format!("out_{i}"), "formula": format!("NOSUCH{i}(x)")})).collect();
    let document = json!({"inputs": [{"name": "x", "type": "number"}], "outputs": formulas});
    let refused = load_document(&document, &engines()).unwrap_err().to_string();
    assert!(refused.contains("NOSUCH") && refused.contains("is not supported"), "{refused}");
}

#[test]
fn what_both_engines_refuse_is_refused_with_the_place() {
    for (formula, part) in [
        ("NOSUCH(x)", "the function NOSUCH is not supported"),
        ("out+1", "circular reference"),
        ("MAP({1},LAMBDA(v,v))+NOSUCH(1)", "NOSUCH"),
        ("LAMBDA(x,x)(1)", "is bound here again"),
    ] {
        let document = json!({
            "inputs": [{"name": "x", "type": "number"}],
            "outputs": [{"name": "out", "formula": formula}]
        });
        let refused = load_document(&document, &engines()).unwrap_err().to_string();
        assert!(
            refused.starts_with("outputs[0].formula: ") && refused.contains(part),
            "{formula}: {refused}"
        );
    }
}

fn array_book(write: impl FnOnce(&mut rust_xlsxwriter::Worksheet)) -> Workbook {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for row in 0..3 {
        sheet.write(row, 0, f64::from(row) + 1.0).unwrap();
    }
    write(sheet);
    for (name, cell) in [("Xinput_a", "$A$1"), ("Xinput_b", "$A$2"), ("Xoutput_out", "$D$1")] {
        book.define_name(name, &format!("=Sheet1!{cell}")).unwrap();
    }
    book
}

#[test]
fn array_formulas_of_workbooks_are_computed() {
    let mut fixed = array_book(|sheet| {
        sheet.write_array_formula(0, 1, 2, 1, Formula::new("{=A1:A3*2}").set_result("2")).unwrap();
        sheet.write_formula(0, 3, Formula::new("=SUM(B1:B3)").set_result("2")).unwrap();
    });
    let mut single = array_book(|sheet| {
        sheet
            .write_array_formula(0, 3, 0, 3, Formula::new("{=SUM((A1:A3>1)*A1:A3)}").set_result("5"))
            .unwrap();
    });
    let mut dynamic = array_book(|sheet| {
        sheet.write_dynamic_formula(0, 1, Formula::new("=SEQUENCE(A1)").set_result("1")).unwrap();
        sheet.write_formula(0, 3, Formula::new("=SUM(B1:B9)").set_result("1")).unwrap();
    });
    // The size of the dynamic array depends on the input.
    for (book, path, expected) in [
        (&mut fixed, Path::Compiled, [12.0, 30.0]),
        (&mut single, Path::Compiled, [5.0, 15.0]),
        (&mut dynamic, Path::Fallback, [1.0, 15.0]),
    ] {
        let service = load_workbook(book).unwrap();
        let result = outputs(&service, json!({"inputs": [["a", "b"], [1, 2], [5, 7]]}));
        assert_eq!(result, json!([["out"], [expected[0]], [expected[1]]]));
        assert_eq!(service.report().path, path);
        let told: Vec<_> =
            service.report().obstacles.iter().map(|told| (&*told.place, &*told.message)).collect();
        match path {
            Path::Compiled => assert_eq!(told, []),
            Path::Fallback => {
                assert!(told[0].0 == "Sheet1!B1" && told[0].1.contains("array formula"), "{told:?}")
            }
        }
    }
}

#[test]
fn the_saved_values_are_compared_with_the_fallback_too() {
    let mut book = array_book(|sheet| {
        sheet
            .write_formula(
                0,
                3,
                Formula::new("=_xlfn.REDUCE(0,A1:A3,_xlfn.LAMBDA(_xlpm.a,_xlpm.b,_xlpm.a+_xlpm.b))")
                    .set_result("7"),
            )
            .unwrap();
    });
    let service = load_workbook(&mut book).unwrap();
    assert_eq!(service.report().path, Path::Fallback);
    assert_eq!(service.report().mismatches.len(), 1, "{:?}", service.report().warnings);
}

/// A fallback that answers what it is told to.
#[derive(Debug)]
struct Fake(Result<f64, FallbackError>);

impl Fallback for Fake {
    fn load(&self, _definition: &Definition) -> Result<Summary, FallbackError> {
        Ok(Summary::default())
    }

    fn evaluate(
        &self,
        _definition: &Definition,
        block: &Block<'_>,
        _deadline: Option<Instant>,
    ) -> Result<Vec<Column>, FallbackError> {
        // The first call is the load's, with the defaults.
        if block.rows == 1 && matches!(block.inputs[0], Column::Constant(_)) {
            return Ok(vec![Column::Constant(Cell::from(0.0)); block.outputs.len()]);
        }
        self.0.clone().map(|x| vec![Column::Constant(Cell::from(x)); block.outputs.len()])
    }
}

fn fake(answer: Result<f64, FallbackError>, check: Option<Check>) -> Engines {
    Engines { fallback: Some(Arc::new(Fake(answer))), check }
}

fn lambda() -> Value {
    json!({
        "inputs": [{"name": "x", "type": "number", "default": 1}],
        "outputs": [{"name": "out", "formula": "MAP(x,LAMBDA(v,v))"}]
    })
}

#[test]
fn failures_of_the_fallback_are_failures_of_the_chunk() {
    for (error, kind, part) in [
        (FallbackError::Timeout, "error.TIMEOUT", "stopped after 0 of 2 records"),
        (FallbackError::Memory { megabytes: 64 }, "error.MEMORY", "64 MB"),
        (FallbackError::Recursion, "error.ENGINE", "nests without end"),
        (FallbackError::Crashed("it died of signal 11".into()), "error.ENGINE", "signal 11"),
    ] {
        let service = load_document(&lambda(), &fake(Err(error), None)).unwrap();
        let failed = service
            .prepare(&Options::default())
            .evaluate(br#"{"inputs":[["x"],[1],[2]]}"#, None, &mut Scratch::default())
            .unwrap_err();
        assert_eq!((failed.category(), failed.kind()), ("runtime", kind));
        assert!(failed.to_string().contains(part), "{failed}");
        let mut out = Vec::new();
        failed.write_json("c", 2, &mut out);
        let out: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&out["status"], &out["size"]), (&json!("failed"), &json!(2)));
    }
    assert!(ChunkError::Engine(FallbackError::Recursion).path().is_none());
}

#[derive(Debug)]
struct Broken(FallbackError);

impl Fallback for Broken {
    fn load(&self, _definition: &Definition) -> Result<Summary, FallbackError> {
        Err(self.0.clone())
    }

    fn evaluate(
        &self,
        _definition: &Definition,
        _block: &Block<'_>,
        _deadline: Option<Instant>,
    ) -> Result<Vec<Column>, FallbackError> {
        Err(self.0.clone())
    }
}

#[test]
fn a_file_that_the_fallback_cannot_bear_is_refused_with_both_reasons() {
    let load = |error: FallbackError| {
        let engines = Engines { fallback: Some(Arc::new(Broken(error))), check: None };
        load_document(&lambda(), &engines).unwrap_err()
    };
    let refused = load(FallbackError::Timeout);
    assert!(!refused.is_passing());
    let text = refused.to_string();
    assert!(text.contains("outputs[0].formula") && text.contains("took too long"), "{text}");
    assert!(load(FallbackError::Unavailable("no process".into())).is_passing());
    let refused =
        load(FallbackError::Refused(Obstacle { place: "outputs!A1".into(), message: "bad".into() }));
    assert_eq!(refused.to_string(), "outputs[0].formula: bad");
}

#[test]
fn the_upload_check_compares_and_only_reports() {
    let document = json!({
        "inputs": [
            {"name": "age", "type": "integer", "default": 40, "minimum": 18, "maximum": 99},
            {"name": "sum_insured", "type": "number", "default": 1000},
            {"name": "plan", "type": "text", "default": "a", "options": ["a", "b"]},
            {"name": "member", "type": "boolean", "default": true}
        ],
        "tables": [{"name": "rates", "columns": ["age", "rate"], "rows": [[18, 0.011], [40, 0.019], [65, 0.043]]}],
        "outputs": [
            {"name": "premium", "formula": "ROUND(sum_insured*VLOOKUP(age,rates,2,TRUE)*IF(plan=\"b\",1.1,1),2)"},
            {"name": "note", "formula": "UPPER(plan)&IF(member,\"-m\",\"\")&TEXT(age,\"0\")"},
            {"name": "ratio", "formula": "sum_insured/(age-40)"}
        ]
    });
    let check = Some(Check { records: 2_000, budget: Duration::from_secs(60) });
    let service = load_document(&document, &Engines { check, ..engines() }).unwrap();
    let report = service.report();
    assert_eq!((report.path, report.checked_records), (Path::Compiled, 2_000));
    assert_eq!(report.differences, [], "{:?}", report.warnings);

    let service = load_document(&document, &fake(Ok(1.5), check)).unwrap();
    let report = service.report();
    assert_eq!(report.path, Path::Compiled, "a difference moves no service to the slow path");
    assert_eq!(report.differences.len(), 3, "the first of each output: {:?}", report.differences);
    assert!(report.warnings[0].contains("1.5 on the reference engine"), "{:?}", report.warnings);

    let off = Some(Check { records: 2_000, budget: Duration::ZERO });
    let service = load_document(&document, &fake(Ok(1.5), off)).unwrap();
    assert_eq!((service.report().checked_records, service.report().differences.len()), (0, 0));
}

#[test]
fn volatile_functions_are_fixed_on_the_fallback() {
    let document = json!({
        "inputs": [{"name": "x", "type": "number", "default": 1}],
        "outputs": [
            {"name": "now", "formula": "NOW()"},
            {"name": "today", "formula": "TODAY()"},
            {"name": "draw", "formula": "SUM(MAP({1},LAMBDA(v,v*RAND())))"}
        ]
    });
    let service = load_document(&document, &engines()).unwrap();
    assert_eq!(service.report().volatile_functions, ["NOW", "RAND", "TODAY"]);
    let options = Options { volatile: Volatile { now: 46_000.75, seed: 3 }, ..Options::default() };
    let data = json!({"inputs": [["x"], [1], [2]]});
    let (first, second) = (answer(&service, &options, &data), answer(&service, &options, &data));
    assert_eq!(first["outputs"], second["outputs"]);
    assert_eq!(first["outputs"][1].as_array().unwrap()[..2], [json!(46_000.75), json!(46_000.0)]);
    assert_ne!(first["outputs"][1][2], first["outputs"][2][2]);
}
