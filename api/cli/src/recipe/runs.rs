//! `millrace recipe create`, `list`, `show` and `reprocess`: single runs of recipe types.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::error::CliError;
use super::super::table::table;
use super::super::{Globals, print_out, say};
use super::cells::{clip, counted, labelled, text, values, when};
use super::definition::type_id;
use super::document::{json as json_file, known};
use super::list::{self, Changed};

/// The most jobs whose outputs `recipe show` asks for.
const OUTPUTS: usize = 50;

/// Help under `millrace recipe create --help`.
pub const CREATE_HELP: &str = "\
The input is a data document, {\"json\": {name: value}}, or given value by value.

Examples:
  millrace recipe create loan --input application.json
  millrace recipe create loan --set income:=3100 --set name=Ann";

/// `millrace recipe create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The recipe type, by name; digits are its number
    #[arg(value_name = "TYPE")]
    recipe_type: String,
    #[command(flatten)]
    input: Input,
    /// Print the number of the recipe and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// What something is run with.
#[derive(Debug, Args)]
pub struct Input {
    /// A JSON file with the data document; - is standard input
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// A value, as text; NAME:=JSON for other values; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::super::run::parameter, conflicts_with = "input")]
    set: Vec<(String, Value)>,
}

impl Input {
    /// The data document.
    pub fn document(&self) -> Result<Value, CliError> {
        match &self.input {
            Some(file) => serde_json::from_str(json_file(file)?.get())
                .map_err(|error| CliError::Input(format!("{}: {error}", file.display()))),
            None => Ok(json!({"json": self.set.iter().cloned().collect::<serde_json::Map<_, _>>()})),
        }
    }
}

/// `millrace recipe list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only recipes that were made for this batch; may be given several times
    #[arg(long, value_name = "ID")]
    batch: Vec<i64>,
    /// Only recipes of this type; may be given several times
    #[arg(long = "type", value_name = "NAME")]
    types: Vec<String>,
    /// Only sub-recipes at any depth in this recipe; may be given several times
    #[arg(long, value_name = "ID")]
    root: Vec<i64>,
    /// Only recipes that are completed (true), or not (false)
    #[arg(long, value_name = "BOOL")]
    completed: Option<bool>,
    /// Only recipes that a newer one took the place of (true), or not (false)
    #[arg(long, value_name = "BOOL")]
    superseded: Option<bool>,
    #[command(flatten)]
    changed: Changed,
}

/// Names a recipe.
#[derive(Debug, Args)]
pub struct RecipeId {
    /// The recipe's number
    #[arg(value_name = "ID")]
    id: i64,
}

/// `millrace recipe reprocess`.
#[derive(Debug, Args)]
pub struct ReprocessArgs {
    #[command(flatten)]
    recipe: RecipeId,
    /// A node to do again, with all that follows it, even if nothing changed; may be given several times
    #[arg(long, value_name = "NODE")]
    force: Vec<String>,
    /// Do every node again
    #[arg(long, conflicts_with = "force")]
    force_all: bool,
    /// The revision of its type [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u32>,
}

/// Makes a recipe outside of batches.
pub async fn create(globals: &Globals, args: CreateArgs) -> Result<(), CliError> {
    let client = globals.client()?;
    let id = type_id(&client, &args.recipe_type).await?;
    let body = json!({"recipe_type_id": id, "input": args.input.document()?});
    let answer = client.v6_post("recipes/", &body).await;
    let made = known(answer, &format!("recipe type {}", args.recipe_type), "recipe type list")?;
    if args.quiet {
        print_out(&format!("{}\n", made["id"]));
    } else {
        globals.show(&made, || format!("recipe {} is created\n", made["id"]));
    }
    Ok(())
}

/// Lists recipes.
pub async fn list(globals: &Globals, args: ListArgs) -> Result<(), CliError> {
    let client = globals.client()?;
    let mut query = [
        list::each("batch_id", &args.batch),
        list::each("recipe_type_name", &args.types),
        list::each("root_recipe_id", &args.root),
    ]
    .concat();
    query.extend(args.completed.map(|completed| ("is_completed", completed.to_string())));
    query.extend(args.superseded.map(|superseded| ("is_superseded", superseded.to_string())));
    let most = args.changed.put(&mut query);
    let heading = ["ID", "TYPE", "REV", "BATCH", "STATE", "JOBS", "FAILED", "CHANGED"];
    list::show(globals, &client, "recipes/", &query, &most, &heading, |recipe| {
        vec![
            text(&recipe["id"]),
            clip(&text(&recipe["recipe_type"]["name"]), 16),
            text(&recipe["recipe_type_rev"]["revision_num"]),
            text(&recipe["batch"]["id"]),
            state(recipe).to_owned(),
            format!("{}/{}", counted(&recipe["jobs_completed"]), counted(&recipe["jobs_total"])),
            counted(&recipe["jobs_failed"]),
            when(&recipe["last_modified"]),
        ]
    })
    .await
}

fn state(recipe: &Value) -> &'static str {
    let jobs = |status: &str| recipe[format!("jobs_{status}")].as_u64().unwrap_or(0);
    if recipe["is_superseded"] == true {
        "superseded"
    } else if recipe["is_completed"] == true {
        "completed"
    } else if jobs("pending") + jobs("queued") + jobs("running") == 0
        && jobs("failed") + jobs("blocked") + jobs("canceled") > 0
    {
        "stopped"
    } else {
        "running"
    }
}

async fn details(client: &Client, id: i64) -> Result<Value, CliError> {
    known(client.v6_get(&format!("recipes/{id}/")).await, &format!("recipe {id}"), "recipe list")
}

/// Shows a recipe with the outputs of its jobs.
pub async fn show(globals: &Globals, recipe: &RecipeId) -> Result<(), CliError> {
    let client = globals.client()?;
    let mut shown = details(&client, recipe.id).await?;
    let jobs: Vec<(String, i64)> = shown["details"]["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, node)| Some((name.clone(), node["node_type"]["job_id"].as_i64()?)))
        .take(OUTPUTS)
        .collect();
    for (name, id) in jobs {
        let job = client.v6_get(&format!("jobs/{id}/")).await?;
        shown["details"]["nodes"][name]["job"] = json!({"output": job["output"], "error": job["error"]});
    }
    globals.show(&shown, || describe(&shown));
    Ok(())
}

/// Does a recipe again.
pub async fn reprocess(globals: &Globals, args: ReprocessArgs) -> Result<(), CliError> {
    let client = globals.client()?;
    let id = args.recipe.id;
    details(&client, id).await?;
    let mut body = json!({"forced_nodes": {"all": args.force_all, "nodes": args.force}});
    if let Some(revision) = args.revision {
        body["revision_num"] = json!(revision);
    }
    let answer = client.v6_post(&format!("recipes/{id}/reprocess/"), &body).await;
    known(answer, "such revision of its type", "recipe type revisions NAME")?;
    let shown = details(&client, id).await?;
    let next = &shown["superseded_by_recipe"]["id"];
    globals.show(next, || format!("{next}\n"));
    say(&format!("recipe {next} takes the place of recipe {id}"));
    Ok(())
}

/// A recipe and its nodes.
fn describe(shown: &Value) -> String {
    let reference = |value: &Value| if value.is_null() { String::new() } else { text(&value["id"]) };
    let mut lines = labelled(&[
        ("recipe", text(&shown["id"])),
        (
            "type",
            format!(
                "{}, revision {}",
                text(&shown["recipe_type"]["name"]),
                shown["recipe_type_rev"]["revision_num"]
            ),
        ),
        ("batch", reference(&shown["batch"])),
        ("inside of", reference(&shown["recipe"])),
        ("state", state(shown).to_owned()),
        ("input", values(&shown["input"])),
        ("in place of", reference(&shown["superseded_recipe"])),
        ("replaced by", reference(&shown["superseded_by_recipe"])),
        ("changed", when(&shown["last_modified"])),
    ]);
    let rows: Vec<Vec<String>> = shown["details"]["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, node)| {
            let kind = &node["node_type"];
            let (number, state, output) = match kind["node_type"].as_str() {
                Some("job") => {
                    let job = &node["job"];
                    let failed = job["error"]["detail"].as_str().or(job["error"]["title"].as_str());
                    let output = failed.map_or_else(|| values(&job["output"]), str::to_owned);
                    (text(&kind["job_id"]), text(&kind["status"]), output)
                }
                Some("recipe") => {
                    let state = if kind["is_completed"] == true { "completed" } else { "running" };
                    (text(&kind["recipe_id"]), state.to_owned(), String::new())
                }
                _ => {
                    let state = match (kind["is_processed"] == true, kind["is_accepted"] == true) {
                        (false, _) => "undecided",
                        (true, true) => "accepted",
                        (true, false) => "rejected",
                    };
                    (String::new(), state.to_owned(), String::new())
                }
            };
            vec![clip(name, 16), text(&kind["node_type"]), number, state, output]
        })
        .collect();
    lines.push_str(&table(&["NODE", "KIND", "ID", "STATE", "OUTPUT"], &rows));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_reads_well() {
        let recipe = json!({
            "id": 12, "recipe_type": {"name": "loan"}, "recipe_type_rev": {"revision_num": 2}, "batch": {"id": 7}, "recipe": null,
            "is_superseded": false, "is_completed": false, "jobs_failed": 1, "input": {"json": {"income": 3_100}, "files": {}},
            "superseded_recipe": {"id": 2}, "superseded_by_recipe": null, "last_modified": "2026-11-29T20:51:03Z",
            "details": {"nodes": {
                "affordable": {"node_type": {"node_type": "condition", "is_processed": true, "is_accepted": true}},
                "price": {"node_type": {"node_type": "job", "job_id": 31, "status": "FAILED"},
                    "job": {"output": null, "error": {"title": "Output", "detail": "`rate` is #N/A"}}},
                "sub": {"node_type": {"node_type": "recipe", "recipe_id": 13, "is_completed": false}},
                "ratio": {"node_type": {"node_type": "job", "job_id": 30, "status": "COMPLETED"},
                    "job": {"output": {"json": {"ratio": 0.25}}, "error": null}},
            }},
        });
        insta::assert_snapshot!(describe(&recipe), @r"
        recipe       12
        type         loan, revision 2
        batch        7
        state        stopped
        input        income 3100
        in place of  2
        changed      2026-11-29 20:51:03
        NODE        KIND       ID  STATE      OUTPUT
        affordable  condition      accepted
        price       job        31  FAILED     `rate` is #N/A
        ratio       job        30  COMPLETED  ratio 0.25
        sub         recipe     13  running
        ");
    }
}
