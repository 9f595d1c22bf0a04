//! What a batch of recipes is made of: a file, or options.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::client::{Client, path};
use super::super::error::CliError;
use super::batches::details;
use super::document::{Body, known};

/// The batch that is wanted.
#[derive(Debug, Args)]
pub struct DefinitionArgs {
    /// The recipe type, by name; digits are its number
    #[arg(value_name = "TYPE")]
    recipe_type: String,
    /// A recipe for each member of this dataset
    #[arg(long, value_name = "ID", required_unless_present_any = ["previous", "definition"])]
    dataset: Option<i64>,
    /// A recipe for each recipe of this batch, which any batch of its chain stands for
    #[arg(long, value_name = "BATCH")]
    previous: Option<i64>,
    /// A JSON file with the whole definition, or with a whole request; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dataset", "previous", "force", "force_all", "no_supersede"])]
    definition: Option<PathBuf>,
    /// A node to do again, with all that follows it, even if nothing changed; may be given several times
    #[arg(long, value_name = "NODE")]
    force: Vec<String>,
    /// Do every node again
    #[arg(long, conflicts_with = "force")]
    force_all: bool,
    /// Make new recipes in any case, and leave those that exist as they are
    #[arg(long)]
    no_supersede: bool,
    /// A recipe's input and the dataset's parameter that it takes, where names differ; may be given several times
    #[arg(long, value_name = "INPUT=PARAMETER", value_parser = mapping)]
    map: Vec<(String, String)>,
    /// Lower goes first
    #[arg(long, value_name = "NUMBER")]
    priority: Option<i64>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

fn mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((input, parameter)) if !input.is_empty() && !parameter.is_empty() => {
            Ok((input.to_owned(), parameter.to_owned()))
        }
        _ => Err("write it as INPUT=PARAMETER, for example income=salary".to_owned()),
    }
}

/// The number of a recipe type that is named.
pub async fn type_id(client: &Client, name: &str) -> Result<i64, CliError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let found = client.v6_get(&path(&["recipe-types", name])).await;
    let found = known(found, &format!("recipe type {name}"), "recipe type list")?;
    found["id"].as_i64().ok_or_else(|| CliError::Failed(format!("the recipe type {name} has no number")))
}

/// The request.
pub async fn body(client: &Client, args: &DefinitionArgs) -> Result<Body, CliError> {
    let mut body = match &args.definition {
        Some(file) => Body::read(file, "definition")?,
        None => {
            let root = match args.previous {
                Some(previous) => Some(details(client, previous).await?["root_batch"]["id"].clone()),
                None => None,
            };
            let mut body = Body::default();
            body.set("definition", Some(definition(args, root)))?;
            body
        }
    };
    body.set("recipe_type_id", Some(type_id(client, &args.recipe_type).await?))?;
    body.set("title", args.title.as_ref())?;
    body.set("description", args.description.as_ref())?;
    let mut configuration = match body.get("configuration") {
        Value::Object(configuration) => configuration,
        _ => Map::new(),
    };
    let given = configuration.len();
    if let Some(priority) = args.priority {
        configuration.insert("priority".to_owned(), json!(priority));
    }
    if !args.map.is_empty() {
        let entry =
            |(input, parameter): &(String, String)| json!({"input": input, "datasetParameter": parameter});
        configuration.insert("inputMap".to_owned(), args.map.iter().map(entry).collect());
    }
    if args.priority.is_some() || !args.map.is_empty() || given > 0 {
        body.set("configuration", Some(configuration))?;
    }
    Ok(body)
}

/// The definition that the options say; `root` is the first batch of the chain to follow.
fn definition(args: &DefinitionArgs, root: Option<Value>) -> Value {
    let mut definition = Map::new();
    if let Some(dataset) = args.dataset {
        definition.insert("dataset".to_owned(), json!(dataset));
    }
    if let Some(root) = root {
        definition.insert("previous_batch".to_owned(), json!({"root_batch_id": root}));
    }
    if args.force_all {
        definition.insert("forced_nodes".to_owned(), json!({"all": true}));
    } else if !args.force.is_empty() {
        definition.insert("forced_nodes".to_owned(), json!({"all": false, "nodes": args.force}));
    }
    if args.no_supersede {
        definition.insert("supersedes".to_owned(), json!(false));
    }
    Value::Object(definition)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DefinitionArgs,
    }

    fn parse(line: &str) -> Result<DefinitionArgs, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    #[test]
    fn options_make_a_definition() {
        let made = |line: &str, root: Option<i64>| definition(&parse(line).unwrap(), root.map(Value::from));
        assert_eq!(made("x loan --dataset 7", None), json!({"dataset": 7}));
        assert_eq!(
            made("x loan --previous 9 --force price --force rate --no-supersede", Some(3)),
            json!({
                "previous_batch": {"root_batch_id": 3}, "supersedes": false,
                "forced_nodes": {"all": false, "nodes": ["price", "rate"]},
            })
        );
        assert_eq!(
            made("x loan --dataset 7 --force-all", None),
            json!({"dataset": 7, "forced_nodes": {"all": true}})
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for line in [
            "x loan",
            "x loan --definition f --dataset 7",
            "x loan --dataset 7 --force a --force-all",
            "x loan --dataset 7 --map income",
            "x loan --dataset seven",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("x loan --definition f --map a=b --title t --priority 3").is_ok());
    }
}
