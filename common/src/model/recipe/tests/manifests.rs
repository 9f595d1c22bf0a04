//! Manifests and configurations of job types.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::recipe::names::ManifestError;
use crate::model::recipe::{Finding, JobConfiguration, JsonType, Manifest, Parameter, ParameterKind, Place};

fn parse(document: &Value) -> Result<Manifest, Vec<Finding<ManifestError>>> {
    Manifest::parse(document, Place::root("manifest"))
}

fn manifest() -> Value {
    json!({"seedVersion": "1.0.0", "job": {
        "name": "price-2", "jobVersion": "1.2.0-rc1", "packageVersion": "1.0.0", "title": "Price", "description": "Prices",
        "maintainer": {"name": "N", "email": "n@example.com", "organization": "O", "url": "u", "phone": "p"},
        "timeout": 60, "tags": ["money"],
        "interface": {
            "command": "run", "mounts": [], "settings": [],
            "inputs": {"json": [{"name": "x1", "type": "number"}, {"name": "note", "type": "string", "required": false}],
                       "files": [{"name": "scan", "mediaTypes": ["image/png"], "partial": true}]},
            "outputs": {"json": [{"name": "total", "type": "number", "key": "TOTAL"}, {"name": "tax", "type": "number"}],
                        "files": [{"name": "out", "pattern": "*", "mediaType": "image/png", "multiple": true}]}},
        "resources": {"scalar": [{"name": "cpus", "value": 1}]},
        "errors": [{"code": 3, "name": "bad-rate", "title": "T", "description": "D", "category": "data"},
                   {"code": 4, "name": "other"}]}})
}

#[test]
fn a_manifest_is_read() {
    let read = parse(&manifest()).unwrap();
    assert_eq!((read.name.as_str(), read.timeout), ("price-2", 60));
    assert_eq!(
        (read.version.to_string(), read.package_version.to_string()),
        ("1.2.0-rc1".into(), "1.0.0".into())
    );
    assert_eq!(read.inputs.get("x1"), Some(&Parameter::json(JsonType::Number, true)));
    assert_eq!(read.inputs.get("note"), Some(&Parameter::json(JsonType::String, false)));
    let png = vec!["image/png".to_owned()];
    let scan =
        Parameter { required: true, kind: ParameterKind::File { media_types: png.clone(), multiple: false } };
    assert_eq!(read.inputs.get("scan"), Some(&scan));
    let out = Parameter { required: true, kind: ParameterKind::File { media_types: png, multiple: true } };
    assert_eq!(read.outputs.get("out"), Some(&out));
    let keys: Vec<(&str, &str)> =
        read.output_keys.iter().map(|(name, key)| (name.as_str(), key.as_str())).collect();
    assert_eq!(keys, [("tax", "tax"), ("total", "TOTAL")]);
    let blame: Vec<(i64, bool)> = read.errors.iter().map(|error| (error.code, error.is_data)).collect();
    assert_eq!(blame, [(3, true), (4, false)]);
}

#[test]
fn what_is_optional_may_be_left_out() {
    let read = parse(&json!({"seedVersion": "1.0.0", "job": {"name": "n", "jobVersion": "2.0.0", "title": "", "description": "",
                                                             "timeout": 1}}))
    .unwrap();
    assert_eq!(read.package_version, read.version);
    assert!(
        read.inputs.parameters.is_empty() && read.outputs.parameters.is_empty() && read.errors.is_empty()
    );
}

#[test]
fn every_error_is_told_with_its_place() {
    use ManifestError as E;
    type Change = fn(&mut Value);
    let cases: [(Change, E, &str); 27] = [
        (|m| *m = json!([]), E::JsonValidation, "manifest"),
        (|m| m["model"] = json!({}), E::JsonValidation, "manifest.model"),
        (|m| m["seedVersion"] = json!("2.0.0"), E::JsonValidation, "manifest.seedVersion"),
        (|m| m["seedVersion"] = json!(null), E::JsonValidation, "manifest.seedVersion"),
        (|m| m["job"] = json!(null), E::JsonValidation, "manifest.job"),
        (|m| m["job"]["formula"] = json!("1"), E::JsonValidation, "manifest.job.formula"),
        (|m| m["job"]["name"] = json!("a b"), E::JsonValidation, "manifest.job.name"),
        (|m| m["job"]["name"] = json!("validation"), E::JsonValidation, "manifest.job.name"),
        (|m| m["job"]["name"] = json!(null), E::JsonValidation, "manifest.job.name"),
        (|m| m["job"]["jobVersion"] = json!("1.0"), E::JsonValidation, "manifest.job.jobVersion"),
        (|m| m["job"]["packageVersion"] = json!("one"), E::JsonValidation, "manifest.job.packageVersion"),
        (|m| m["job"]["title"] = json!(null), E::JsonValidation, "manifest.job.title"),
        (|m| m["job"]["timeout"] = json!(0), E::JsonValidation, "manifest.job.timeout"),
        (|m| m["job"]["timeout"] = json!(1.5), E::JsonValidation, "manifest.job.timeout"),
        (|m| m["job"]["tags"] = json!([1]), E::JsonValidation, "manifest.job.tags[0]"),
        (
            |m| m["job"]["maintainer"]["email"] = json!(null),
            E::JsonValidation,
            "manifest.job.maintainer.email",
        ),
        (|m| m["job"]["maintainer"]["fax"] = json!(""), E::JsonValidation, "manifest.job.maintainer.fax"),
        (|m| m["job"]["resources"] = json!([]), E::JsonValidation, "manifest.job.resources"),
        (
            |m| m["job"]["interface"]["inputs"]["xml"] = json!([]),
            E::JsonValidation,
            "manifest.job.interface.inputs.xml",
        ),
        (
            |m| m["job"]["interface"]["inputs"]["json"][0]["type"] = json!("float"),
            E::JsonValidation,
            "manifest.job.interface.inputs.json[0].type",
        ),
        (
            |m| m["job"]["interface"]["outputs"]["json"][0]["name"] = json!("é"),
            E::JsonValidation,
            "manifest.job.interface.outputs.json[0].name",
        ),
        (
            |m| m["job"]["interface"]["outputs"]["files"][0]["mediaTypes"] = json!([]),
            E::JsonValidation,
            "manifest.job.interface.outputs.files[0].mediaTypes",
        ),
        (
            |m| m["job"]["interface"]["inputs"]["json"][1]["name"] = json!("X1"),
            E::NameCollision,
            "manifest.job.interface.inputs.json[1].name",
        ),
        (
            |m| m["job"]["interface"]["inputs"]["json"][1]["name"] = json!("scan"),
            E::NameCollision,
            "manifest.job.interface.inputs.json[1].name",
        ),
        (
            |m| m["job"]["errors"][0]["category"] = json!("system"),
            E::JsonValidation,
            "manifest.job.errors[0].category",
        ),
        (|m| m["job"]["errors"][0]["code"] = json!(null), E::JsonValidation, "manifest.job.errors[0].code"),
        (
            |m| m["job"]["errors"][1]["name"] = json!("bad-rate"),
            E::DuplicateErrorNames,
            "manifest.job.errors[1].name",
        ),
    ];
    let mut told = BTreeSet::new();
    for (change, name, place) in cases {
        let mut document = manifest();
        change(&mut document);
        let errors = parse(&document).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.name, error.place.as_str())).collect();
        assert_eq!(found, [(name, place)], "{document}");
        told.insert(name);
    }
    assert_eq!(told, E::all().into_iter().collect());
    let errors = parse(&json!({"seedVersion": "1.0.0", "job": {}})).unwrap_err();
    let places: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        ["name", "jobVersion", "title", "description", "timeout"].map(|key| format!("manifest.job.{key}"))
    );
}

#[test]
fn an_input_and_an_output_may_share_a_name() {
    let mut document = manifest();
    document["job"]["interface"]["outputs"]["json"][1]["name"] = json!("x1");
    assert!(parse(&document).is_ok());
}

#[test]
fn a_configuration_is_read_or_refused() {
    let read = |document: Value| JobConfiguration::parse(&document, Place::root("configuration"));
    let full = read(
        json!({"version": "6", "priority": 7, "settings": {"unit": "EUR"}, "mounts": {}, "output_workspaces": {}}),
    );
    let full = full.unwrap();
    assert_eq!((full.priority, full.settings["unit"].as_str()), (Some(7), "EUR"));
    assert_eq!(read(json!({})).unwrap(), JobConfiguration::default());
    for (document, place) in [
        (json!([]), "configuration"),
        (json!({"priority": 0}), "configuration.priority"),
        (json!({"priority": "1"}), "configuration.priority"),
        (json!({"settings": {"unit": 1}}), "configuration.settings.unit"),
        (json!({"mounts": []}), "configuration.mounts"),
        (json!({"more": 1}), "configuration.more"),
    ] {
        let errors = read(document.clone()).unwrap_err();
        let found: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
        assert_eq!(found, [place], "{document}");
    }
}
