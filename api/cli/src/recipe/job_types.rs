//! `millrace job-type`: what a node computes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::Globals;
use super::super::client::{Client, ClientError, path};
use super::super::error::CliError;
use super::super::table::table;
use super::cells::{clip, labelled, text, when};
use super::document::{Body, known, tell, verdict};
use super::draft;
use super::list::{self, Most};
use super::types::parameter;

/// Help under `millrace job-type --help`.
pub const HELP: &str = "\
A job type is a calculation with a Seed manifest: a published service (\"model\": {\"service\": \"folder/name[1.0.0]\"}), or formulas \
over the manifest's inputs (\"model\": {\"formulas\": {output: formula}}).

Examples:
  millrace job-type draft loans/price > price.job.json
  millrace job-type create price.job.json
  millrace job-type update price 1.0.0 --service loans/price[0.2]
  millrace job-type update price 1.0.0 --paused true";

const CREATE_HELP: &str = "\
The file is the request: manifest, model, and if wanted configuration and max_tries. Where name and version exist already, that one \
is changed, and gets a revision.

Examples:
  millrace job-type validate price.job.json
  millrace job-type create price.job.json";

const UPDATE_HELP: &str = "\
A manifest or a model makes a revision, and recipe types that contain the job type get one with it. Jobs of a paused type wait.

Examples:
  millrace job-type update price 1.0.0 --service loans/price[0.2]
  millrace job-type update price 1.0.0 price.job.json --no-auto-update
  millrace job-type update price 1.0.0 --paused true";

/// `millrace job-type`.
#[derive(Debug, Subcommand)]
pub enum JobTypeCommand {
    /// List job types, by name
    List(ListArgs),
    /// Show a job type: its interface and what computes it
    Show(ShowArgs),
    /// Print a job type made of a service, to be looked at and created
    #[command(after_help = draft::HELP)]
    Draft(draft::DraftArgs),
    /// Make a job type
    #[command(after_help = CREATE_HELP)]
    Create(CreateArgs),
    /// Change a job type
    #[command(after_help = UPDATE_HELP)]
    Update(UpdateArgs),
    /// Check a job type; the exit code is 1 when it has errors
    Validate(ValidateArgs),
    /// List the revisions of a job type, newest first
    Revisions(RevisionsArgs),
}

/// `millrace job-type list`.
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

/// Names a version of a job type.
#[derive(Debug, Args)]
pub struct JobTypeName {
    /// The job type's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Its version
    #[arg(id = "job_type_version", value_name = "VERSION")]
    version: String,
}

/// `millrace job-type show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The job type's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Its version [default: the newest]
    #[arg(id = "job_type_version", value_name = "VERSION")]
    version: Option<String>,
    /// An older revision
    #[arg(long, value_name = "NUMBER", requires = "job_type_version")]
    revision: Option<u32>,
}

/// `millrace job-type create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// A JSON file with the request; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The service that computes it, as FOLDER/NAME or FOLDER/NAME[VERSION], in place of what the file says
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
}

/// `millrace job-type update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    of: JobTypeName,
    /// A JSON file with what is to change; - is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The service that computes it from now on, as FOLDER/NAME or FOLDER/NAME[VERSION]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Whether its jobs wait
    #[arg(long, value_name = "BOOL")]
    paused: Option<bool>,
    /// Whether it may be used; without it, recipe types that contain it are deactivated as well
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// How often a job may be tried
    #[arg(long, value_name = "NUMBER")]
    max_tries: Option<u32>,
    /// Leave recipe types that contain it as they are
    #[arg(long)]
    no_auto_update: bool,
}

/// `millrace job-type validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A JSON file with the request; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// `millrace job-type revisions`.
#[derive(Debug, Args)]
pub struct RevisionsArgs {
    #[command(flatten)]
    of: JobTypeName,
    #[command(flatten)]
    most: Most,
}

const WHAT: &str = "the job type";

fn found<T>(answer: Result<T, ClientError>, name: &str, version: &str) -> Result<T, CliError> {
    known(answer, &format!("job type {name} {version}"), "job-type list")
}

async fn details(client: &Client, name: &str, version: &str) -> Result<Value, CliError> {
    found(client.v6_get(&path(&["job-types", name, version])).await, name, version)
}

/// Asks whether a whole request would be taken.
async fn check(client: &Client, body: &mut Body) -> Result<Value, CliError> {
    // The check wants one, unlike a creation.
    if body.get("configuration").is_null() {
        body.set("configuration", Some(json!({})))?;
    }
    Ok(client.v6_check("job-types/validation/", body).await?)
}

/// Runs `millrace job-type`.
pub async fn run(globals: &Globals, command: JobTypeCommand) -> Result<(), CliError> {
    let client = globals.client()?;
    match command {
        JobTypeCommand::List(args) => {
            let mut query = list::each("keyword", &args.keyword);
            query.extend(args.active.map(|active| ("is_active", active.to_string())));
            let heading = ["ID", "NAME", "VERSION", "REVISION", "STATE", "TITLE"];
            list::show(globals, &client, "job-types/", &query, &args.most, &heading, |found| {
                vec![
                    text(&found["id"]),
                    clip(&text(&found["name"]), 20),
                    clip(&text(&found["version"]), 10),
                    text(&found["revision_num"]),
                    state(found).to_owned(),
                    clip(&text(&found["title"]), 20),
                ]
            })
            .await
        }
        JobTypeCommand::Show(args) => show(globals, &client, args).await,
        JobTypeCommand::Draft(args) => draft::print(globals, &args).await,
        JobTypeCommand::Create(args) => {
            let mut body = Body::read(&args.file, "manifest")?;
            body.set("model", args.service.map(|service| json!({"service": service})))?;
            let job = body.get("manifest")["job"].clone();
            tell(&check(&client, &mut body).await?, WHAT)?;
            client.v6_post("job-types/", &body).await?;
            let made = details(&client, &text(&job["name"]), &text(&job["jobVersion"])).await?;
            globals.show(&made, || describe(&made));
            Ok(())
        }
        JobTypeCommand::Update(args) => update(globals, &client, args).await,
        JobTypeCommand::Validate(args) => {
            let mut body = Body::read(&args.file, "manifest")?;
            let answer = check(&client, &mut body).await?;
            verdict(globals, &answer, WHAT, String::new)
        }
        JobTypeCommand::Revisions(args) => {
            let JobTypeName { name, version } = &args.of;
            let path = path(&["job-types", name, version, "revisions"]);
            let list = found(client.v6_list(&path, &[], args.most.number()).await, name, version)?;
            globals.show(&list, || {
                let row =
                    |revision: &Value| vec![text(&revision["revision_num"]), when(&revision["created"])];
                table(&["REVISION", "CREATED"], &list::rows(&list, row))
            });
            Ok(())
        }
    }
}

async fn show(globals: &Globals, client: &Client, args: ShowArgs) -> Result<(), CliError> {
    let version = match args.version {
        Some(version) => version,
        None => {
            let versions = client.v6_list(&path(&["job-types", &args.name]), &[], 1).await?;
            let newest = versions["results"][0]["version"].as_str();
            newest.map(str::to_owned).ok_or_else(|| {
                CliError::Failed(format!(
                    "there is no job type {}; `millrace job-type list` shows what there is",
                    args.name
                ))
            })?
        }
    };
    let mut shown = details(client, &args.name, &version).await?;
    if let Some(number) = args.revision {
        let path = path(&["job-types", &args.name, &version, "revisions", &number.to_string()]);
        let what = format!("revision {number} of job type {} {version}", args.name);
        let list = format!("job-type revisions {} {version}", args.name);
        let revision = known(client.v6_get(&path).await, &what, &list)?;
        for key in ["manifest", "model", "revision_num"] {
            shown[key] = revision[key].clone();
        }
    }
    globals.show(&shown, || describe(&shown));
    Ok(())
}

async fn update(globals: &Globals, client: &Client, args: UpdateArgs) -> Result<(), CliError> {
    let JobTypeName { name, version } = &args.of;
    let mut body = match &args.file {
        Some(file) => Body::read_request(file)?,
        None => Body::default(),
    };
    body.set("model", args.service.map(|service| json!({"service": service})))?;
    body.set("is_paused", args.paused)?;
    body.set("is_active", args.active)?;
    body.set("max_tries", args.max_tries)?;
    if body.is_empty() {
        return Err(CliError::Usage(
            "say what to change: FILE, --service, --paused, --active or --max-tries".to_owned(),
        ));
    }
    body.set("auto_update", args.no_auto_update.then_some(false))?;
    let answer = client.v6_patch(&path(&["job-types", name, version]), &body).await;
    let answer = found(answer, name, version)?;
    tell(&answer, WHAT)?;
    let shown = details(client, name, version).await?;
    globals.show(&shown, || describe(&shown));
    Ok(())
}

fn state(found: &Value) -> &'static str {
    match (found["is_active"] == true, found["is_paused"] == true) {
        (false, _) => "inactive",
        (true, true) => "paused",
        (true, false) => "active",
    }
}

/// A job type with its interface.
fn describe(shown: &Value) -> String {
    let interface = |side: &str| {
        let of = &shown["manifest"]["job"]["interface"][side];
        let parameters = ["json", "files"].iter().flat_map(|kind| of[*kind].as_array().into_iter().flatten());
        parameters.map(parameter).collect::<Vec<_>>().join(", ")
    };
    let recipe_types: Vec<String> =
        shown["recipe_types"].as_array().into_iter().flatten().map(|found| text(&found["name"])).collect();
    let mut lines = labelled(&[
        ("job type", format!("{} {}", text(&shown["name"]), text(&shown["version"]))),
        ("number", text(&shown["id"])),
        ("title", text(&shown["title"])),
        ("revision", text(&shown["revision_num"])),
        ("state", state(shown).to_owned()),
        ("inputs", interface("inputs")),
        ("outputs", interface("outputs")),
        ("service", shown["model"]["service"].as_str().unwrap_or_default().to_owned()),
        ("used by", recipe_types.join(", ")),
    ]);
    for (output, formula) in shown["model"]["formulas"].as_object().into_iter().flatten() {
        lines.push_str(&labelled(&[("formula", format!("{output} = {}", text(formula)))]));
    }
    lines
}
