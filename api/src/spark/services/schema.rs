//! What a version takes and gives, in the words of the protocol (contract 4.5).

use millrace_calc::interface::{InputField, Interface, OutputField, Place};
use millrace_common::model::time::timestamp;
use millrace_common::store::ServiceVersion;
use serde_json::{Map, Value, json};

/// The subservice whose outputs describe the service itself.
const METADATA: &str = "metadata";

/// The answer to a schema call.
pub(super) fn schema(version: &ServiceVersion, interface: &Interface, report: &Value) -> Value {
    let properties = &interface.properties;
    let inputs: Vec<Value> = interface.inputs.iter().map(input).collect();
    let outputs: Vec<Value> = interface.outputs.iter().map(output).collect();
    let table = |heading: &str, places: &mut dyn Iterator<Item = &Place>| -> Vec<Value> {
        places
            .map(|place| {
                json!({heading: place.name, "Description": place.description, "Address": place_address(place)})
            })
            .collect()
    };
    let input_table = table("Input Name", &mut interface.inputs.iter().map(|field| &field.place));
    let output_table = table("Output Name", &mut interface.outputs.iter().map(|field| &field.place));
    json!({
        "id": version.id,
        "versionId": version.id,
        "serviceId": version.service_id,
        "serviceName": version.service,
        "engine": version.service,
        "product": version.folder,
        "revision": version.number(),
        "author": version.created_by,
        "createdAt": timestamp(version.created_at),
        "effectiveStartDate": timestamp(version.effective_start),
        "effectiveEndDate": timestamp(version.effective_end),
        "isActive": version.is_active,
        "releaseNote": version.release_note,
        "versionLabel": version.label,
        "tags": version.tags,
        "originalFileName": version.file_name,
        "sourceKind": version.kind,
        "compilerVersion": version.compiler_version,
        "bookSummary": {
            "bookName": version.file_name,
            "creator": properties.creator,
            "lastModifiedBy": properties.last_modified_by,
            "created": properties.created,
            "modified": properties.modified,
            "noOfSheets": interface.counts.sheets,
            "noOfInputs": interface.counts.inputs,
            "noOfOutputs": interface.counts.outputs,
            "noOfFormulas": interface.counts.formulas,
            "noOfCellsWithData": interface.counts.cells_with_data,
            "sheets": properties.sheets,
        },
        "bookProperties": [
            {"key": "title", "value": properties.title},
            {"key": "subject", "value": properties.subject},
            {"key": "description", "value": properties.description},
            {"key": "application", "value": properties.application},
        ],
        "xlInputs": inputs,
        "xOutput": outputs,
        "inputMetadata": input_table,
        "outputMetadata": output_table,
        "metadata": {"xInputTable": input_table, "xOutputTable": output_table},
        "compilerResult": report,
    })
}

fn place_address(place: &Place) -> String {
    if place.sheet.is_empty() {
        place.address.clone()
    } else {
        format!("'{}'!{}", place.sheet, place.address)
    }
}

fn input(field: &InputField) -> Value {
    let mut object = common(&field.place);
    object.insert("value".into(), field.default.clone());
    object.insert("dataType".into(), json!(field.data_type));
    object.insert("validation".into(), json!(field.validation));
    object.insert("direction".into(), json!("input"));
    Value::Object(object)
}

fn output(field: &OutputField) -> Value {
    let mut object = common(&field.place);
    object.insert("value".into(), field.value.clone());
    object.insert("dataType".into(), json!(field.data_type));
    object.insert("direction".into(), json!("output"));
    Value::Object(object)
}

fn common(place: &Place) -> Map<String, Value> {
    let pairs = [
        ("name", json!(place.name)),
        ("displayName", json!(place.short_name())),
        ("description", json!(place.description)),
        ("sheetName", json!(place.sheet)),
        ("address", json!(place.address)),
        ("rows", json!(place.rows)),
        ("columns", json!(place.columns)),
        ("headings", json!(place.headings)),
        ("subServiceName", json!(place.subservice_or_default())),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The values that the service states about itself: outputs of the subservice `Metadata`.
pub(super) fn metadata(interface: &Interface) -> Value {
    let stated = interface
        .outputs
        .iter()
        .filter(|field| {
            field.place.subservice.as_deref().is_some_and(|sub| sub.eq_ignore_ascii_case(METADATA))
        })
        .map(|field| (format!("Metadata.{}", field.place.short_name()), field.value.clone()));
    Value::Object(stated.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn only_the_metadata_subservice_is_metadata() {
        let field = |name: &str, subservice: Option<&str>| OutputField {
            place: Place { name: name.into(), subservice: subservice.map(str::to_owned), ..Place::default() },
            value: json!(7),
            ..OutputField::default()
        };
        let interface = Interface {
            outputs: vec![field("total", None), field("metadata.owner", Some("metadata"))],
            ..Interface::default()
        };
        assert_eq!(metadata(&interface), json!({"Metadata.owner": 7}));
    }
}
