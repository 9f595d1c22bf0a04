//! What callers send about job types, and its checks.

use millrace_common::model::Caller;
use millrace_common::model::recipe::names::ManifestError;
use millrace_common::model::recipe::{JobConfiguration, Manifest, Place};
use millrace_common::store::recipes::{JobType, JobTypeSettings, NewJobTypeRevision};
use serde_json::Value;

use super::model;
use crate::error::ApiError;
use crate::state::AppState;
use crate::v6::http::{Fields, Told, refused};

/// The fields that are known. Others are refused, as Scale does.
const FIELDS: [&str; 11] = [
    "manifest",
    "model",
    "configuration",
    "docker_image",
    "icon_code",
    "is_published",
    "is_active",
    "is_paused",
    "max_scheduled",
    "max_tries",
    "auto_update",
];

/// The longest name, in characters.
const NAME: usize = 100;

/// The longest of the short texts, in characters.
const TEXT: usize = 500;

/// A request, read.
#[derive(Debug)]
pub(super) struct Wanted {
    manifest: Option<Value>,
    model: Option<Value>,
    settings: JobTypeSettings,
    auto_update: bool,
}

/// A request, checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) errors: Vec<Told>,
    pub(super) warnings: Vec<Told>,
    /// Where there are no errors, the revision that the request makes.
    pub(super) revision: Option<NewJobTypeRevision>,
    pub(super) settings: JobTypeSettings,
    pub(super) auto_update: bool,
}

impl Checked {
    /// The 400 for the errors.
    pub(super) fn refusal(&self) -> ApiError {
        refused(self.errors.iter().map(|error| (error.name, error.description.clone())))
    }
}

/// Name and version as a manifest states them, which may not be valid.
pub(super) fn identity(manifest: &Value) -> (Option<String>, Option<String>) {
    let text = |key: &str| manifest["job"][key].as_str().map(str::to_owned);
    (text("name"), text("jobVersion"))
}

impl Wanted {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.only(&FIELDS)?;
        let counted = |name: &str| -> Result<Option<i32>, ApiError> {
            let Some(number) = fields.integer(name)? else { return Ok(None) };
            match i32::try_from(number) {
                Ok(number) if number > 0 => Ok(Some(number)),
                _ => {
                    let message = format!("{name} must be from 1 to {}", i32::MAX);
                    Err(ApiError::bad_request("INVALID_PARAMETER", message, None))
                }
            }
        };
        Ok(Self {
            manifest: fields.object("manifest")?,
            model: fields.object("model")?,
            settings: JobTypeSettings {
                configuration: fields.object("configuration")?,
                docker_image: fields.text_within("docker_image", TEXT)?,
                icon_code: fields.text_within("icon_code", TEXT)?,
                is_published: fields.flag("is_published")?,
                is_active: fields.flag("is_active")?,
                is_paused: fields.flag("is_paused")?,
                max_scheduled: counted("max_scheduled")?,
                max_tries: counted("max_tries")?,
            },
            auto_update: fields.flag("auto_update")?.unwrap_or(true),
        })
    }

    /// Checks everything, also what would run: for a new job type, or as a change of an existing one, whose manifest and model
    /// stand in for what is not sent.
    pub(super) async fn check(
        self,
        state: &AppState,
        caller: &Caller,
        existing: Option<&JobType>,
    ) -> Result<Checked, ApiError> {
        let Self { manifest, model, settings, auto_update } = self;
        let mut errors: Vec<Told> = Vec::new();
        if let Some(configuration) = &settings.configuration
            && let Err(findings) = JobConfiguration::parse(configuration, Place::root("configuration"))
        {
            errors.extend(findings.into_iter().map(Told::of));
        }
        let mut revision = None;
        if manifest.is_some() || model.is_some() || existing.is_none() {
            let document = manifest.or_else(|| existing.map(|existing| existing.manifest.clone()));
            let model = model.or_else(|| existing.map(|existing| existing.model.clone()));
            let document = document.unwrap_or_default();
            match Manifest::parse(&document, Place::root("manifest")) {
                Err(findings) => errors.extend(findings.into_iter().map(Told::of)),
                Ok(manifest) => {
                    errors.extend(too_long(&manifest));
                    if let Some(existing) = existing {
                        errors.extend(other_identity(&manifest, existing));
                    }
                    match model::compile(state, caller, &manifest, model.as_ref()).await? {
                        Err(wrong) => errors.extend(wrong),
                        Ok(program) => {
                            revision = Some(NewJobTypeRevision {
                                manifest: document,
                                model: model.unwrap_or_default(),
                                program,
                                title: manifest.title,
                                description: manifest.description,
                                errors: manifest.errors,
                            });
                        }
                    }
                }
            }
        }
        Ok(Checked { errors, warnings: Vec::new(), revision, settings, auto_update })
    }
}

/// Names that are keys of tables have an end.
fn too_long(manifest: &Manifest) -> Vec<Told> {
    let version = manifest.version.to_string();
    let own = [("name", manifest.name.as_str()), ("jobVersion", version.as_str())];
    let named = own.into_iter().map(|(key, text)| (format!("manifest.job.{key}"), text));
    let errors = manifest.errors.iter().enumerate();
    let errors = errors.map(|(at, error)| (format!("manifest.job.errors[{at}].name"), error.name.as_str()));
    named
        .chain(errors)
        .filter(|(_, text)| text.chars().count() > NAME)
        .map(|(place, _)| Told {
            name: ManifestError::JsonValidation.as_str(),
            description: format!("{place}: has at most {NAME} characters"),
        })
        .collect()
}

/// A manifest's name and version are those of the job type that it changes.
fn other_identity(manifest: &Manifest, existing: &JobType) -> Vec<Told> {
    let mut wrong = Vec::new();
    let version = manifest.version.to_string();
    for (key, own, wanted) in [
        ("name", manifest.name.as_str(), existing.name.as_str()),
        ("jobVersion", version.as_str(), existing.version.as_str()),
    ] {
        if own != wanted {
            let text = format!("manifest.job.{key}: must be {wanted:?}, as in the address");
            wrong.push(Told { name: "INVALID_IDENTITY", description: text });
        }
    }
    wrong
}
