//! `millrace job-type draft`: a job type made of a service, to be looked at and created.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::service::ServiceName;
use super::super::{Globals, print_out};
use super::document::known;

/// Help under `millrace job-type draft --help`.
pub const HELP: &str = "\
Prints a job type with the inputs and outputs of the newest version of a service, as `millrace job-type create` takes it. Look at the \
types, at what is required, and at the timeout.

Examples:
  millrace job-type draft loans/price > price.job.json
  millrace job-type draft loans/price | millrace job-type create -";

/// `millrace job-type draft`.
#[derive(Debug, Args)]
pub struct DraftArgs {
    /// The service
    #[arg(value_name = "FOLDER/NAME", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// What the job type is called [default: as the service]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The job type's version
    #[arg(id = "job_type_version", long = "as-version", value_name = "VERSION", default_value = "1.0.0")]
    version: String,
    /// Seconds that an evaluation may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u32,
}

/// Prints a draft.
pub async fn print(globals: &Globals, args: &DraftArgs) -> Result<(), CliError> {
    let ServiceName { folder, name } = &args.service;
    let schema = globals.client()?.record_schema(folder, name).await;
    let schema = known(schema, &format!("service {folder}/{name}"), "service list")?;
    print_out(&format!("{:#}\n", draft(&schema, args)));
    Ok(())
}

fn draft(schema: &Value, args: &DraftArgs) -> Value {
    let ServiceName { folder, name } = &args.service;
    // The schema's title names the version as well.
    let service = schema["title"].as_str().map_or_else(|| format!("{folder}/{name}"), str::to_owned);
    json!({
        "manifest": {"seedVersion": "1.0.0", "job": {
            "name": args.name.clone().unwrap_or_else(|| plain(name)),
            "jobVersion": args.version,
            "title": name,
            "description": schema["description"].as_str().unwrap_or(name),
            "timeout": args.timeout,
            "interface": {
                "inputs": {"json": parameters(schema["properties"].as_object())},
                "outputs": {"json": parameters(schema["$defs"]["outputs"]["properties"].as_object())},
            },
        }},
        "model": {"service": service},
    })
}

/// A name that a manifest allows.
fn plain(name: &str) -> String {
    let allowed =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    name.chars().map(allowed).collect()
}

fn parameters(properties: Option<&Map<String, Value>>) -> Vec<Value> {
    let properties = properties.into_iter().flatten();
    properties.map(|(name, property)| json!({"name": name, "type": kind(&property["type"])})).collect()
}

/// The type of a manifest. A schema allows blanks everywhere, and texts where there may be errors.
fn kind(types: &Value) -> &'static str {
    let has =
        |kind: &str| types == kind || types.as_array().is_some_and(|types| types.contains(&json!(kind)));
    const KINDS: [&str; 5] = ["array", "object", "boolean", "integer", "number"];
    KINDS.into_iter().find(|kind| has(kind)).unwrap_or("string")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DraftArgs,
    }

    #[test]
    fn a_service_becomes_a_job_type() {
        let schema = json!({
            "title": "loans/My Price[0.2.0]", "description": null,
            "properties": {"amount": {"type": ["number", "null"]}, "tariff": {"enum": ["a"]}, "rows": {"type": "array"}},
            "$defs": {"outputs": {"properties": {
                "ok": {"type": ["boolean", "string", "null"]}, "text": {"type": ["string", "null"]},
            }}},
        });
        let args = Line::parse_from(["x", "loans/My Price", "--timeout", "5"]).args;
        let drafted = draft(&schema, &args);
        let job = &drafted["manifest"]["job"];
        assert_eq!((&job["name"], &job["jobVersion"]), (&json!("my-price"), &json!("1.0.0")));
        assert_eq!((&job["timeout"], &job["description"]), (&json!(5), &json!("My Price")));
        assert_eq!(
            job["interface"],
            json!({
                "inputs": {"json": [
                    {"name": "amount", "type": "number"}, {"name": "rows", "type": "array"}, {"name": "tariff", "type": "string"},
                ]},
                "outputs": {"json": [{"name": "ok", "type": "boolean"}, {"name": "text", "type": "string"}]},
            })
        );
        assert_eq!(drafted["model"], json!({"service": "loans/My Price[0.2.0]"}));
    }
}
