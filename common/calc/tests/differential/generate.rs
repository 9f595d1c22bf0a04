//! Books, formulas and records, from a seed.

use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::value::{ErrorValue, Value};

/// Input cells, A1 and below.
pub const INPUTS: usize = 6;
/// Formulas of a book, B1 and below.
const FORMULAS: usize = 8;
/// Rows of the table of constants in D1 and to the right: ascending numbers, mixed numbers, texts.
const TABLE: u32 = 10;

/// Random choices that are the same everywhere (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((x ^ (x >> 31)) % sides as u64).unwrap()
    }

    fn pick<'s>(&mut self, list: &[&'s str]) -> &'s str {
        list[self.roll(list.len())]
    }
}

/// A book with records.
pub struct Case {
    pub formulas: Vec<String>,
    pub table: Vec<[Value; 3]>,
    pub records: Vec<Vec<Value>>,
}

/// The beginning of an operation in a generated formula, for [`plain`] and [`parts`].
const OPEN: char = '\u{2}';
/// Its end.
const CLOSE: char = '\u{3}';
/// Where an operation stands in the text of a [`Part`].
pub const HOLE: char = '\u{1}';

/// A generated formula as the engines read it.
pub fn plain(formula: &str) -> String {
    formula.replace([OPEN, CLOSE], "")
}

/// An operation of a formula.
#[derive(Debug, Default)]
pub struct Part {
    /// Its text, with [`HOLE`] for each operation in it.
    pub text: String,
    /// These operations, by their place in the list.
    pub holes: Vec<usize>,
}

impl Part {
    /// The text with something in the holes.
    pub fn filled(&self, fill: impl Fn(usize) -> String) -> String {
        let mut holes = self.holes.iter();
        let put =
            |c| if c == HOLE { holes.next().map_or(String::new(), |i| fill(*i)) } else { String::from(c) };
        self.text.chars().map(put).collect()
    }
}

/// The operations of a generated formula, each after those in it.
pub fn parts(formula: &str) -> Vec<Part> {
    let (mut done, mut open) = (Vec::new(), vec![Part::default()]);
    for c in formula.chars() {
        match c {
            OPEN => open.push(Part::default()),
            CLOSE => {
                done.push(open.pop().unwrap());
                let outer = open.last_mut().unwrap();
                outer.text.push(HOLE);
                outer.holes.push(done.len() - 1);
            }
            c => open.last_mut().unwrap().text.push(c),
        }
    }
    done
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Text,
    Boolean,
}

impl Case {
    pub fn generate(dice: &mut Dice, records: usize) -> Self {
        let formulas = (0..FORMULAS)
            .map(|_| {
                let kind = [Kind::Number, Kind::Number, Kind::Text, Kind::Boolean][dice.roll(4)];
                let depth = 1 + dice.roll(3);
                expression(dice, kind, depth)
            })
            .collect();
        let mut step = -20.0;
        let table = (0..TABLE)
            .map(|row| {
                step += 0.5 + dice.roll(40) as f64 / 4.0;
                let mixed = [Value::from(dice.roll(100) as f64 / 8.0), value(dice)];
                let mixed = mixed[usize::from(dice.roll(6) == 0)].clone();
                // An error in the table is in every formula over it, which then says nothing else.
                let mixed = if matches!(mixed, Value::Error(_)) { Value::Blank } else { mixed };
                [Value::from(step), mixed, Value::from(format!("k{row:02}"))]
            })
            .collect();
        let records = (0..records).map(|_| (0..INPUTS).map(|_| value(dice)).collect()).collect();
        Self { formulas, table, records }
    }

    /// The book with formulas below each other from B1 on.
    pub fn book_with(&self, formulas: &[String]) -> Book {
        let mut sheet = Sheet { name: "S".into(), ..Sheet::default() };
        for (formula, row) in formulas.iter().zip(0..) {
            sheet.cells.insert((row, 1), Cell { value: Value::Blank, formula: Some(plain(formula)) });
        }
        for (values, row) in self.table.iter().zip(0..) {
            for (value, column) in values.iter().zip(3..) {
                if *value != Value::Blank {
                    sheet.cells.insert((row, column), Cell { value: value.clone(), formula: None });
                }
            }
        }
        Book { sheets: vec![sheet], ..Book::default() }
    }

    pub fn inputs(&self) -> [Range; 1] {
        [Range { sheet: 0, first_row: 0, first_column: 0, last_row: INPUTS as u32 - 1, last_column: 0 }]
    }

    /// The cells of as many formulas.
    pub fn outputs(&self, formulas: usize) -> [Range; 1] {
        let last_row = u32::try_from(formulas).unwrap() - 1;
        [Range { sheet: 0, first_row: 0, first_column: 1, last_row, last_column: 1 }]
    }
}

/// A value as records bring it.
fn value(dice: &mut Dice) -> Value {
    match dice.roll(20) {
        0 => Value::Blank,
        1 => Value::Boolean(dice.roll(2) == 0),
        2 => {
            Value::Error([ErrorValue::NA, ErrorValue::Div0, ErrorValue::Value, ErrorValue::Num][dice.roll(4)])
        }
        3 | 4 => dice.pick(&["apple", "Apple", "b", "", "k03", "k07", "x y", "zebra", "k"]).into(),
        5 => dice.pick(&["12", "-3.5", "1E2", " 7 ", "0", "50%", "TRUE"]).into(),
        6..=10 => Value::from(dice.roll(21) as f64 - 10.0),
        11 => Value::from([0.5, 1.5, 2.5, -0.5, -2.5, 0.125, 1.005, 2.675][dice.roll(8)]),
        12 => Value::from(dice.roll(50_000) as f64),
        _ => Value::from((dice.roll(200_000) as f64 - 100_000.0) / 64.0),
    }
}

fn input(dice: &mut Dice) -> String {
    format!("A{}", 1 + dice.roll(INPUTS))
}

fn range(dice: &mut Dice) -> &'static str {
    dice.pick(&["A1:A6", "A2:A4", "D1:D10", "E1:E10", "D1:E10", "A1:A3"])
}

fn literal(dice: &mut Dice, kind: Kind) -> String {
    match kind {
        Kind::Number => match dice.roll(4) {
            0 => dice.pick(&["0.5", "2.5", "0.1", "100", "1.25", "12", "365"]).to_owned(),
            _ => format!("{}", dice.roll(12)),
        },
        Kind::Text => dice.pick(&["\"apple\"", "\"b\"", "\"\"", "\"7\"", "\"k05\"", "\"x y\""]).to_owned(),
        Kind::Boolean => dice.pick(&["TRUE", "FALSE"]).to_owned(),
    }
}

/// An expression. What is no reference or literal stands between [`OPEN`] and [`CLOSE`].
fn expression(dice: &mut Dice, kind: Kind, depth: usize) -> String {
    let text = made(dice, kind, depth);
    if text.contains('(') { format!("{OPEN}{text}{CLOSE}") } else { text }
}

fn made(dice: &mut Dice, kind: Kind, depth: usize) -> String {
    if depth == 0 || dice.roll(8) == 0 {
        return if dice.roll(3) == 0 { literal(dice, kind) } else { input(dice) };
    }
    // Now and then something of another type.
    let kind =
        if dice.roll(12) == 0 { [Kind::Number, Kind::Text, Kind::Boolean][dice.roll(3)] } else { kind };
    let depth = depth - 1;
    match dice.roll(10) {
        0 => {
            let condition = expression(dice, Kind::Boolean, depth);
            let (yes, no) = (expression(dice, kind, depth), expression(dice, kind, depth));
            return format!("IF({condition},{yes},{no})");
        }
        1 => {
            let (tried, other) = (expression(dice, kind, depth), expression(dice, kind, depth));
            return format!("IFERROR({tried},{other})");
        }
        _ => {}
    }
    let number = |dice: &mut Dice| expression(dice, Kind::Number, depth);
    match kind {
        Kind::Number => match dice.roll(24) {
            0..=6 => {
                let operator = dice.pick(&["+", "-", "*", "/", "+", "-", "*"]);
                let (a, b) = (number(dice), number(dice));
                format!("({a}{operator}{b})")
            }
            7 => format!("-({})", number(dice)),
            8 => format!("({})%", number(dice)),
            9 => format!("({})^{}", number(dice), 1 + dice.roll(3)),
            10 => {
                let function =
                    dice.pick(&["ABS", "INT", "SIGN", "SQRT", "LN", "LOG10", "N", "TRUNC", "ATAN", "SIN"]);
                format!("{function}({})", number(dice))
            }
            11 => {
                let function = dice.pick(&["ROUND", "ROUNDUP", "ROUNDDOWN"]);
                let places = dice.roll(5) as i32 - 1;
                format!("{function}({},{places})", number(dice))
            }
            // Whole divisors: with fractions the last digit of the quotient decides about the whole result.
            12 => format!("MOD({},{})", number(dice), 2 + dice.roll(9)),
            13 | 14 => {
                let function = dice.pick(&[
                    "SUM",
                    "MIN",
                    "MAX",
                    "AVERAGE",
                    "COUNT",
                    "COUNTA",
                    "PRODUCT",
                    "MEDIAN",
                    "COUNTBLANK",
                ]);
                let range = range(dice);
                if function == "COUNTBLANK" || dice.roll(2) == 0 {
                    format!("{function}({range})")
                } else {
                    format!("{function}({range},{})", number(dice))
                }
            }
            15 => {
                let criterion =
                    dice.pick(&["\">2\"", "\"<=0\"", "\"apple\"", "\"<>0\"", "\"k*\"", "5", "\"=b\""]);
                let (function, range) = (dice.pick(&["COUNTIF", "SUMIF"]), range(dice));
                format!("{function}({range},{criterion})")
            }
            // Keys are made numbers: the reference engine takes any text or boolean for greater than every number, and then
            // answers the last row, where Excel compares within a type only and answers #N/A.
            16 => {
                let (column, near) = (1 + dice.roll(2), dice.pick(&["TRUE", "FALSE"]));
                format!("VLOOKUP({}+0,D1:F10,{column},{near})", number(dice))
            }
            17 => format!("MATCH({}+0,D1:D10,{})", number(dice), dice.pick(&["0", "1"])),
            18 => format!("INDEX(D1:E10,{},{})", 1 + dice.roll(11), 1 + dice.roll(2)),
            19 => format!("CHOOSE({},{},{})", number(dice), number(dice), number(dice)),
            20 => format!("LEN({})", expression(dice, Kind::Text, depth)),
            21 => {
                let text = expression(dice, Kind::Text, depth);
                let function = dice.pick(&["FIND", "SEARCH"]);
                format!("{function}(\"e\",{text})")
            }
            22 => {
                let function = dice.pick(&["YEAR", "MONTH", "DAY", "WEEKDAY"]);
                // Its dates before March 1900 are a day off: it does not count the 29 February 1900, and knows no day 0.
                format!("{function}(ABS({})+100)", number(dice))
            }
            _ => {
                let (rate, function) = (dice.roll(20) + 1, dice.pick(&["PMT", "FV", "PV"]));
                format!("{function}({rate}%,{},{})", 1 + dice.roll(30), number(dice))
            }
        },
        Kind::Text => {
            let text = expression(dice, Kind::Text, depth);
            match dice.roll(9) {
                0..=2 => {
                    let kind = [Kind::Text, Kind::Number][dice.roll(2)];
                    let other = expression(dice, kind, depth);
                    // Something between them, so that their digits stay apart.
                    format!("({text}&\"|\"&{other})")
                }
                3 => format!("{}({text})", dice.pick(&["UPPER", "LOWER", "TRIM", "T"])),
                4 => format!("{}({text},{})", dice.pick(&["LEFT", "RIGHT"]), dice.roll(4)),
                5 => format!("MID({text},{},{})", 1 + dice.roll(3), dice.roll(4)),
                6 => format!("SUBSTITUTE({text},\"p\",\"-\")"),
                7 => format!("VLOOKUP({}+0,D1:F10,3,TRUE)", expression(dice, Kind::Number, depth)),
                _ => format!("REPT({text},{})", dice.roll(3)),
            }
        }
        Kind::Boolean => match dice.roll(8) {
            0..=3 => {
                let kind = [Kind::Number, Kind::Number, Kind::Text, Kind::Boolean][dice.roll(4)];
                let operator = dice.pick(&["=", "<>", "<", "<=", ">", ">="]);
                format!("({}{operator}{})", expression(dice, kind, depth), expression(dice, kind, depth))
            }
            4 => format!("NOT({})", expression(dice, Kind::Boolean, depth)),
            5 => {
                let function = dice.pick(&["AND", "OR"]);
                let (a, b) = (expression(dice, Kind::Boolean, depth), expression(dice, Kind::Boolean, depth));
                format!("{function}({a},{b})")
            }
            6 => {
                let function = dice.pick(&["ISNUMBER", "ISTEXT", "ISERROR", "ISNA", "ISLOGICAL"]);
                let kind = [Kind::Number, Kind::Text, Kind::Boolean][dice.roll(3)];
                format!("{function}({})", expression(dice, kind, depth))
            }
            _ => format!(
                "EXACT({},{})",
                expression(dice, Kind::Text, depth),
                expression(dice, Kind::Text, depth)
            ),
        },
    }
}
