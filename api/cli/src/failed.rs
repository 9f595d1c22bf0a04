//! `millrace batch failures`, `redrive` and `report`: what failed, doing it again, and whether everything is accounted for.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::batch::BatchId;
use super::client::Client;
use super::error::CliError;
use super::table::{count, table};
use super::{Globals, say};

/// Failures of one page.
const PAGE: usize = 1_000;

/// Which failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kind {
    /// Chunks that could not be processed, and records with errors.
    #[default]
    All,
    /// Chunks that could not be processed.
    Chunks,
    /// Records with errors in chunks that were processed.
    Records,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Chunks => "chunks",
            Self::Records => "records",
        }
    }
}

/// `millrace batch failures`.
#[derive(Debug, Args)]
pub struct FailuresArgs {
    #[command(flatten)]
    batch: BatchId,
    /// Which failures to list
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    kind: Kind,
    /// The most failures to list; 0 lists all
    #[arg(long, default_value_t = 100, value_name = "N")]
    max: usize,
}

/// `millrace batch redrive`.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    #[command(flatten)]
    batch: BatchId,
    /// Which failed work to do again
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    kind: Kind,
    /// The service to use, such as folder/service or folder/service[1.2] [default: the version of the batch]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Another term than the first batch had, as text; NAME:=JSON for other values; may be given several times
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = super::run::parameter)]
    term: Vec<(String, Value)>,
    /// Leave the new batch open when everything is in
    #[arg(long)]
    keep_open: bool,
}

/// `millrace batch report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    batch: BatchId,
    /// Leave out the digests, which read every result
    #[arg(long)]
    no_digests: bool,
}

/// Help under `millrace batch redrive --help`.
pub const REDRIVE_HELP: &str = "\
The work becomes a batch of its own, with the terms of the first one; chunks keep their ids. Its inputs go in in the \
background. Follow it with `millrace batch watch`, and get its results as those of any batch.

Examples:
  millrace batch redrive 5d0e5f8e-5e3c-4a51-9d0b-2f3f0f9f7a10 --kind records --service sales/SalesExample
  millrace batch redrive 5d0e5f8e-5e3c-4a51-9d0b-2f3f0f9f7a10 --term unique_record_key=sales_id --term max_workers:=4";

/// Lists failures, page by page.
pub async fn failures(globals: &Globals, args: FailuresArgs) -> Result<(), CliError> {
    let client = globals.client()?;
    let id = args.batch.id();
    let wanted = if args.max == 0 { usize::MAX } else { args.max };
    let mut listed: Vec<Value> = Vec::new();
    let mut after = String::new();
    let mut more = true;
    while more && listed.len() < wanted {
        let max = PAGE.min(wanted - listed.len());
        let page = client.failures(&id, args.kind.as_str(), max, &after).await?;
        listed.extend(page["data"].as_array().into_iter().flatten().cloned());
        after = page["next_cursor"].as_str().unwrap_or_default().to_owned();
        more = page["has_more"] == true;
    }
    globals.show(&json!({ "data": listed, "has_more": more }), || failures_text(&listed));
    if more && args.max > 0 {
        say(&format!("there are more than {}: use --max", args.max));
    }
    Ok(())
}

fn failures_text(failures: &[Value]) -> String {
    if failures.is_empty() {
        return "nothing failed\n".to_owned();
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |failure: &Value| {
        let record = failure.get("record").map_or("all".to_owned(), Value::to_string);
        let keys = failure["unique_record_key"].as_object().map(|key| {
            key.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(", ")
        });
        let message = text(&failure["errors"][0]["message"]);
        vec![text(&failure["chunk_id"]), record, keys.unwrap_or_default(), message]
    };
    let rows: Vec<_> = failures.iter().map(row).collect();
    table(&["CHUNK", "RECORD", "KEY", "ERROR"], &rows)
}

/// Begins a redrive.
pub async fn redrive(globals: &Globals, args: RedriveArgs) -> Result<(), CliError> {
    let mut body = Map::new();
    body.insert("kind".to_owned(), json!(args.kind.as_str()));
    body.insert("close".to_owned(), json!(!args.keep_open));
    body.insert("batch_id".to_owned(), json!(uuid::Uuid::new_v4()));
    if let Some(service) = args.service {
        body.insert("service".to_owned(), json!(service));
    }
    body.extend(args.term);
    let answer = globals.client()?.redrive(&args.batch.id(), &Value::Object(body)).await?;
    globals.show(&answer, || {
        let number = |value: &Value| count(value.as_u64().unwrap_or(0));
        let impossible = match answer["impossible"]["chunks"].as_u64() {
            None | Some(0) => String::new(),
            Some(chunks) => {
                format!("{} chunks cannot be done again: their inputs were not kept\n", count(chunks))
            }
        };
        format!(
            "batch {} does {} chunks again\n{impossible}",
            answer["id"].as_str().unwrap_or_default(),
            number(&answer["redrive"]["chunks_total"])
        )
    });
    Ok(())
}

/// Shows the reconciliation of a batch; the exit code is 1 when it does not balance.
pub async fn report(globals: &Globals, args: ReportArgs) -> Result<(), CliError> {
    let report = reconcile(&globals.client()?, &args).await?;
    globals.show(&report, || report_text(&report));
    if report["balanced"] == true {
        Ok(())
    } else {
        Err(CliError::Failed("the batch does not balance".to_owned()))
    }
}

async fn reconcile(client: &Client, args: &ReportArgs) -> Result<Value, CliError> {
    Ok(client.reconciliation(&args.batch.id(), !args.no_digests).await?)
}

fn report_text(report: &Value) -> String {
    let number = |value: &Value| match value.as_i64() {
        Some(negative @ ..0) => negative.to_string(),
        Some(number) => count(number.unsigned_abs()),
        None => "-".to_owned(),
    };
    let fields =
        ["submitted", "completed", "failed", "withdrawn", "waiting", "dropped", "pulled", "unpulled"];
    let row = |name: &str| {
        let tally = &report[name];
        std::iter::once(name.to_owned()).chain(fields.iter().map(|field| number(&tally[*field]))).collect()
    };
    let headings = fields.map(str::to_uppercase);
    let headings: Vec<&str> = std::iter::once("").chain(headings.iter().map(String::as_str)).collect();
    let mut text = table(&headings, &[row("chunks"), row("records")]);
    let budgets = &report["budgets"];
    text.push_str(&format!(
        "doubles    {}\nunreadable {}\nbudgets    {} bytes of input, {} of output, {} adrift\n",
        number(&report["doubles"]),
        number(&report["unreadable"]),
        number(&budgets["input_bytes"]),
        number(&budgets["output_bytes"]),
        number(&budgets["drift_bytes"]),
    ));
    for (name, of) in [("inputs", "inputs"), ("results", "results")] {
        if let Some(digest) = report["digests"][of].as_str() {
            text.push_str(&format!("{name:<10} {digest}\n"));
        }
    }
    text.push_str(if report["balanced"] == true { "balanced\n" } else { "NOT balanced\n" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_reports_read_well() {
        assert_eq!(failures_text(&[]), "nothing failed\n");
        let failures = [
            json!({"kind": "chunk", "chunk_id": "c1", "records": 3, "errors": [{"message": "no key"}]}),
            json!({"kind": "record", "chunk_id": "c2", "record": 17, "unique_record_key": {"id": "x"},
                   "errors": [{"message": "no table"}]}),
        ];
        insta::assert_snapshot!(failures_text(&failures), @r"
        CHUNK  RECORD  KEY   ERROR
        c1     all           no key
        c2     17      id=x  no table
        ");
        let tally = json!({"submitted": 1200, "completed": 1199, "failed": 1, "withdrawn": 0, "waiting": 0,
                           "dropped": 0, "pulled": 1200, "unpulled": 0});
        let report = json!({"balanced": true, "chunks": tally, "records": tally, "doubles": 0,
            "unreadable": 0, "budgets": {"input_bytes": 0, "output_bytes": 0, "drift_bytes": 0}, "digests": {"inputs": "ab", "results": "cd"}});
        insta::assert_snapshot!(report_text(&report), @r"
                 SUBMITTED  COMPLETED  FAILED  WITHDRAWN  WAITING  DROPPED  PULLED  UNPULLED
        chunks   1,200      1,199      1       0          0        0        1,200   0
        records  1,200      1,199      1       0          0        0        1,200   0
        doubles    0
        unreadable 0
        budgets    0 bytes of input, 0 of output, 0 adrift
        inputs     ab
        results    cd
        balanced
        ");
    }
}
