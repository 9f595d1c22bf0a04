//! Lists: what they are filtered by, and how they are shown.

use clap::Args;
use serde_json::Value;

use super::super::client::{Client, Query};
use super::super::error::CliError;
use super::super::table::{count, table};
use super::super::{Globals, say};
use super::cells::number;

/// How much of a list is shown.
#[derive(Debug, Args)]
pub struct Most {
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    max: usize,
}

impl Most {
    /// The number.
    pub const fn number(&self) -> usize {
        self.max
    }
}

/// When what is listed changed, and in which order it comes.
#[derive(Debug, Args)]
pub struct Changed {
    /// Changed no earlier: a time such as 2026-11-29T10:00:00Z, or a duration back from now such as PT3H
    #[arg(long, value_name = "TIME")]
    started: Option<String>,
    /// Changed no later, written in the same way
    #[arg(long, value_name = "TIME")]
    ended: Option<String>,
    /// A field to sort by, descending with a - before it; may be given several times [default: -last_modified]
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    order: Vec<String>,
    #[command(flatten)]
    most: Most,
}

impl Changed {
    /// Adds to a query, and says how much to show.
    pub fn put(self, query: &mut Query) -> Most {
        query.extend(self.started.map(|time| ("started", time)));
        query.extend(self.ended.map(|time| ("ended", time)));
        if self.order.is_empty() {
            query.push(("order", "-last_modified".to_owned()));
        }
        query.extend(self.order.into_iter().map(|key| ("order", key)));
        self.most
    }
}

/// Fields of a query, one for each value.
pub fn each<T: ToString>(name: &'static str, values: &[T]) -> Query {
    values.iter().map(|value| (name, value.to_string())).collect()
}

/// Shows a list.
pub async fn show(
    globals: &Globals,
    client: &Client,
    path: &str,
    query: &Query,
    most: &Most,
    heading: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> Result<(), CliError> {
    let list = client.v6_list(path, query, most.max).await?;
    globals.show(&list, || table(heading, &rows(&list, row)));
    let (all, shown) = (number(&list["count"]), list["results"].as_array().map_or(0, Vec::len));
    if all > shown as u64 {
        say(&format!("{} of {} are shown; see --max", count(shown as u64), count(all)));
    }
    Ok(())
}

/// The rows of a table.
pub fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list["results"].as_array().into_iter().flatten().map(row).collect()
}
