//! `millrace dataset`: sets of inputs, a recipe for each member.

mod upload;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Client, ClientError};
use super::error::CliError;
use super::recipe::cells::{clip, counted, labelled, number, text, when};
use super::recipe::document::{Body, checked, json as json_file, known, verdict};
use super::recipe::list::{self, Most};
use super::table::{count, table};
use super::{Globals, print_out, say};
use upload::UploadArgs;

/// Help under `millrace dataset --help`.
pub const HELP: &str = "\
A dataset declares parameters, and has members: one input document each. Members come from a CSV or JSON Lines file, row by row, or \
from JSON documents.

Examples:
  millrace dataset create --title Applications --parameter income:number --parameter amount:number
  millrace dataset upload 7 applications.csv
  millrace dataset members 7 --max 5";

const CREATE_HELP: &str = "\
The file is a dataset definition ({\"parameters\": …}), or a whole request with title, description, definition and data. Parameters \
that are given one by one are added to it. Types: array, boolean, integer, number, object, string; with a ? a value may be missing.

Examples:
  millrace dataset create dataset.json --title Applications
  millrace dataset create --title Applications --parameter income:number --parameter note:string?
  dataset=$(millrace dataset create dataset.json --quiet)";

/// `millrace dataset`.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// List datasets, newest first
    List(ListArgs),
    /// Show a dataset: its parameters and how many members it has
    Show(DatasetId),
    /// Make a dataset
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// Check a definition; the exit code is 1 when it has errors
    Validate(ValidateArgs),
    /// Add the rows of a CSV or JSON Lines file, a member each: all of them, or none
    #[command(after_help = upload::HELP)]
    Upload(UploadArgs),
    /// List the uploads to a dataset, newest first, with how far they are
    Uploads(PagedArgs),
    /// Add members from JSON data documents: all of them, or none
    Add(AddArgs),
    /// List the members of a dataset, by number
    Members(PagedArgs),
}

/// Names a dataset.
#[derive(Debug, Args)]
pub struct DatasetId {
    /// The dataset's number
    #[arg(value_name = "ID")]
    id: i64,
}

/// `millrace dataset list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only datasets with this in title or description; may be given several times
    #[arg(long, value_name = "TEXT")]
    keyword: Vec<String>,
    #[command(flatten)]
    most: Most,
}

/// `millrace dataset members` and `millrace dataset uploads`.
#[derive(Debug, Args)]
pub struct PagedArgs {
    #[command(flatten)]
    dataset: DatasetId,
    #[command(flatten)]
    most: Most,
}

/// `millrace dataset create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// A JSON file with the definition, or with a whole request; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "parameters")]
    file: Option<PathBuf>,
    /// A parameter that every member has a value for; may be given several times
    #[arg(long = "parameter", value_name = "NAME:TYPE", value_parser = parameter)]
    parameters: Vec<Value>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Print the number of the dataset and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// `millrace dataset validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A JSON file with the definition, or with a whole request; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// `millrace dataset add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    #[command(flatten)]
    dataset: DatasetId,
    /// A JSON file with a data document ({"json": {name: value}}) or a list of them; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show what would be stored, and store nothing
    #[arg(long)]
    dry_run: bool,
}

/// `income:number`, `note:string?`.
fn parameter(text: &str) -> Result<Value, String> {
    let wrong =
        || "write it as NAME:TYPE, for example income:number, or note:string? where a value may be missing";
    let (name, kind) = text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (kind, required) = kind.strip_suffix('?').map_or((kind, true), |kind| (kind, false));
    match kind {
        "array" | "boolean" | "integer" | "number" | "object" | "string" => {
            Ok(json!({"name": name, "type": kind, "required": required}))
        }
        _ => Err(wrong().to_owned()),
    }
}

/// The answer about a dataset that may not exist.
fn found<T>(answer: Result<T, ClientError>, id: i64) -> Result<T, CliError> {
    known(answer, &format!("dataset {id}"), "dataset list")
}

/// Runs `millrace dataset`.
pub async fn run(globals: &Globals, command: DatasetCommand) -> Result<(), CliError> {
    let client = globals.client()?;
    match command {
        DatasetCommand::List(args) => {
            let mut query = list::each("keyword", &args.keyword);
            query.push(("order", "-id".to_owned()));
            let heading = ["ID", "TITLE", "PARAMETERS", "CREATED"];
            list::show(globals, &client, "datasets/", &query, &args.most, &heading, |dataset| {
                let names: Vec<String> =
                    parameters(dataset).map(|parameter| text(&parameter["name"])).collect();
                vec![
                    text(&dataset["id"]),
                    clip(&text(&dataset["title"]), 20),
                    clip(&names.join(", "), 30),
                    when(&dataset["created"]),
                ]
            })
            .await
        }
        DatasetCommand::Show(dataset) => show(globals, &client, dataset.id).await,
        DatasetCommand::Create(args) => create(globals, &client, args).await,
        DatasetCommand::Validate(args) => {
            let body = Body::read(&args.file, "definition")?;
            let answer = client.v6_check("datasets/validation/", &body).await?;
            verdict(globals, &answer, "the dataset", String::new)
        }
        DatasetCommand::Upload(args) => upload::run(globals, args).await,
        DatasetCommand::Uploads(args) => {
            let path = format!("datasets/{}/uploads/", args.dataset.id);
            let list = found(client.v6_list(&path, &[], args.most.number()).await, args.dataset.id)?;
            globals.show(&list, || {
                let row = |upload: &Value| {
                    vec![
                        text(&upload["id"]),
                        text(&upload["state"]),
                        counted(&upload["members"]),
                        counted(&upload["bytes"]),
                        when(&upload["created"]),
                        upload["reason"].as_str().unwrap_or_default().to_owned(),
                    ]
                };
                table(&["ID", "STATE", "MEMBERS", "BYTES", "BEGAN", "REASON"], &list::rows(&list, row))
            });
            Ok(())
        }
        DatasetCommand::Add(args) => {
            let mut body = Body::default();
            body.set("data", Some(json_file(&args.file)?))?;
            body.set("dry_run", args.dry_run.then_some(true))?;
            let path = format!("datasets/{}/", args.dataset.id);
            let added = found(client.v6_post(&path, &body).await, args.dataset.id)?;
            let members = added.as_array().map_or(0, Vec::len) as u64;
            let word = if args.dry_run { "would be added" } else { "are added" };
            globals.show(&added, || format!("{} members {word}\n", count(members)));
            Ok(())
        }
        DatasetCommand::Members(args) => members(globals, &client, args).await,
    }
}

fn parameters(dataset: &Value) -> impl Iterator<Item = &Value> {
    const PLACES: [(&str, &str); 4] = [
        ("parameters", "json"),
        ("parameters", "files"),
        ("global_parameters", "json"),
        ("global_parameters", "files"),
    ];
    let list = move |(key, kind): (&str, &str)| dataset["definition"][key][kind].as_array();
    PLACES.into_iter().filter_map(list).flatten()
}

async fn show(globals: &Globals, client: &Client, id: i64) -> Result<(), CliError> {
    let dataset = found(client.v6_get(&format!("datasets/{id}/")).await, id)?;
    let members = client.v6_list(&format!("datasets/{id}/members/"), &[], 1).await?;
    globals.show(&dataset, || describe(&dataset, &members["count"]));
    Ok(())
}

fn describe(dataset: &Value, members: &Value) -> String {
    let parameters: Vec<String> = parameters(dataset).map(super::recipe::parameter).collect();
    labelled(&[
        ("dataset", text(&dataset["id"])),
        ("title", dataset["title"].as_str().unwrap_or_default().to_owned()),
        ("description", dataset["description"].as_str().unwrap_or_default().to_owned()),
        ("parameters", parameters.join(", ")),
        ("members", counted(members)),
        ("created", when(&dataset["created"])),
    ])
}

async fn create(globals: &Globals, client: &Client, args: CreateArgs) -> Result<(), CliError> {
    let mut body = match &args.file {
        Some(file) => Body::read(file, "definition")?,
        None => Body::default(),
    };
    if !args.parameters.is_empty() {
        let mut definition = match body.get("definition") {
            Value::Object(definition) => definition,
            _ => Map::new(),
        };
        let declared = definition.entry("parameters").or_insert_with(|| json!({}));
        let declared = declared
            .as_object_mut()
            .ok_or_else(|| CliError::Input("definition.parameters: a JSON object is expected".to_owned()))?;
        match declared.get_mut("json").and_then(Value::as_array_mut) {
            Some(list) => list.extend(args.parameters),
            None => {
                declared.insert("json".to_owned(), json!(args.parameters));
            }
        }
        body.set("definition", Some(definition))?;
    }
    body.set("title", args.title.as_ref())?;
    body.set("description", args.description.as_ref())?;
    checked(client, "datasets/validation/", &body.only("definition"), "the dataset").await?;
    let made = client.v6_post("datasets/", &body).await?;
    if args.quiet {
        print_out(&format!("{}\n", made["id"]));
    } else {
        let members = json!(made["members"].as_array().map_or(0, Vec::len));
        globals.show(&made, || describe(&made, &members));
    }
    Ok(())
}

async fn members(globals: &Globals, client: &Client, args: PagedArgs) -> Result<(), CliError> {
    let id = args.dataset.id;
    let dataset = found(client.v6_get(&format!("datasets/{id}/")).await, id)?;
    let list = client.v6_list(&format!("datasets/{id}/members/"), &[], args.most.number()).await?;
    globals.show(&list, || {
        let names: Vec<String> = parameters(&dataset).map(|parameter| text(&parameter["name"])).collect();
        let mut heading = vec!["ID"];
        heading.extend(names.iter().map(String::as_str));
        let row = |member: &Value| {
            let mut row = vec![text(&member["id"])];
            row.extend(names.iter().map(|name| {
                let value = ["json", "files"]
                    .iter()
                    .map(|kind| &member["data"][*kind][name])
                    .find(|value| !value.is_null());
                clip(&value.map_or_else(String::new, text), 20)
            }));
            row
        };
        table(&heading, &list::rows(&list, row))
    });
    let shown = list["results"].as_array().map_or(0, Vec::len) as u64;
    if number(&list["count"]) > shown {
        say(&format!("{} of {} are shown; see --max", count(shown), counted(&list["count"])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_from_the_command_line() {
        assert_eq!(
            parameter("income:number"),
            Ok(json!({"name": "income", "type": "number", "required": true}))
        );
        assert_eq!(
            parameter("note:string?"),
            Ok(json!({"name": "note", "type": "string", "required": false}))
        );
        for wrong in ["income", ":number", "income:float", "income:?"] {
            assert!(parameter(wrong).is_err(), "{wrong}");
        }
    }
}
