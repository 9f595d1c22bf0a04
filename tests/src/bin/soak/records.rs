//! Chunks of the sales example with the totals that must come back, calculated here in whole cents.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// A chunk, and what must become of it.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub id: String,
    /// Its `data`.
    pub data: Value,
    /// By record: its key and its total in cents; `None` for a chunk that cannot be processed.
    pub totals: Option<Vec<(i64, i64)>>,
    as_objects: bool,
}

impl Chunk {
    /// Makes one; one of forty lacks the key that its batch asks for, so it must fail.
    pub fn make(number: usize, random: &mut StdRng) -> Self {
        let records = [0, 1, 4, 20, 100, 250][random.random_range(0..6)];
        let some = records > 0;
        let (as_objects, without_key) =
            (some && random.random_ratio(1, 4), some && random.random_ratio(1, 40));
        let mut rows = Vec::new();
        let mut totals = Vec::new();
        while rows.len() < records {
            let (price, quantity, tax) = (
                random.random_range(100..100_000_i64),
                random.random_range(1..1_000_i64),
                random.random_range(0..250_i64),
            );
            let exact = price * quantity * (1_000 + tax);
            // Ties are a matter for the tests of ROUND.
            if exact % 1_000 == 500 {
                continue;
            }
            let key = (number * 1_000 + rows.len()) as i64;
            totals.push((key, (exact + 500) / 1_000));
            let (price, tax) = (price as f64 / 100.0, tax as f64 / 1_000.0);
            // Callers that read CSV files send every value as text.
            let price = if random.random_ratio(1, 8) { json!(price.to_string()) } else { json!(price) };
            rows.push([json!(key), price, json!(quantity), json!(tax)]);
        }
        let names = [if without_key { "other" } else { "id" }, "price", "quantity", "tax"];
        let inputs: Vec<Value> = if as_objects {
            let object = |row: [Value; 4]| {
                names.map(str::to_owned).into_iter().zip(row).collect::<serde_json::Map<_, _>>()
            };
            rows.into_iter().map(|row| Value::Object(object(row))).collect()
        } else {
            std::iter::once(json!(names)).chain(rows.into_iter().map(|row| json!(row))).collect()
        };
        Self {
            id: format!("c{number}"),
            data: json!({"inputs": inputs, "parameters": {}, "summary": null}),
            totals: (!without_key).then_some(totals),
            as_objects,
        }
    }

    /// As it stands in a push. A retry sends the same bytes again.
    pub fn pushed(&self) -> Value {
        json!({"id": self.id, "size": self.records() + 1, "data": self.data})
    }

    pub fn records(&self) -> usize {
        self.totals.as_ref().map_or(0, Vec::len)
    }

    /// What is wrong with its result, if anything.
    pub fn check(&self, result: &Value) -> Result<(), String> {
        let status = result["status"].as_str().unwrap_or_default();
        let Some(totals) = &self.totals else {
            let is_told = result["errors"].as_array().is_some_and(|errors| !errors.is_empty());
            return if status == "failed" && is_told {
                Ok(())
            } else {
                Err(format!("{status} instead of failed"))
            };
        };
        if status != "completed" {
            return Err(format!("{status}: {}", result["errors"]));
        }
        let rows = result["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let rows = if self.as_objects { rows } else { rows.get(1..).unwrap_or_default() };
        if rows.len() != totals.len() {
            return Err(format!("{} rows instead of {}", rows.len(), totals.len()));
        }
        for (row, (key, cents)) in rows.iter().zip(totals) {
            let (found, total) =
                if self.as_objects { (&row["id"], &row["total"]) } else { (&row[0], &row[1]) };
            #[expect(clippy::cast_possible_truncation, reason = "totals are far below 2^53 cents")]
            let total = total.as_f64().map(|total| (total * 100.0).round() as i64);
            if found.as_i64() != Some(*key) || total != Some(*cents) {
                return Err(format!("{row} instead of key {key} and {cents} cents"));
            }
        }
        Ok(())
    }
}
