//! `millrace recipe type`: graphs of job types.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::{Client, ClientError, path};
use super::super::error::CliError;
use super::super::table::table;
use super::super::{Globals, print_out};
use super::cells::{clip, labelled, text, when};
use super::diff;
use super::document::{Body, checked, is_valid, known, tell, verdict};
use super::list::{self, Most};

const CREATE_HELP: &str = "\
The file is a recipe definition, or a whole request with title, description and definition. The name is made of the title: \
`Loan prices` is loan-prices. Errors and warnings are told with their place, such as definition.nodes.price.input.rate.

Examples:
  millrace recipe type validate loan.json
  millrace recipe type create loan.json --title Loan";

const UPDATE_HELP: &str = "\
A definition makes a revision; batches that run keep theirs. Recipe types that contain this one get a revision with it.

Examples:
  millrace recipe type diff loan loan.json
  millrace recipe type update loan loan.json
  millrace recipe type update loan --active false";

/// `millrace recipe type`.
#[derive(Debug, Subcommand)]
pub enum TypeCommand {
    /// List recipe types, by name
    List(ListArgs),
    /// Show a recipe type and its nodes
    Show(ShowArgs),
    /// Make a recipe type
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// Change a recipe type
    #[command(after_help = UPDATE_HELP)]
    Update(UpdateArgs),
    /// Check a definition; the exit code is 1 when it has errors
    Validate(ValidateArgs),
    /// List the revisions of a recipe type, newest first
    Revisions(RevisionsArgs),
    /// Show what a definition would change, node by node
    Diff(DiffArgs),
}

/// `millrace recipe type list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only types with this in name, title or description; may be given several times
    #[arg(long, value_name = "TEXT")]
    keyword: Vec<String>,
    /// Only types that may be run (true), or not (false)
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    #[command(flatten)]
    most: Most,
}

/// Names a recipe type.
#[derive(Debug, Args)]
pub struct TypeName {
    /// The recipe type's name
    #[arg(value_name = "NAME")]
    name: String,
}

/// `millrace recipe type show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    of: TypeName,
    /// An older revision
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u32>,
    /// Print its definition as JSON, as `create`, `update` and `diff` take it
    #[arg(long)]
    definition: bool,
}

/// `millrace recipe type create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// A JSON file with the definition, or with a whole request; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For people; the name is made of it
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Print the name of the recipe type and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// `millrace recipe type update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    of: TypeName,
    /// A JSON file with the new definition, or with a whole request; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// For people; the name stays
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether batches and recipes of it may be created
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// Leave recipe types that contain this one as they are
    #[arg(long)]
    no_auto_update: bool,
}

/// `millrace recipe type validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A JSON file with the definition, or with a whole request; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The recipe type that it would change
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// `millrace recipe type revisions`.
#[derive(Debug, Args)]
pub struct RevisionsArgs {
    #[command(flatten)]
    of: TypeName,
    #[command(flatten)]
    most: Most,
}

/// `millrace recipe type diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    of: TypeName,
    /// A JSON file with the definition, or with a whole request; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const CHECK: &str = "recipe-types/validation/";
const WHAT: &str = "the recipe type";

fn its_path(of: &TypeName) -> String {
    path(&["recipe-types", &of.name])
}

fn found<T>(answer: Result<T, ClientError>, of: &TypeName) -> Result<T, CliError> {
    known(answer, &format!("recipe type {}", of.name), "recipe type list")
}

/// Runs `millrace recipe type`.
pub async fn run(globals: &Globals, command: TypeCommand) -> Result<(), CliError> {
    let client = globals.client()?;
    match command {
        TypeCommand::List(args) => {
            let mut query = list::each("keyword", &args.keyword);
            query.extend(args.active.map(|active| ("is_active", active.to_string())));
            let heading = ["NAME", "TITLE", "REVISION", "STATE", "CHANGED"];
            list::show(globals, &client, "recipe-types/", &query, &args.most, &heading, |found| {
                vec![
                    clip(&text(&found["name"]), 24),
                    clip(&text(&found["title"]), 20),
                    text(&found["revision_num"]),
                    state(found).to_owned(),
                    when(&found["last_modified"]),
                ]
            })
            .await
        }
        TypeCommand::Show(args) => {
            let mut shown = found(client.v6_get(&its_path(&args.of)).await, &args.of)?;
            if let Some(number) = args.revision {
                let revision = path(&["recipe-types", &args.of.name, "revisions", &number.to_string()]);
                let what = format!("revision {number} of recipe type {}", args.of.name);
                let revision = known(
                    client.v6_get(&revision).await,
                    &what,
                    &format!("recipe type revisions {}", args.of.name),
                )?;
                shown["definition"] = revision["definition"].clone();
                shown["revision_num"] = json!(number);
            }
            if args.definition {
                print_out(&format!("{:#}\n", shown["definition"]));
            } else {
                globals.show(&shown, || describe(&shown));
            }
            Ok(())
        }
        TypeCommand::Create(args) => {
            let mut body = Body::read(&args.file, "definition")?;
            body.set("title", args.title.as_ref())?;
            body.set("description", args.description.as_ref())?;
            if body.get("title").is_null() {
                return Err(CliError::Usage(
                    "a recipe type needs a title: --title, or title in the file".to_owned(),
                ));
            }
            checked(&client, CHECK, &body, WHAT).await?;
            let made = client.v6_post("recipe-types/", &body).await?;
            if args.quiet {
                print_out(&format!("{}\n", text(&made["name"])));
            } else {
                globals.show(&made, || describe(&made));
            }
            Ok(())
        }
        TypeCommand::Update(args) => {
            let mut body = match &args.file {
                Some(file) => Body::read(file, "definition")?,
                None => Body::default(),
            };
            body.set("title", args.title.as_ref())?;
            body.set("description", args.description.as_ref())?;
            body.set("is_active", args.active)?;
            if body.is_empty() {
                return Err(CliError::Usage(
                    "say what to change: FILE, --title, --description or --active".to_owned(),
                ));
            }
            body.set("auto_update", args.no_auto_update.then_some(false))?;
            if args.file.is_some() {
                // Its warnings come again with the answer.
                let answer = compared(&client, &body, &args.of).await?;
                if !is_valid(&answer) {
                    tell(&answer, WHAT)?;
                }
            }
            let answer = found(client.v6_patch(&its_path(&args.of), &body).await, &args.of)?;
            tell(&answer, WHAT)?;
            let shown = found(client.v6_get(&its_path(&args.of)).await, &args.of)?;
            globals.show(&shown, || describe(&shown));
            Ok(())
        }
        TypeCommand::Validate(args) => {
            let mut body = Body::read(&args.file, "definition")?;
            body.set("name", args.name.as_ref())?;
            let answer = client.v6_check(CHECK, &body).await?;
            verdict(globals, &answer, WHAT, || match answer["diff"]["nodes"].is_object() {
                true => diff::nodes(&answer["diff"]),
                false => String::new(),
            })
        }
        TypeCommand::Revisions(args) => {
            let list = client
                .v6_list(&path(&["recipe-types", &args.of.name, "revisions"]), &[], args.most.number())
                .await;
            let list = found(list, &args.of)?;
            globals.show(&list, || {
                let row =
                    |revision: &Value| vec![text(&revision["revision_num"]), when(&revision["created"])];
                table(&["REVISION", "CREATED"], &list::rows(&list, row))
            });
            Ok(())
        }
        TypeCommand::Diff(args) => {
            found(client.v6_get(&its_path(&args.of)).await, &args.of)?;
            let answer = compared(&client, &Body::read(&args.file, "definition")?, &args.of).await?;
            tell(&answer, WHAT)?;
            globals.show(&answer["diff"], || diff::nodes(&answer["diff"]));
            Ok(())
        }
    }
}

/// What the check says of a definition as a change of a recipe type.
async fn compared(client: &Client, body: &Body, of: &TypeName) -> Result<Value, CliError> {
    let mut check = body.only("definition");
    check.set("name", Some(&of.name))?;
    Ok(client.v6_check(CHECK, &check).await?)
}

fn state(found: &Value) -> &'static str {
    if found["is_active"] == true { "active" } else { "inactive" }
}

/// A recipe type and its nodes.
fn describe(shown: &Value) -> String {
    let inputs: Vec<String> = ["json", "files"]
        .iter()
        .flat_map(|kind| shown["definition"]["input"][*kind].as_array().into_iter().flatten())
        .map(parameter)
        .collect();
    let mut lines = labelled(&[
        ("recipe type", text(&shown["name"])),
        ("number", text(&shown["id"])),
        ("title", text(&shown["title"])),
        ("description", shown["description"].as_str().unwrap_or_default().to_owned()),
        ("revision", text(&shown["revision_num"])),
        ("state", state(shown).to_owned()),
        ("inputs", inputs.join(", ")),
    ]);
    let rows: Vec<Vec<String>> = shown["definition"]["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, node)| {
            let parents: Vec<String> =
                node["dependencies"].as_array().into_iter().flatten().map(dependency).collect();
            let kind = &node["node_type"];
            let runs = match kind["node_type"].as_str() {
                Some("job") => format!(
                    "{} {}, revision {}",
                    text(&kind["job_type_name"]),
                    text(&kind["job_type_version"]),
                    kind["job_type_revision"]
                ),
                Some("recipe") => {
                    format!("{}, revision {}", text(&kind["recipe_type_name"]), kind["recipe_type_revision"])
                }
                _ => String::new(),
            };
            vec![clip(name, 20), text(&kind["node_type"]), runs, parents.join(", ")]
        })
        .collect();
    lines.push_str(&table(&["NODE", "KIND", "RUNS", "AFTER"], &rows));
    lines
}

/// A parameter of an interface, such as `income number` or `note string, optional`.
pub fn parameter(parameter: &Value) -> String {
    let kind = parameter["type"].as_str().unwrap_or("file");
    let optional = if parameter["required"] == false { " (optional)" } else { "" };
    format!("{} {kind}{optional}", text(&parameter["name"]))
}

fn dependency(dependency: &Value) -> String {
    let name = text(&dependency["name"]);
    if dependency["acceptance"] == false { format!("not {name}") } else { name }
}
