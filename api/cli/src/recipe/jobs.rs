//! `millrace job`: evaluations, one by one and by filter.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::super::client::{Client, path};
use super::super::error::CliError;
use super::super::table::table;
use super::super::{Globals, print_out, say};
use super::cells::{clip, labelled, text, took, values, when};
use super::document::known;
use super::list::{self, Changed};
use super::runs::Input;

/// Help under `millrace job --help`.
pub const HELP: &str = "\
Examples:
  millrace job list --batch 7 --status FAILED
  millrace job show 31
  millrace job requeue --batch 7 --error-category DATA
  millrace job cancel --type price";

/// What jobs may be in.
const STATUS: [&str; 7] = ["PENDING", "BLOCKED", "QUEUED", "RUNNING", "FAILED", "COMPLETED", "CANCELED"];
const CATEGORY: [&str; 3] = ["SYSTEM", "DATA", "ALGORITHM"];

/// `millrace job`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs, those that changed last first
    List(Box<ListArgs>),
    /// Show a job: its input, its output, why it failed
    Show(JobId),
    /// List the executions of a job, newest first
    Executions(JobId),
    /// Run a job type once, outside of recipes
    Create(CreateArgs),
    /// Cancel jobs that have not ended
    Cancel(Box<ChosenArgs>),
    /// Run failed and canceled jobs again
    Requeue(Box<RequeueArgs>),
}

/// Names a job.
#[derive(Debug, Args)]
pub struct JobId {
    /// The job's number
    #[arg(value_name = "ID")]
    id: i64,
}

/// Which jobs are meant; those that fit all that is given.
#[derive(Debug, Args)]
pub struct Filter {
    /// Of this batch; may be given several times
    #[arg(long, value_name = "ID")]
    batch: Vec<i64>,
    /// Of this recipe; may be given several times
    #[arg(long, value_name = "ID")]
    recipe: Vec<i64>,
    /// Of job types with this name; may be given several times
    #[arg(long = "type", value_name = "NAME")]
    types: Vec<String>,
    /// With this status; may be given several times
    #[arg(long, value_parser = STATUS, ignore_case = true, value_name = "STATUS")]
    status: Vec<String>,
    /// With an error of this category; may be given several times
    #[arg(long, value_parser = CATEGORY, ignore_case = true, value_name = "CATEGORY")]
    error_category: Vec<String>,
    /// Those whose work a newer job does (true), or not (false)
    #[arg(long, value_name = "BOOL")]
    superseded: Option<bool>,
}

impl Filter {
    fn query(&self) -> super::super::client::Query {
        let upper =
            |texts: &[String]| -> Vec<String> { texts.iter().map(|text| text.to_uppercase()).collect() };
        let mut query = [
            list::each("batch_id", &self.batch),
            list::each("recipe_id", &self.recipe),
            list::each("job_type_name", &self.types),
            list::each("status", &upper(&self.status)),
            list::each("error_category", &upper(&self.error_category)),
        ]
        .concat();
        query.extend(self.superseded.map(|superseded| ("is_superseded", superseded.to_string())));
        query
    }

    /// As the body of an order, whose lists are called otherwise.
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let upper = |text: &String| text.to_uppercase();
        for (name, list) in [
            ("batch_ids", json!(self.batch)),
            ("recipe_ids", json!(self.recipe)),
            ("job_type_names", json!(self.types)),
            ("status", self.status.iter().map(upper).collect()),
            ("error_categories", self.error_category.iter().map(upper).collect()),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                body.insert(name.to_owned(), list);
            }
        }
        if let Some(superseded) = self.superseded {
            body.insert("is_superseded".to_owned(), json!(superseded));
        }
        body
    }
}

/// `millrace job list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    changed: Changed,
}

/// `millrace job create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The job type's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Its version
    #[arg(id = "job_type_version", value_name = "VERSION")]
    version: String,
    #[command(flatten)]
    input: Input,
    /// Print the number of the job and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// `millrace job cancel`.
#[derive(Debug, Args)]
pub struct ChosenArgs {
    /// The jobs' numbers
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: Filter,
}

impl ChosenArgs {
    fn body(&self) -> Result<Map<String, Value>, CliError> {
        let mut body = self.filter.body();
        if !self.ids.is_empty() {
            body.insert("job_ids".to_owned(), json!(self.ids));
        }
        if body.is_empty() {
            return Err(CliError::Usage(
                "say which jobs: IDs, --batch, --recipe, --type, --status …".to_owned(),
            ));
        }
        Ok(body)
    }
}

/// `millrace job requeue`.
#[derive(Debug, Args)]
pub struct RequeueArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// Lower goes first [default: as before]
    #[arg(long, value_name = "NUMBER")]
    priority: Option<i64>,
}

/// Runs `millrace job`.
pub async fn run(globals: &Globals, command: JobCommand) -> Result<(), CliError> {
    let client = globals.client()?;
    match command {
        JobCommand::List(args) => {
            let mut query = args.filter.query();
            let most = args.changed.put(&mut query);
            let heading = ["ID", "TYPE", "BATCH", "RECIPE", "STATUS", "TRIES", "CHANGED", "ERROR"];
            list::show(globals, &client, "jobs/", &query, &most, &heading, |job| {
                vec![
                    text(&job["id"]),
                    clip(&text(&job["job_type"]["name"]), 16),
                    text(&job["batch"]["id"]),
                    text(&job["recipe"]["id"]),
                    text(&job["status"]),
                    text(&job["num_exes"]),
                    when(&job["last_modified"]),
                    job["error"]["name"].as_str().unwrap_or_default().to_owned(),
                ]
            })
            .await
        }
        JobCommand::Show(job) => {
            let shown = details(&client, job.id).await?;
            globals.show(&shown, || describe(&shown));
            Ok(())
        }
        JobCommand::Executions(job) => {
            let answer = client.v6_list(&format!("jobs/{}/executions/", job.id), &[], usize::MAX).await;
            let list = known(answer, &format!("job {}", job.id), "job list")?;
            globals.show(&list, || {
                let row = |execution: &Value| {
                    vec![
                        text(&execution["exe_num"]),
                        text(&execution["status"]),
                        when(&execution["queued"]),
                        when(&execution["ended"]),
                        clip(&text(&execution["node"]["hostname"]), 16),
                        execution["error"]["name"].as_str().unwrap_or_default().to_owned(),
                    ]
                };
                table(&["NUMBER", "STATUS", "QUEUED", "ENDED", "WORKER", "ERROR"], &list::rows(&list, row))
            });
            Ok(())
        }
        JobCommand::Create(args) => {
            let of = client.v6_get(&path(&["job-types", &args.name, &args.version])).await;
            let of = known(of, &format!("job type {} {}", args.name, args.version), "job-type list")?;
            let body = json!({"job_type_id": of["id"], "input": args.input.document()?});
            let made = client.v6_post("jobs/", &body).await?;
            if args.quiet {
                print_out(&format!("{}\n", made["id"]));
            } else {
                globals.show(&made, || format!("job {} is created\n", made["id"]));
            }
            Ok(())
        }
        JobCommand::Cancel(args) => {
            client.v6_post("jobs/cancel/", &args.body()?).await?;
            say("those of these jobs that have not ended are being canceled");
            Ok(())
        }
        JobCommand::Requeue(args) => {
            let mut body = args.chosen.body()?;
            if let Some(priority) = args.priority {
                body.insert("priority".to_owned(), json!(priority));
            }
            client.v6_post("jobs/requeue/", &body).await?;
            say("those of these jobs that failed or were canceled are being queued again");
            Ok(())
        }
    }
}

async fn details(client: &Client, id: i64) -> Result<Value, CliError> {
    known(client.v6_get(&format!("jobs/{id}/")).await, &format!("job {id}"), "job list")
}

/// A job with input and output.
fn describe(job: &Value) -> String {
    let reference = |value: &Value| if value.is_null() { String::new() } else { text(&value["id"]) };
    let error = &job["error"];
    let failed = if error.is_null() {
        String::new()
    } else {
        let what = error["detail"].as_str().or(error["description"].as_str()).unwrap_or_default();
        format!("{} ({}): {what}", text(&error["name"]), text(&error["category"]))
    };
    labelled(&[
        ("job", text(&job["id"])),
        (
            "type",
            format!(
                "{} {}, revision {}",
                text(&job["job_type"]["name"]),
                text(&job["job_type"]["version"]),
                job["job_type_rev"]["revision_num"]
            ),
        ),
        ("batch", reference(&job["batch"])),
        ("recipe", reference(&job["recipe"])),
        ("status", text(&job["status"])),
        ("tries", format!("{} of {}", job["num_exes"], job["max_tries"])),
        ("input", values(&job["input"])),
        ("output", values(&job["output"])),
        ("error", failed),
        ("worker", job["node"]["hostname"].as_str().unwrap_or_default().to_owned()),
        ("queued", when(&job["queued"])),
        ("ended", when(&job["ended"])),
        ("evaluation", evaluation(&job["execution"])),
    ])
}

/// How long the evaluation itself took.
fn evaluation(execution: &Value) -> String {
    let time = &execution["seed_duration"];
    if time.is_null() { String::new() } else { took(time) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ChosenArgs,
    }

    fn body(line: &str) -> Result<Value, CliError> {
        Line::parse_from(line.split_whitespace()).args.body().map(Value::Object)
    }

    #[test]
    fn what_is_chosen_is_what_is_sent() {
        assert_eq!(
            body("x 3 4 --batch 7 --type price --status failed --error-category data --superseded false")
                .unwrap(),
            json!({
                "job_ids": [3, 4], "batch_ids": [7], "job_type_names": ["price"], "status": ["FAILED"],
                "error_categories": ["DATA"], "is_superseded": false,
            })
        );
        assert_eq!(body("x").unwrap_err().exit_code(), 2);
    }
}
