//! Datasets (contract 5.3): definitions and members.

use serde_json::Value;

use super::data::{Data, InputMap};
use super::finding::{Finding, MAX_FINDINGS};
use super::interface::Interface;
use super::names::{DataError, DatasetError};
use super::reader::{Place, Reader, present};

/// What a dataset's members hold, and what is the same for all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatasetDefinition {
    /// What each member gives.
    pub parameters: Interface,
    /// What is given once.
    pub global_parameters: Interface,
    /// The values of the global parameters, and only of those.
    pub global_data: Data,
}

impl DatasetDefinition {
    /// Reads a definition, told at `place`.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<DatasetError>>> {
        let shape = DatasetError::InvalidDatasetDefinition;
        let mut reader = Reader::new(shape).with_version(DatasetError::InvalidVersion);
        let mut dataset = Self::default();
        let known = ["parameters", "global_parameters", "global_data"];
        let Some(map) = reader.object(value, place, &known) else { return reader.finish(dataset) };
        let duplicate = DatasetError::DuplicateParameter;
        let mut interface = |key: &str| match present(map, key) {
            Some(value) => Interface::read(&mut reader, value, place.key(key), shape, duplicate),
            None => Interface::default(),
        };
        dataset.parameters = interface("parameters");
        dataset.global_parameters = interface("global_parameters");
        for name in dataset.global_parameters.parameters.keys() {
            if dataset.parameters.get(name).is_some() {
                let text = format!("`{name}` is a parameter, too");
                reader.report(DatasetError::NameCollision, place.key("global_parameters"), text);
            }
        }

        let at = place.key("global_data");
        match present(map, "global_data") {
            Some(value) => {
                let read = Data::parse(value, at);
                let checked = read.and_then(|data| match data.check(&dataset.global_parameters, at) {
                    wrong if wrong.is_empty() => Ok(data.restricted_to(&dataset.global_parameters)),
                    wrong => Err(wrong),
                });
                match checked {
                    Ok(data) => dataset.global_data = data,
                    Err(findings) => {
                        let named = |finding: Finding<DataError>| Finding {
                            text: format!("{} ({})", finding.text, finding.name),
                            ..finding
                        };
                        let findings = findings.into_iter().map(named).collect();
                        reader.take(findings, |_| DatasetError::InvalidGlobalData);
                    }
                }
            }
            None if dataset.global_parameters.parameters.values().any(|parameter| parameter.required) => {
                reader.report(
                    DatasetError::MissingGlobalData,
                    at,
                    "is missing, and global parameters are required",
                );
            }
            None => {}
        }
        reader.finish(dataset)
    }

    /// Reads one member or a list of them, checks them against the parameters, and drops what these do not declare. All
    /// members, or none.
    pub fn members(&self, value: &Value, place: Place<'_>) -> Result<Vec<Data>, Vec<Finding<DataError>>> {
        let Value::Array(items) = value else { return self.member(value, place).map(|member| vec![member]) };
        let mut members = Vec::with_capacity(items.len());
        let mut findings = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match self.member(item, place.index(at)) {
                Ok(member) => members.push(member),
                Err(found) => findings.extend(found),
            }
            if findings.len() >= MAX_FINDINGS {
                findings.truncate(MAX_FINDINGS);
                break;
            }
        }
        if findings.is_empty() { Ok(members) } else { Err(findings) }
    }

    /// Reads one member.
    pub fn member(&self, value: &Value, place: Place<'_>) -> Result<Data, Vec<Finding<DataError>>> {
        let data = Data::parse(value, place)?;
        match data.check(&self.parameters, place) {
            wrong if wrong.is_empty() => Ok(data.restricted_to(&self.parameters)),
            wrong => Err(wrong),
        }
    }

    /// Whether there is a parameter or a global parameter of this name.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters.get(name).is_some() || self.global_parameters.get(name).is_some()
    }

    /// What recipes get from a member: parameters and global parameters under the names of recipe inputs (contract 4.7).
    pub fn effective_parameters(&self, map: &InputMap) -> Interface {
        let mut all = self.global_parameters.parameters.clone();
        all.extend(self.parameters.parameters.clone());
        Interface::of(map.rename(&all).map(|(name, parameter)| (name.to_owned(), parameter.clone())))
    }
}
