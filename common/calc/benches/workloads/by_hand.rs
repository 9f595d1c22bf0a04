//! The workloads as a programmer would write them, record by record, with Excel's rules where the workloads need them.

use millrace_calc::number;
use millrace_calc::value::{ErrorValue, Value};
use rustc_hash::FxHashMap;

use super::{premium_row, table_rate};

/// All three, from the values of a record to the values of its outputs.
pub struct Workloads {
    pub premiums: Premiums,
    pub rates: Rates,
}

impl Workloads {
    pub fn new() -> Self {
        Self { premiums: Premiums::new(), rates: Rates::new() }
    }

    pub fn evaluate(&self, name: &str, record: &[Value]) -> Vec<Value> {
        match name {
            "w1" => vec![w1(number(&record[0]), number(&record[1]), number(&record[2])).into()],
            "w2" => self.premiums.w2(&person(record)).values(),
            _ => {
                let [amount, rate, months, age] = [0, 1, 2, 3].map(|i| number(&record[i]));
                self.rates.w3(amount, rate, months, age).map(Value::from).to_vec()
            }
        }
    }
}

/// The number that a value is.
pub fn number(value: &Value) -> f64 {
    match value {
        Value::Number(x) => *x,
        other => panic!("no number: {other:?}"),
    }
}

/// The text that a value is.
pub fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

/// A record of W2.
pub fn person(record: &[Value]) -> Person<'_> {
    Person {
        age: number(&record[0]),
        code: text(&record[1]),
        sum_insured: number(&record[2]),
        region: text(&record[3]),
        smoker: text(&record[4]),
        term: number(&record[5]),
        deductible: number(&record[6]),
        units: number(&record[7]),
        name: text(&record[8]),
    }
}

/// W1.
pub fn w1(price: f64, quantity: f64, tax: f64) -> f64 {
    number::round(price * quantity * (1.0 + tax), 2.0)
}

/// The tables of W2.
pub struct Premiums {
    ages: Vec<f64>,
    rates: Vec<f64>,
    codes: FxHashMap<String, usize>,
    loadings: Vec<f64>,
}

/// The inputs of W2.
pub struct Person<'a> {
    pub age: f64,
    pub code: &'a str,
    pub sum_insured: f64,
    pub region: &'a str,
    pub smoker: &'a str,
    pub term: f64,
    pub deductible: f64,
    pub units: f64,
    pub name: &'a str,
}

/// The outputs of W2; `None` is `#N/A`.
#[derive(Debug)]
pub struct Premium {
    pub total: f64,
    pub by_code: Option<f64>,
    pub loading: Option<f64>,
    pub label: String,
    pub older: usize,
    pub class: &'static str,
    pub most: f64,
}

impl Premiums {
    pub fn new() -> Self {
        let rows = || (0..50).map(premium_row);
        Self {
            ages: rows().map(|row| row.0).collect(),
            rates: rows().map(|row| row.1).collect(),
            codes: rows().enumerate().map(|(i, row)| (row.2, i)).collect(),
            loadings: rows().map(|row| row.3).collect(),
        }
    }

    pub fn w2(&self, p: &Person<'_>) -> Premium {
        let c1 = self.rates[self.ages.partition_point(|age| *age <= p.age) - 1];
        let place = self.codes.get(&p.code.to_ascii_uppercase());
        let c2 = place.map(|place| self.loadings[*place]);
        let c3 = c2.unwrap_or(100.0);
        let c5 = if p.smoker.eq_ignore_ascii_case("Y") { 1.5 } else { 1.0 };
        let c6 = match p.age {
            age if age >= 65.0 => 1.4,
            age if age >= 40.0 => 1.2,
            age if age >= 25.0 => 1.0,
            _ => 0.9,
        };
        let c8 = (p.sum_insured.min(500_000.0) - p.deductible).max(0.0);
        let c10 = c8 * c1 / 1000.0 * c5 * c6;
        let c11 = p.term * 0.25 + p.deductible * 1.25 + p.units * 2.25;
        let c12 = self.ages.iter().filter(|age| **age > p.age).count();
        let c13 = if p.region.eq_ignore_ascii_case("north") {
            1.1
        } else if p.region.eq_ignore_ascii_case("south") {
            0.95
        } else {
            1.0
        };
        let c15 = number::round(c10 * c13, 2.0);
        let c17 = number::round(c15 / 12.0, 2.0);
        let mut label: String = p.name.chars().take(3).collect::<String>().to_uppercase();
        label.push('-');
        label.push_str(p.code);
        let c20 = if c12 > 20 { 0.98 } else { 1.01 };
        let c21 = if p.age > 18.0 && p.smoker.eq_ignore_ascii_case("N") { 0.97 } else { 1.0 };
        let c22 = c17 * c21 * c20;
        let c24 = if p.term > 20.0 { c22 * 1.02 } else { c22 };
        Premium {
            total: number::round(c24 + c3 * c1 + (c22 - c17).abs(), 2.0),
            by_code: place.map(|place| number::round(self.rates[*place] * c17, 2.0)),
            loading: c2.map(|c2| c2 + c5),
            label,
            older: c12,
            class: if c11 > 100.0 { "high" } else { "low" },
            most: c15.max(c17).max(c22),
        }
    }
}

impl Premium {
    /// As the engine's outputs.
    pub fn values(self) -> Vec<Value> {
        let or_na = |x: Option<f64>| x.map_or(Value::Error(ErrorValue::NA), Value::Number);
        vec![
            Value::Number(self.total),
            or_na(self.by_code),
            or_na(self.loading),
            self.label.into(),
            Value::Number(self.older as f64),
            self.class.into(),
            Value::Number(self.most),
        ]
    }
}

/// The rate table of W3, by age and column.
pub struct Rates(Vec<[f64; 11]>);

impl Rates {
    pub fn new() -> Self {
        Self((0..100).map(|age| std::array::from_fn(|column| table_rate(age, column))).collect())
    }

    /// Interest in all, the last balance, and the present value.
    pub fn w3(&self, amount: f64, rate: f64, months: f64, age: f64) -> [f64; 3] {
        let monthly = rate / 12.0;
        let growth = 1.0 + monthly;
        let factor = growth.powf(-months);
        let payment = amount * monthly / (1.0 - factor);
        let (mut balance, mut total, mut present) = (amount, 0.0, 0.0);
        for n in 1..=360_usize {
            let interest = balance * monthly;
            let paid = if n as f64 <= months { payment.min(balance + interest) } else { 0.0 };
            balance = (balance - (paid - interest)).max(0.0);
            total += interest;
            let rate = self.0[age as usize + n / 12][(n - 1) % 11];
            present += paid * rate / growth.powi(i32::try_from(n).unwrap_or(0));
        }
        [total, balance, number::round(present, 2.0)]
    }
}
