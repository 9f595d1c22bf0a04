//! Manifests of job types: the part of a Seed manifest that matters here (contract 5.1), and job type configurations.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde_json::{Map, Value};

use super::finding::Finding;
use super::interface::{Interface, Parameter, ParameterKind, read_json_type};
use super::names::ManifestError;
use super::reader::{Place, Reader, present};

/// A job type's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The job type's name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The version of its packaging; that of the job where the manifest does not say.
    pub package_version: Version,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// The limit of one evaluation, in seconds.
    pub timeout: i64,
    /// For people.
    pub tags: Vec<String>,
    /// What it takes.
    pub inputs: Interface,
    /// What it gives.
    pub outputs: Interface,
    /// JSON output → the field of the result document that holds it.
    pub output_keys: BTreeMap<String, String>,
    /// Errors that an evaluation may end with.
    pub errors: Vec<JobError>,
}

/// An error that a manifest declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// What the evaluation ends with.
    pub code: i64,
    /// Unique in the manifest.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether the data is to blame (`data`) or the calculation (`job`).
    pub is_data: bool,
}

const TOP: [&str; 2] = ["seedVersion", "job"];
const JOB: [&str; 11] = [
    "name",
    "jobVersion",
    "packageVersion",
    "title",
    "description",
    "maintainer",
    "timeout",
    "tags",
    "interface",
    "resources",
    "errors",
];
const MAINTAINER: [&str; 5] = ["name", "email", "organization", "url", "phone"];

/// No job may take longer than a day.
const MAX_TIMEOUT: i64 = 86_400;

impl Manifest {
    /// Reads a manifest. Keys that are unknown are refused at every level.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<ManifestError>>> {
        let mut reader = Reader::new(ManifestError::JsonValidation);
        let manifest = Self::read(&mut reader, value, place);
        match manifest {
            Some(manifest) => reader.finish(manifest),
            // Whatever is missing was told when it was read.
            None => Err(reader.finish(()).err().unwrap_or_default()),
        }
    }

    fn read(reader: &mut Reader<ManifestError>, value: &Value, place: Place<'_>) -> Option<Self> {
        let map = reader.object(value, place, &TOP)?;
        reader.require(map, "seedVersion", place);
        if let Some(version) = reader.text(map, "seedVersion", place)
            && version != "1.0.0"
        {
            reader.wrong(place.key("seedVersion"), "must be \"1.0.0\"");
        }
        reader.require(map, "job", place);
        let at = place.key("job");
        let job = reader.object(present(map, "job")?, at, &JOB)?;

        let name = read_name(reader, job, at);
        let version = read_version(reader, job, "jobVersion", at, true);
        let package_version = read_version(reader, job, "packageVersion", at, false);
        let title = reader.required_text(job, "title", at);
        let description = reader.required_text(job, "description", at);
        let timeout = reader.required_integer(job, "timeout", at);
        if timeout.is_some_and(|timeout| !(1..=MAX_TIMEOUT).contains(&timeout)) {
            reader.wrong(at.key("timeout"), format!("must be 1 to {MAX_TIMEOUT} seconds"));
        }
        read_maintainer(reader, job, at);
        let tags = reader.texts(job, "tags", at);
        if let Some(resources) = present(job, "resources") {
            reader.map(resources, at.key("resources"));
        }
        let (inputs, outputs, output_keys) = read_interface(reader, job, at);
        let errors = read_errors(reader, job, at);
        let version = version?;
        Some(Self {
            name: name?,
            package_version: package_version.unwrap_or_else(|| version.clone()),
            version,
            title: title?,
            description: description?,
            timeout: timeout?,
            tags,
            inputs,
            outputs,
            output_keys,
            errors,
        })
    }
}

type Json = Map<String, Value>;

fn read_name(reader: &mut Reader<ManifestError>, job: &Json, place: Place<'_>) -> Option<String> {
    let name = reader.required_text(job, "name", place)?;
    let well_named =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !well_named {
        reader.wrong(place.key("name"), "a name has letters, digits and `-`");
    } else if name == "validation" {
        reader.wrong(place.key("name"), "`validation` is the name of an address");
    }
    Some(name)
}

fn read_version(
    reader: &mut Reader<ManifestError>,
    job: &Json,
    key: &str,
    place: Place<'_>,
    required: bool,
) -> Option<Version> {
    if required {
        reader.require(job, key, place);
    }
    let version = Version::parse(reader.text(job, key, place)?);
    if version.is_err() {
        reader.wrong(place.key(key), "must be a semantic version, such as 1.0.0");
    }
    version.ok()
}

fn read_maintainer(reader: &mut Reader<ManifestError>, job: &Json, place: Place<'_>) {
    let at = place.key("maintainer");
    let Some(maintainer) = present(job, "maintainer") else { return };
    let Some(map) = reader.object(maintainer, at, &MAINTAINER) else { return };
    reader.require(map, "name", at);
    reader.require(map, "email", at);
    for key in MAINTAINER {
        reader.text(map, key, at);
    }
}

fn read_interface(
    reader: &mut Reader<ManifestError>,
    job: &Json,
    place: Place<'_>,
) -> (Interface, Interface, BTreeMap<String, String>) {
    let mut found = Parameters { interface: Interface::default(), folded: BTreeSet::new() };
    let mut given = Parameters { interface: Interface::default(), folded: BTreeSet::new() };
    let mut keys = BTreeMap::new();
    let at = place.key("interface");
    let known = ["command", "inputs", "outputs", "mounts", "settings"];
    if let Some(value) = present(job, "interface")
        && let Some(map) = reader.object(value, at, &known)
    {
        reader.text(map, "command", at);
        reader.list(map, "mounts", at);
        reader.list(map, "settings", at);
        let inputs = at.key("inputs");
        if let Some(value) = present(map, "inputs")
            && let Some(map) = reader.object(value, inputs, &["files", "json"])
        {
            let known = ["name", "required", "mediaTypes", "multiple", "partial"];
            for_each(reader, map, "files", inputs, &known, |reader, item, place| {
                reader.flag(item, "partial", place);
                let media_types = reader.texts(item, "mediaTypes", place);
                found.add_file(reader, item, media_types, place);
            });
            for_each(reader, map, "json", inputs, &["name", "type", "required"], |reader, item, place| {
                found.add_json(reader, item, place);
            });
        }
        let outputs = at.key("outputs");
        if let Some(value) = present(map, "outputs")
            && let Some(map) = reader.object(value, outputs, &["files", "json"])
        {
            let known = ["name", "pattern", "mediaType", "multiple", "required"];
            for_each(reader, map, "files", outputs, &known, |reader, item, place| {
                reader.text(item, "pattern", place);
                let media_type = reader.text(item, "mediaType", place).map(str::to_owned);
                given.add_file(reader, item, media_type.into_iter().collect(), place);
            });
            let known = ["name", "type", "key", "required"];
            for_each(reader, map, "json", outputs, &known, |reader, item, place| {
                let key = reader.text(item, "key", place).map(str::to_owned);
                if let Some(name) = given.add_json(reader, item, place) {
                    keys.insert(name.clone(), key.unwrap_or(name));
                }
            });
        }
    }
    (found.interface, given.interface, keys)
}

fn for_each(
    reader: &mut Reader<ManifestError>,
    map: &Json,
    key: &str,
    place: Place<'_>,
    known: &[&str],
    mut read: impl FnMut(&mut Reader<ManifestError>, &Json, Place<'_>),
) {
    let at = place.key(key);
    for (item, value) in reader.list(map, key, place).unwrap_or_default().iter().enumerate() {
        if let Some(map) = reader.object(value, at.index(item), known) {
            read(reader, map, at.index(item));
        }
    }
}

/// Parameters under way: names must differ in more than case, since a job finds them in its environment in capitals.
struct Parameters {
    interface: Interface,
    folded: BTreeSet<String>,
}

impl Parameters {
    fn add_file(
        &mut self,
        reader: &mut Reader<ManifestError>,
        item: &Json,
        media_types: Vec<String>,
        place: Place<'_>,
    ) {
        let multiple = reader.flag(item, "multiple", place).unwrap_or(false);
        self.add(reader, item, ParameterKind::File { media_types, multiple }, place);
    }

    fn add_json(
        &mut self,
        reader: &mut Reader<ManifestError>,
        item: &Json,
        place: Place<'_>,
    ) -> Option<String> {
        let json_type = read_json_type(reader, item, place, ManifestError::JsonValidation);
        self.add(reader, item, ParameterKind::Json(json_type?), place)
    }

    fn add(
        &mut self,
        reader: &mut Reader<ManifestError>,
        item: &Json,
        kind: ParameterKind,
        place: Place<'_>,
    ) -> Option<String> {
        let required = reader.flag(item, "required", place).unwrap_or(true);
        let name = present(item, "name").and_then(Value::as_str).unwrap_or_default();
        if !name.is_empty() && !self.folded.insert(name.to_uppercase()) {
            let text = format!("`{name}` is used twice, apart from case");
            reader.report(ManifestError::NameCollision, place.key("name"), text);
            return None;
        }
        let (shape, collision) = (ManifestError::JsonValidation, ManifestError::NameCollision);
        self.interface.add(reader, item, Parameter { required, kind }, place, shape, collision);
        self.interface.get(name).map(|_| name.to_owned())
    }
}

fn read_errors(reader: &mut Reader<ManifestError>, job: &Json, place: Place<'_>) -> Vec<JobError> {
    let mut errors: Vec<JobError> = Vec::new();
    let known = ["code", "name", "title", "description", "category"];
    for_each(reader, job, "errors", place, &known, |reader, item, place| {
        let code = reader.required_integer(item, "code", place);
        let name = reader.required_text(item, "name", place);
        let title = reader.text(item, "title", place).map(str::to_owned);
        let description = reader.text(item, "description", place).map(str::to_owned);
        let category = reader.text(item, "category", place).unwrap_or("job");
        if !matches!(category, "job" | "data") {
            reader.wrong(place.key("category"), "must be job or data");
        }
        let (Some(code), Some(name)) = (code, name) else { return };
        if errors.iter().any(|error| error.name == name) {
            let text = format!("`{name}` is used twice");
            reader.report(ManifestError::DuplicateErrorNames, place.key("name"), text);
        }
        errors.push(JobError { code, name, title, description, is_data: category == "data" });
    });
    errors
}

/// A job type's configuration: what matters of it (contract 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobConfiguration {
    /// At least 1; lower runs first. See [`super::priority`].
    pub priority: Option<i64>,
    /// Settings, by name.
    pub settings: BTreeMap<String, String>,
}

impl JobConfiguration {
    /// Reads a configuration. Workspaces and mounts are accepted and have no effect.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<ManifestError>>> {
        let mut reader = Reader::new(ManifestError::JsonValidation);
        let mut configuration = Self::default();
        let known = ["priority", "output_workspaces", "mounts", "settings"];
        if let Some(map) = reader.object(value, place, &known) {
            configuration.priority = reader.integer(map, "priority", place);
            if configuration.priority.is_some_and(|priority| priority < 1) {
                reader.wrong(place.key("priority"), "must be at least 1");
            }
            for key in ["output_workspaces", "mounts"] {
                if let Some(value) = present(map, key) {
                    reader.map(value, place.key(key));
                }
            }
            if let Some(settings) = present(map, "settings") {
                let at = place.key("settings");
                for (name, _) in reader.map(settings, at).into_iter().flatten() {
                    if let Some(text) = settings.as_object().and_then(|map| reader.text(map, name, at)) {
                        configuration.settings.insert(name.clone(), text.to_owned());
                    }
                }
            }
        }
        reader.finish(configuration)
    }
}
