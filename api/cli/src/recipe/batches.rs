//! `millrace recipe batch`: a recipe for each member of a dataset, or for each recipe of the batch before.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::error::CliError;
use super::super::table::{count, table};
use super::super::{Globals, print_out, say};
use super::cells::{clip, counted, labelled, number, text, took, when};
use super::definition::{self, DefinitionArgs};
use super::document::{About, Body, checked, json as json_file, known, verdict};
use super::list::{self, Changed};
use super::progress::{Jobs, State, in_order};
use super::{compare, diff, watch};

/// Help under `millrace recipe batch create --help`.
const CREATE_HELP: &str = "\
Warnings and errors are told before anything is created. With --previous, recipes of the batch before are done again as far as \
something changed in their type, or is forced; everything else is taken over.

Examples:
  millrace recipe batch create loan --dataset 7 --title \"as of today\" --watch
  millrace recipe batch create loan --dataset 7 --map income=salary --priority 10
  millrace recipe batch create loan --previous 3 --force price
  again=$(millrace recipe batch create loan --previous 3 --force-all --quiet)";

/// `millrace recipe batch`.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Create a batch over a dataset, or after another batch
    #[command(after_help = CREATE_HELP)]
    Create(Box<CreateArgs>),
    /// Say whether a batch would be created, how many recipes it would have, and what it would do again
    Validate(Box<DefinitionArgs>),
    /// List batches, those that changed last first
    List(ListArgs),
    /// Show a batch and its nodes
    Show(BatchId),
    /// Follow a batch until nothing goes on any more
    #[command(after_help = watch::HELP)]
    Watch(BatchId),
    /// Change title, description or configuration of a batch
    #[command(after_help = EDIT_HELP)]
    Edit(Box<EditArgs>),
    /// Show the batches of a chain beside each other
    #[command(after_help = compare::HELP)]
    Compare(BatchId),
    /// Pause a batch: its jobs stay queued
    Pause(BatchId),
    /// Let a paused batch go on
    Resume(BatchId),
    /// Cancel the jobs of a batch that have not ended
    Cancel(BatchId),
    /// Run the failed and the canceled jobs of a batch again
    Requeue(RequeueArgs),
}

/// Names a batch.
#[derive(Debug, Args)]
pub struct BatchId {
    /// The batch's number
    #[arg(value_name = "ID")]
    id: i64,
}

/// `millrace recipe batch create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    definition: DefinitionArgs,
    /// Follow the batch until nothing goes on any more
    #[arg(long, short)]
    watch: bool,
    /// Print the number of the batch and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// `millrace recipe batch list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only batches of this recipe type, by name or number; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only batches of the chain that begins with this one; may be given several times
    #[arg(long, value_name = "ID")]
    root: Vec<i64>,
    /// Only batches all of whose recipes exist (true), or not (false)
    #[arg(long, value_name = "BOOL")]
    created: Option<bool>,
    /// Only batches that have a successor (true), or none (false)
    #[arg(long, value_name = "BOOL")]
    superseded: Option<bool>,
    #[command(flatten)]
    changed: Changed,
}

const EDIT_HELP: &str = "\
A priority holds for jobs that are queued from now on. Options of the configuration change what they name; --configuration \
replaces all of it.

Examples:
  millrace recipe batch edit 7 --priority 5
  millrace recipe batch edit 7 --title \"rates of 2027\"";

/// `millrace recipe batch edit`.
#[derive(Debug, Args)]
pub struct EditArgs {
    #[command(flatten)]
    batch: BatchId,
    #[command(flatten)]
    about: About,
    /// Lower goes first
    #[arg(long, value_name = "NUMBER", conflicts_with = "configuration")]
    priority: Option<i64>,
    /// A JSON file with the whole configuration; - is standard input
    #[arg(long, value_name = "FILE")]
    configuration: Option<std::path::PathBuf>,
}

/// `millrace recipe batch requeue`.
#[derive(Debug, Args)]
pub struct RequeueArgs {
    #[command(flatten)]
    batch: BatchId,
    /// Lower goes first [default: that of the batch]
    #[arg(long, value_name = "NUMBER")]
    priority: Option<i64>,
}

/// Runs `millrace recipe batch`.
pub async fn run(globals: &Globals, command: BatchCommand) -> Result<(), CliError> {
    let client = globals.client()?;
    match command {
        BatchCommand::Create(args) => create(globals, &client, &args).await,
        BatchCommand::Validate(args) => validate(globals, &client, &args).await,
        BatchCommand::List(args) => list(globals, &client, args).await,
        BatchCommand::Show(batch) => {
            let batch = details(&client, batch.id).await?;
            globals.show(&batch, || describe(&batch));
            Ok(())
        }
        BatchCommand::Watch(batch) => watch::watch(globals, &client, batch.id).await,
        BatchCommand::Edit(args) => edit(globals, &client, &args).await,
        BatchCommand::Compare(batch) => {
            // What stands side by side is found by the first batch of a chain.
            let root = details(&client, batch.id).await?["root_batch"]["id"].clone();
            let compared = client.v6_get(&format!("batches/comparison/{root}/")).await?;
            globals.show(&compared, || compare::side_by_side(&compared));
            Ok(())
        }
        BatchCommand::Pause(batch) => pause(&client, batch.id, true).await,
        BatchCommand::Resume(batch) => pause(&client, batch.id, false).await,
        BatchCommand::Cancel(batch) => {
            details(&client, batch.id).await?;
            client.v6_post("jobs/cancel/", &json!({"batch_ids": [batch.id]})).await?;
            say(&format!("the jobs of batch {} that have not ended are being canceled", batch.id));
            Ok(())
        }
        BatchCommand::Requeue(args) => {
            let id = args.batch.id;
            details(&client, id).await?;
            let mut order = json!({"batch_ids": [id]});
            if let Some(priority) = args.priority {
                order["priority"] = json!(priority);
            }
            client.v6_post("jobs/requeue/", &order).await?;
            say(&format!("the failed and the canceled jobs of batch {id} are being queued again"));
            Ok(())
        }
    }
}

/// A batch with everything that is told of it.
pub async fn details(client: &Client, id: i64) -> Result<Value, CliError> {
    let answer = client.v6_get(&format!("batches/{id}/")).await;
    known(answer, &format!("recipe batch {id}"), "recipe batch list")
}

async fn create(globals: &Globals, client: &Client, args: &CreateArgs) -> Result<(), CliError> {
    let body = definition::body(client, &args.definition).await?;
    checked(client, "batches/validation/", &body, "the batch").await?;
    let batch = client.v6_post("batches/", &body).await?;
    if args.quiet {
        print_out(&format!("{}\n", batch["id"]));
    } else {
        globals.show(&batch, || {
            let recipes = counted(&batch["recipes_estimated"]);
            format!("batch {} is created, with about {recipes} recipes\n", batch["id"])
        });
    }
    match batch["id"].as_i64() {
        Some(id) if args.watch => watch::watch(globals, client, id).await,
        _ => Ok(()),
    }
}

async fn validate(globals: &Globals, client: &Client, args: &DefinitionArgs) -> Result<(), CliError> {
    let body = definition::body(client, args).await?;
    let answer = client.v6_check("batches/validation/", &body).await?;
    verdict(globals, &answer, "the batch", || {
        let mut text = labelled(&[("recipes", format!("about {}", counted(&answer["recipes_estimated"])))]);
        if answer["prev_batch"]["diff"].is_object() {
            text.push_str(&diff::nodes(&answer["prev_batch"]["diff"]));
        }
        text
    })
}

async fn list(globals: &Globals, client: &Client, args: ListArgs) -> Result<(), CliError> {
    let mut query = list::each("root_batch_id", &args.root);
    for name in &args.types {
        query.push(("recipe_type_id", definition::type_id(client, name).await?.to_string()));
    }
    query.extend(args.created.map(|done| ("is_creation_done", done.to_string())));
    query.extend(args.superseded.map(|superseded| ("is_superseded", superseded.to_string())));
    let most = args.changed.put(&mut query);
    let heading = ["ID", "TITLE", "TYPE", "STATE", "RECIPES", "FAILED"];
    list::show(globals, client, "batches/", &query, &most, &heading, |batch| {
        vec![
            text(&batch["id"]),
            clip(&text(&batch["title"]), 20),
            clip(&text(&batch["recipe_type"]["name"]), 16),
            State::of(batch).word().to_owned(),
            format!("{}/{}", counted(&batch["recipes_completed"]), counted(&batch["recipes_total"])),
            counted(&batch["jobs_failed"]),
        ]
    })
    .await
}

async fn edit(globals: &Globals, client: &Client, args: &EditArgs) -> Result<(), CliError> {
    let mut body = Body::default();
    args.about.put(&mut body)?;
    let before = details(client, args.batch.id).await?;
    if let Some(file) = &args.configuration {
        body.set("configuration", Some(json_file(file)?))?;
    } else if let Some(priority) = args.priority {
        // A configuration that is sent replaces the one that is stored.
        let mut configuration = before["configuration"].as_object().cloned().unwrap_or_default();
        configuration.insert("priority".to_owned(), json!(priority));
        body.set("configuration", Some(configuration))?;
    }
    if body.is_empty() {
        return Err(CliError::Usage(
            "say what to change: --title, --description, --priority or --configuration".to_owned(),
        ));
    }
    client.v6_patch(&format!("batches/{}/", args.batch.id), &body).await?;
    let batch = details(client, args.batch.id).await?;
    globals.show(&batch, || describe(&batch));
    Ok(())
}

async fn pause(client: &Client, id: i64, paused: bool) -> Result<(), CliError> {
    details(client, id).await?;
    client.v6_patch(&format!("batches/{id}/"), &json!({"is_paused": paused})).await?;
    let how = if paused { "is paused: its jobs stay queued" } else { "goes on" };
    say(&format!("batch {id} {how}"));
    Ok(())
}

/// A batch and its nodes.
fn describe(batch: &Value) -> String {
    let named = |base: &Value| match base["title"].as_str() {
        Some(title) => format!("{} ({title})", base["id"]),
        None => base["id"].to_string(),
    };
    let state = State::of(batch);
    let mut made = when(&batch["created"]);
    if let Some(user) = batch["event"]["description"]["user"].as_str() {
        made.push_str(&format!(" by {user}"));
    }
    let mut recipes =
        format!("{} of {} completed", counted(&batch["recipes_completed"]), counted(&batch["recipes_total"]));
    if batch["is_creation_done"] != true {
        recipes.push_str(&format!(", about {} to come", count(number(&batch["recipes_estimated"]))));
    }
    let mut paused = String::new();
    if batch["is_paused"] == true {
        paused = format!("since {} by {}", when(&batch["paused"]), text(&batch["paused_by"]));
    }
    let when_set = |value: &Value| if value.is_null() { String::new() } else { text(value) };
    let previous = &batch["superseded_batch"];
    let mut lines = labelled(&[
        ("batch", named(batch)),
        ("description", when_set(&batch["description"])),
        (
            "type",
            format!(
                "{}, revision {}",
                text(&batch["recipe_type"]["name"]),
                batch["recipe_type_rev"]["revision_num"]
            ),
        ),
        ("state", state.word().to_owned()),
        ("paused", paused),
        ("recipes", recipes),
        ("dataset", when_set(&batch["definition"]["dataset"])),
        ("previous", if previous.is_null() { String::new() } else { named(previous) }),
        (
            "superseded",
            if batch["superseded"].is_null() { String::new() } else { when(&batch["superseded"]) },
        ),
        ("priority", when_set(&batch["configuration"]["priority"])),
        ("created", made),
    ]);
    let mut rows = vec![row("all", batch)];
    rows.extend(in_order(batch).into_iter().map(|name| row(name, &batch["job_metrics"][name])));
    lines.push_str(&table(&["NODE", "JOBS", "COMPLETED", "FAILED", "OTHER", "MEAN", "LONGEST"], &rows));
    lines
}

fn row(name: &str, counters: &Value) -> Vec<String> {
    let jobs = Jobs::of(counters);
    vec![
        clip(name, 20),
        count(jobs.total),
        count(jobs.completed),
        count(jobs.failed),
        count(jobs.other()),
        took(&counters["avg_seed_duration"]),
        took(&counters["max_seed_duration"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_well() {
        let batch = json!({
            "id": 7, "title": "after the rise", "description": null, "recipe_type": {"name": "loan"},
            "recipe_type_rev": {"revision_num": 2, "definition": {"nodes": {"price": {"dependencies": []}}}},
            "event": {"description": {"user": "ann"}}, "superseded_batch": {"id": 3, "title": null}, "superseded": null,
            "is_creation_done": true, "recipes_total": 1_000, "recipes_completed": 999, "recipes_estimated": 1_000,
            "jobs_total": 1_700, "jobs_completed": 1_699, "jobs_failed": 1, "jobs_pending": 0,
            "definition": {"previous_batch": {"root_batch_id": 3}}, "configuration": {"priority": 5},
            "created": "2026-11-29T20:51:03.5Z",
            "job_metrics": {"price": {"jobs_total": 700, "jobs_completed": 699, "jobs_failed": 1,
                "avg_seed_duration": "PT0.000021S", "max_seed_duration": "PT0.0005S"}},
        });
        insta::assert_snapshot!(describe(&batch), @r"
        batch     7 (after the rise)
        type      loan, revision 2
        state     stopped
        recipes   999 of 1,000 completed
        previous  3
        priority  5
        created   2026-11-29 20:51:03 by ann
        NODE   JOBS   COMPLETED  FAILED  OTHER  MEAN   LONGEST
        all    1,700  1,699      1       0      -      -
        price  700    699        1       0      21 µs  500 µs
        ");
    }
}
