//! `millrace service`: upload, list and show services.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{Months, SecondsFormat, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Compilation, Upload};
use super::error::CliError;
use super::table::table;
use super::{Globals, say};

const UPLOAD_HELP: &str = "\
A workbook's inputs and outputs are its defined names Xinput_<name> and Xoutput_<name>. A formula document is JSON. \
Each upload of the same name makes a new version; running batches keep theirs.

Examples:
  millrace service upload sales.xlsx demo/sales
  millrace service upload rates.json demo/rates --version-difference major --note \"rates of 2026\"";

/// Entries of one page of a list.
const PAGE: u32 = 100;
/// Pages that a list may have: a server that never ends its list must not keep the program busy for ever.
const PAGES: u32 = 1_000;
/// How long a compilation may take.
const COMPILE_LIMIT: Duration = Duration::from_secs(300);

/// `millrace service`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Upload a workbook (.xlsx) or formula document (.json), compile it, and publish it as a version
    #[command(after_help = UPLOAD_HELP)]
    Upload(UploadArgs),
    /// List services, of one folder or of all
    List {
        /// The folder
        #[arg(value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Show a service's inputs, outputs and versions
    Show {
        /// Which service
        #[arg(value_name = "FOLDER/NAME", value_parser = ServiceName::parse)]
        service: ServiceName,
    },
}

/// `millrace service upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// The workbook or formula document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to put it; a missing folder is made
    #[arg(value_name = "FOLDER/NAME", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// Which part of the version number goes up
    #[arg(long, value_enum, default_value_t = Difference::Minor, value_name = "PART")]
    version_difference: Difference,
    /// A label of the version
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What is new in the version
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Which part of the version number goes up.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Difference {
    Major,
    Minor,
    Patch,
}

/// `folder/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Its folder.
    pub folder: String,
    /// Its name within the folder.
    pub name: String,
}

impl ServiceName {
    /// Reads `folder/name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((folder, name)) if !folder.is_empty() && !name.is_empty() && !name.contains(['/', '[']) => {
                Ok(Self { folder: folder.to_owned(), name: name.to_owned() })
            }
            _ => Err("write it as FOLDER/NAME, for example demo/sales".to_owned()),
        }
    }
}

/// Runs `millrace service`.
pub async fn run(globals: &Globals, command: ServiceCommand) -> Result<(), CliError> {
    match command {
        ServiceCommand::Upload(args) => upload(globals, &args).await,
        ServiceCommand::List { folder } => list(globals, folder).await,
        ServiceCommand::Show { service } => show(globals, &service).await,
    }
}

fn media(file: &Path) -> Result<&'static str, CliError> {
    match file.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("xlsx") => Ok("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        Some("json") => Ok("application/json"),
        _ => Err(CliError::Usage(format!(
            "{}: a service is made of a workbook (.xlsx) or a formula document (.json)",
            file.display()
        ))),
    }
}

async fn upload(globals: &Globals, args: &UploadArgs) -> Result<(), CliError> {
    let media = media(&args.file)?;
    let content = std::fs::read(&args.file).map_err(|error| CliError::file(&args.file, error))?;
    let client = globals.client()?;
    let ServiceName { folder, name } = &args.service;
    if client.create_folder(folder).await? {
        say(&format!("folder {folder} was made"));
    }

    let now = Utc::now();
    let stamp = |time: chrono::DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (start, end) = (stamp(now), stamp(now + Months::new(120)));
    let difference = match args.version_difference {
        Difference::Major => "major",
        Difference::Minor => "minor",
        Difference::Patch => "patch",
    };
    let entity = json!({ "request_data": {
        "version_difference": difference, "effective_start_date": start, "effective_end_date": end,
    } });
    let file_name = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let upload = Upload { entity: entity.to_string(), file_name, media, content: content.into() };
    let uploaded = client.upload(folder, name, upload).await?.response_data;
    wait_for_compilation(&client, &args.service, &uploaded.nodegen_compilation_jobid).await?;

    let published = client
        .publish(
            folder,
            name,
            &json!({
                "draft_service_name": name,
                "effective_start_date": start,
                "effective_end_date": end,
                "original_file_documentid": uploaded.original_file_documentid,
                "engine_file_documentid": uploaded.engine_file_documentid,
                "version_difference": difference,
                "should_track_user_action": "false",
                "version_label": args.label,
                "release_note": args.note,
            }),
        )
        .await?
        .response_data;
    let version_id = published.version_id;
    // What a reader wants to see next are the names; a server without this call still published.
    let interface =
        client.schema(folder, name).await.map(|schema| Interface::read(&schema)).unwrap_or_default();
    let version = match published.version {
        Some(version) => Some(version),
        None => latest_version(&client, &args.service).await,
    };
    let warnings: Vec<String> = uploaded.warnings.unwrap_or_default().iter().map(warning_text).collect();
    let document = json!({
        "service": format!("{folder}/{name}"), "version": version, "version_id": version_id,
        "inputs": interface.inputs.iter().map(Field::json).collect::<Value>(),
        "outputs": interface.outputs.iter().map(Field::json).collect::<Value>(),
        "warnings": warnings,
    });
    globals.show(&document, || {
        let names = |fields: &[Field], number: Option<u64>| {
            if fields.is_empty() {
                number.map_or_else(|| "?".to_owned(), |number| number.to_string())
            } else {
                fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
            }
        };
        let mut text = format!(
            "{folder}/{name} {}\nversion id  {version_id}\ninputs      {}\noutputs     {}\n",
            version.as_deref().unwrap_or("(published)"),
            names(&interface.inputs, uploaded.no_of_inputs),
            names(&interface.outputs, uploaded.no_of_outputs),
        );
        for warning in &warnings {
            text.push_str(&format!("warning     {warning}\n"));
        }
        text
    });
    Ok(())
}

async fn wait_for_compilation(client: &Client, service: &ServiceName, job: &str) -> Result<(), CliError> {
    let ServiceName { folder, name } = service;
    let wait = async {
        let mut pause = Duration::from_millis(50);
        loop {
            match client.compilation(folder, name, job).await? {
                Compilation::Done => return Ok(()),
                Compilation::Failed(reason) => {
                    return Err(CliError::Failed(format!("{folder}/{name} does not compile: {reason}")));
                }
                Compilation::Running => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    };
    tokio::time::timeout(COMPILE_LIMIT, wait).await.unwrap_or_else(|_| {
        Err(CliError::Failed(format!(
            "{folder}/{name} was not compiled within {} s",
            COMPILE_LIMIT.as_secs()
        )))
    })
}

async fn latest_version(client: &Client, service: &ServiceName) -> Option<String> {
    let versions = client.versions(&service.folder, &service.name).await.ok()?;
    versions["data"][0]["revision"].as_str().map(str::to_owned)
}

fn warning_text(warning: &Value) -> String {
    match warning.as_str().or_else(|| warning["message"].as_str()) {
        Some(text) => text.to_owned(),
        None => warning.to_string(),
    }
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    kind: String,
    default: String,
    place: String,
}

impl Field {
    fn read(value: &Value) -> Option<Self> {
        let text = |keys: &[&str]| {
            keys.iter().find_map(|key| match value.get(*key) {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(other) => Some(other.to_string()),
            })
        };
        let place = match (text(&["sheetName", "SheetName"]), text(&["address", "Address"])) {
            (Some(sheet), Some(address)) if !sheet.is_empty() && !address.contains('!') => {
                format!("{sheet}!{address}")
            }
            (_, address) => address.unwrap_or_default(),
        };
        Some(Self {
            name: text(&["name", "Name"])?,
            kind: text(&["dataType", "DataType"]).unwrap_or_default(),
            default: text(&["value", "Value"]).unwrap_or_default(),
            place,
        })
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "type": self.kind, "default": self.default, "place": self.place })
    }

    fn row(&self, what: &str) -> Vec<String> {
        vec![what.to_owned(), self.name.clone(), self.kind.clone(), self.default.clone(), self.place.clone()]
    }
}

/// What a service takes and gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Interface {
    inputs: Vec<Field>,
    outputs: Vec<Field>,
}

impl Interface {
    /// Reads a schema answer: the lists stand at the top or inside `data`.
    fn read(schema: &Value) -> Self {
        let list = |name: &str| {
            [&schema[name], &schema["data"][name]]
                .iter()
                .find_map(|list| list.as_array())
                .map(|list| list.iter().filter_map(Field::read).collect())
                .unwrap_or_default()
        };
        Self { inputs: list("xlInputs"), outputs: list("xOutput") }
    }
}

async fn show(globals: &Globals, service: &ServiceName) -> Result<(), CliError> {
    let client = globals.client()?;
    let ServiceName { folder, name } = service;
    let interface = Interface::read(&client.schema(folder, name).await?);
    let versions = client.versions(folder, name).await?;
    let versions: Vec<Value> = versions["data"].as_array().cloned().unwrap_or_default();
    let document = json!({
        "service": format!("{folder}/{name}"),
        "inputs": interface.inputs.iter().map(Field::json).collect::<Value>(),
        "outputs": interface.outputs.iter().map(Field::json).collect::<Value>(),
        "versions": versions,
    });
    globals.show(&document, || {
        let mut rows: Vec<_> = interface.inputs.iter().map(|field| field.row("input")).collect();
        rows.extend(interface.outputs.iter().map(|field| field.row("output")));
        let fields = table(&["", "NAME", "TYPE", "DEFAULT", "CELL"], &rows);
        let text = |version: &Value, key: &str| version[key].as_str().unwrap_or_default().to_owned();
        let rows: Vec<_> = versions
            .iter()
            .map(|version| {
                ["revision", "id", "createdAt", "releaseNote"].map(|key| text(version, key)).to_vec()
            })
            .collect();
        format!("{fields}\n{}", table(&["VERSION", "ID", "CREATED", "NOTE"], &rows))
    });
    Ok(())
}

async fn list(globals: &Globals, folder: Option<String>) -> Result<(), CliError> {
    let client = globals.client()?;
    let folders = match folder {
        Some(folder) => vec![folder],
        None => every_page(async |page| client.folders(page, PAGE).await)
            .await?
            .iter()
            .filter_map(|folder| folder["name"].as_str().map(str::to_owned))
            .collect(),
    };
    let mut services = Vec::new();
    for folder in &folders {
        for service in every_page(async |page| client.services(folder, page, PAGE).await).await? {
            services.push((folder.clone(), service));
        }
    }
    let text = |service: &Value, keys: &[&str]| {
        keys.iter().find_map(|key| service[*key].as_str()).unwrap_or_default().to_owned()
    };
    const NAME: [&str; 3] = ["name", "serviceName", "engine"];
    let document: Value = services
        .iter()
        .map(|(folder, service)| {
            json!({
                "service": format!("{folder}/{}", text(service, &NAME)),
                "version": text(service, &["revision", "version"]),
            })
        })
        .collect();
    globals.show(&document, || {
        let rows: Vec<_> = services
            .iter()
            .map(|(folder, service)| {
                vec![
                    format!("{folder}/{}", text(service, &NAME)),
                    text(service, &["revision", "version"]),
                    text(service, &["author", "createdBy"]),
                    text(service, &["updatedAt", "lastModifiedDate", "createdAt"]),
                ]
            })
            .collect();
        table(&["SERVICE", "VERSION", "AUTHOR", "UPDATED"], &rows)
    });
    Ok(())
}

/// Every entry of a list that comes in pages.
async fn every_page(
    page: impl AsyncFn(u32) -> Result<Value, super::client::ClientError>,
) -> Result<Vec<Value>, CliError> {
    let mut entries = Vec::new();
    for number in 1..=PAGES {
        let answer = page(number).await?;
        let list = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        entries.extend_from_slice(list);
        let total = answer["count"].as_u64().unwrap_or(0);
        if list.len() < PAGE as usize || entries.len() as u64 >= total {
            break;
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_service_is_named_with_its_folder() {
        let name = ServiceName::parse("demo/sales").unwrap();
        assert_eq!((name.folder.as_str(), name.name.as_str()), ("demo", "sales"));
        for bad in ["sales", "/sales", "demo/", "a/b/c", "demo/sales[1.0]", ""] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_workbooks_and_documents_are_uploaded() {
        assert_eq!(media(Path::new("a.JSON")).unwrap(), "application/json");
        for bad in ["a.xlsm", "a", "a.csv"] {
            assert!(matches!(media(Path::new(bad)), Err(CliError::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn the_interface_is_read_wherever_it_stands() {
        let schema = json!({ "data": {
            "xlInputs": [{ "name": "price", "dataType": "number", "value": 20, "sheetName": "Sales", "address": "B2" }],
            "xOutput": [{ "name": "total", "address": "Sales!B5", "value": null }, { "noname": 1 }],
        } });
        let interface = Interface::read(&schema);
        assert_eq!(interface.inputs[0].row("input"), ["input", "price", "number", "20", "Sales!B2"]);
        assert_eq!(interface.outputs.len(), 1);
        assert_eq!(interface.outputs[0].place, "Sales!B5");
        assert_eq!(Interface::read(&schema["data"]), interface);
        assert_eq!(Interface::read(&json!(null)), Interface::default());
    }

    #[tokio::test]
    async fn lists_are_read_to_their_end() {
        let answer = async |page: u32| {
            let length = if page < 3 { PAGE } else { 7 };
            Ok(json!({ "count": 2 * PAGE + 7, "data": (0..length).collect::<Vec<_>>() }))
        };
        assert_eq!(every_page(answer).await.unwrap().len(), 207);
        assert!(every_page(async |_| Ok(json!({ "data": null }))).await.unwrap().is_empty());
    }
}
