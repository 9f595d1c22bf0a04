//! The fallback engine in child processes: answers, limits, replacement. The children are this test executable again, with the
//! one ignored test below as their `main`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::{Duration, Instant};

use millrace_calc::book::{Book, Cell, DefinedName, Range, Sheet};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Volatile};
use millrace_calc::reference::{Block, Definition, Fallback, FallbackError};
use millrace_calc::value::Value;
use millrace_common::config::FallbackConfig;
use millrace_common::isolate::{Launcher, Pool, child};

#[test]
#[ignore = "what the child processes of the other tests run"]
fn serve_as_child() {
    let _ = child::run();
}

fn launcher() -> Launcher {
    Launcher {
        program: std::env::current_exe().unwrap(),
        arguments: ["--exact", "serve_as_child", "--ignored", "--quiet"].map(Into::into).to_vec(),
    }
}

fn pool(children: usize) -> Pool {
    Pool::new(launcher(), &FallbackConfig { children, memory_mb: 256, ..FallbackConfig::default() })
}

/// A1 → B1.
fn definition(formula: &str) -> Definition {
    let mut sheet = Sheet { name: "S".into(), ..Sheet::default() };
    sheet.cells.insert((0, 0), Cell { value: Value::from(0.0), formula: None });
    sheet.cells.insert((0, 1), Cell { value: Value::Blank, formula: Some(formula.into()) });
    let name = |name: &str, text: &str| DefinedName {
        name: name.into(),
        definition: text.into(),
        ..DefinedName::default()
    };
    let book = Book {
        sheets: vec![sheet],
        names: vec![name("endless", "LAMBDA(n,endless(n+1)+1)")],
        ..Book::default()
    };
    Definition::new(&book, &[Range::cell(0, 0, 0)], &[Range::cell(0, 0, 1)], &Limits::default()).unwrap()
}

fn run(
    pool: &Pool,
    definition: &Definition,
    inputs: &[f64],
    deadline: Option<Instant>,
) -> Result<Vec<Value>, FallbackError> {
    let columns = [Column::from_numbers(inputs.to_vec())];
    let block = Block {
        inputs: &columns,
        rows: inputs.len(),
        volatile: &Volatile::default(),
        first_record: 0,
        outputs: &[0],
    };
    let outputs = pool.evaluate(definition, &block, deadline)?;
    Ok((0..inputs.len()).map(|row| outputs[0].get(row)).collect())
}

fn in_ms(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

const HANGS: &str = "IF(A1>0,COMBIN(1E15+A1*0,5E14),-1)";
const RECURSES: &str = "IF(A1>0,LAMBDA(f,f(f))(LAMBDA(f,f(f)+A1)),-1)";
const RECURSES_BY_NAME: &str = "IF(A1>0,endless(A1),-1)";
const EATS_MEMORY: &str = "IF(A1>0,LEN(REDUCE(\"x\",SEQUENCE(40),LAMBDA(a,b,a&a))),-1)";

#[test]
fn blocks_are_answered_by_one_child_that_is_reused() {
    let pool = pool(2);
    assert_eq!(pool.started(), 0, "nothing is started before it is needed");
    let (double, text) = (definition("A1*2"), definition("A1&\"!\""));
    assert_eq!(pool.load(&double).unwrap().formulas, 1);
    for block in 0..10 {
        let x = f64::from(block);
        assert_eq!(run(&pool, &double, &[x, 0.5], None).unwrap(), [Value::from(x * 2.0), Value::from(1.0)]);
        assert_eq!(run(&pool, &text, &[x], None).unwrap(), [Value::from(format!("{block}!"))]);
    }
    // One at a time: the second definition may have got a child of its own, since two are allowed.
    assert!(pool.started() <= 2, "{}", pool.started());
    assert_eq!(pool.children() as u64, pool.started());
}

#[test]
fn what_runs_away_fails_alone_and_the_next_block_goes_well() {
    let pool = pool(1);
    for formula in [HANGS, RECURSES, RECURSES_BY_NAME, EATS_MEMORY] {
        let definition = definition(formula);
        assert_eq!(run(&pool, &definition, &[0.0], None).unwrap(), [Value::from(-1.0)], "{formula}");
        let failed = run(&pool, &definition, &[0.0, 1.0], in_ms(2_000)).expect_err(formula);
        match formula {
            HANGS => assert_eq!(failed, FallbackError::Timeout),
            EATS_MEMORY => assert_eq!(failed, FallbackError::Memory { megabytes: 256 }),
            _ => assert_eq!(failed, FallbackError::Recursion, "{formula}"),
        }
        assert_eq!(run(&pool, &definition, &[0.0], None).unwrap(), [Value::from(-1.0)], "{formula}");
        assert_eq!(pool.children(), 1);
    }
    assert!(pool.started() >= 5, "each failure costs a child: {}", pool.started());
}

#[test]
fn refusals_leave_the_child_alive() {
    let pool = pool(1);
    let refused = pool.load(&definition("FOO(A1)")).unwrap_err();
    assert_eq!(refused.to_string(), "S!B1: the function FOO is not supported");
    assert_eq!(run(&pool, &definition("A1+1"), &[1.0], None).unwrap(), [Value::from(2.0)]);
    assert_eq!(pool.started(), 1);
}

#[test]
fn children_are_bounded_and_waiting_ends_at_the_deadline() {
    let pool = pool(1);
    let (hangs, fine) = (definition(HANGS), definition("A1"));
    pool.load(&hangs).unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| run(&pool, &hangs, &[1.0], in_ms(1_500)));
        let others: Vec<_> =
            (0..3).map(|_| scope.spawn(|| run(&pool, &fine, &[1.0], in_ms(20_000)))).collect();
        assert_eq!(busy.join().unwrap().unwrap_err(), FallbackError::Timeout);
        for other in others {
            assert_eq!(other.join().unwrap().unwrap(), [Value::from(1.0)]);
        }
    });
    // Whoever had its turn last: one more block, and there is one child.
    assert_eq!(run(&pool, &fine, &[2.0], None).unwrap(), [Value::from(2.0)]);
    assert_eq!(pool.children(), 1);
}

#[test]
fn a_child_is_renewed_after_its_blocks() {
    let settings = FallbackConfig { children: 1, renew_after: 3, ..FallbackConfig::default() };
    let pool = Pool::new(launcher(), &settings);
    let fine = definition("A1");
    for block in 0..7 {
        assert_eq!(run(&pool, &fine, &[f64::from(block)], None).unwrap(), [Value::from(f64::from(block))]);
    }
    assert_eq!(pool.started(), 3);
}

#[test]
fn an_idle_child_ends() {
    let settings = FallbackConfig { children: 1, idle_seconds: 1, ..FallbackConfig::default() };
    let pool = Pool::new(launcher(), &settings);
    assert!(run(&pool, &definition("A1"), &[1.0], None).is_ok());
    assert_eq!(pool.children(), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.children() > 0 {
        assert!(Instant::now() < deadline, "the child stays");
        std::thread::yield_now();
    }
    assert!(run(&pool, &definition("A1"), &[1.0], None).is_ok(), "and another one is started when needed");
}

#[test]
fn a_program_that_is_no_child_is_an_error_not_a_hang() {
    let nothing = Launcher { program: "/nowhere/to/be/found".into(), arguments: Vec::new() };
    let pool = Pool::new(nothing, &FallbackConfig::default());
    assert!(matches!(pool.load(&definition("A1")), Err(FallbackError::Unavailable(_))));
    assert_eq!(pool.children(), 0);
    let other = Launcher { program: "/bin/true".into(), arguments: Vec::new() };
    let pool = Pool::new(other, &FallbackConfig::default());
    // Whether it is gone before the first word to it or after.
    for _ in 0..20 {
        let failed = pool.load(&definition("A1")).unwrap_err();
        assert!(matches!(failed, FallbackError::Crashed(_)), "{failed}");
    }
    assert_eq!(pool.children(), 0);
}
