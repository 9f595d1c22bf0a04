//! Totals over a whole batch: what a caller asks for at creation (`summary_total`), and what batch information answers.
//!
//! The contract leaves whole-batch aggregates to the client (2.6); this field is ours. It lists outputs, by name or as
//! `{"output_name": "total", "quantiles": [0.5, 0.95]}`.

use millrace_calc::interface::Interface;
use millrace_calc::totals::{MAX_OUTPUTS, MAX_QUANTILES, TotalRequest};
use serde_json::{Map, Value};

use super::fields::{FieldError, split_list};

/// The field, as the first of its spellings.
const FIELD: &str = "summary_total";
/// The other one.
const PLURAL: &str = "summary_totals";

/// Reads the field; nothing, `null` and an empty list ask for nothing.
pub(super) fn read(object: &Map<String, Value>) -> Result<Vec<TotalRequest>, FieldError> {
    Ok(given(object)?.unwrap_or_default())
}

/// As [`read`]; `None` where there is no field, or `null`.
pub(super) fn given(object: &Map<String, Value>) -> Result<Option<Vec<TotalRequest>>, FieldError> {
    let given = [FIELD, PLURAL].into_iter().find_map(|name| Some((name, object.get(name)?)));
    let requests = match given {
        None | Some((_, Value::Null)) => return Ok(None),
        Some((name, Value::String(list))) => {
            let names = split_list(list);
            let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
            let requests: Vec<_> = names.map(named).collect();
            within(name, requests)?
        }
        Some((name, Value::Array(entries))) => {
            let entries = entries.iter().enumerate();
            let requests: Vec<_> = entries
                .map(|(index, entry)| request(entry, &format!("{name}[{index}]")))
                .collect::<Result<_, _>>()?;
            within(name, requests)?
        }
        Some((name, _)) => return Err(FieldError::new(name, "must be a list of outputs")),
    };
    Ok(Some(requests))
}

fn within(name: &str, requests: Vec<TotalRequest>) -> Result<Vec<TotalRequest>, FieldError> {
    if requests.len() > MAX_OUTPUTS {
        return Err(FieldError::new(name, format!("more than {MAX_OUTPUTS} outputs")));
    }
    Ok(requests)
}

fn named(name: &str) -> TotalRequest {
    TotalRequest { output_name: name.to_owned(), ..TotalRequest::default() }
}

fn request(entry: &Value, path: &str) -> Result<TotalRequest, FieldError> {
    let wrong = |key: &str, message: &str| FieldError::new(format!("{path}.{key}"), message);
    let object = match entry {
        Value::String(name) if !name.trim().is_empty() => return Ok(named(name.trim())),
        Value::Object(object) => object,
        _ => {
            return Err(FieldError::new(
                path,
                "must be the name of an output, or an object with output_name and quantiles",
            ));
        }
    };
    if let Some(key) = object.keys().find(|key| !["output_name", "quantiles"].contains(&key.as_str())) {
        return Err(wrong(key, "unknown key; known are output_name, quantiles"));
    }
    let mut request = match object.get("output_name") {
        Some(Value::String(name)) if !name.trim().is_empty() => named(name.trim()),
        None | Some(Value::Null) => return Err(wrong("output_name", "is missing")),
        Some(_) => return Err(wrong("output_name", "must be the name of an output")),
    };
    match object.get("quantiles") {
        None | Some(Value::Null) => {}
        Some(Value::Array(shares)) if shares.len() <= MAX_QUANTILES => {
            for (index, share) in shares.iter().enumerate() {
                let share = share.as_f64().filter(|share| (0.0..=1.0).contains(share));
                let share = share
                    .ok_or_else(|| wrong(&format!("quantiles[{index}]"), "must be a number from 0 to 1"))?;
                if !request.quantiles.contains(&share) {
                    request.quantiles.push(share);
                }
            }
        }
        Some(Value::Array(_)) => {
            return Err(wrong("quantiles", &format!("more than {MAX_QUANTILES} entries")));
        }
        Some(_) => return Err(wrong("quantiles", "must be a list of numbers from 0 to 1")),
    }
    Ok(request)
}

/// Checks the names against the service, and spells them as it does.
pub(super) fn resolve(
    mut requests: Vec<TotalRequest>,
    interface: &Interface,
    subservices: &[String],
) -> Result<Vec<TotalRequest>, FieldError> {
    let mut seen: Vec<String> = Vec::new();
    for (index, request) in requests.iter_mut().enumerate() {
        let path = format!("{FIELD}[{index}].output_name");
        let Some(output) = interface.output(&request.output_name, subservices) else {
            let known: Vec<&str> =
                interface.outputs.iter().take(20).map(|field| field.place.name.as_str()).collect();
            let more = if interface.outputs.len() > known.len() { ", …" } else { "" };
            let message =
                format!("no output is named {:?}; there are {}{more}", request.output_name, known.join(", "));
            return Err(FieldError::new(path, message));
        };
        request.output_name.clone_from(&output.place.name);
        if seen.contains(&request.output_name) {
            return Err(FieldError::new(
                path,
                format!("the output {:?} is listed twice", request.output_name),
            ));
        }
        seen.push(request.output_name.clone());
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use millrace_calc::interface::{OutputField, Place};
    use serde_json::json;

    use super::*;

    fn ask(value: Value) -> Result<Vec<TotalRequest>, FieldError> {
        let mut object = Map::new();
        object.insert(FIELD.to_owned(), value);
        read(&object)
    }

    fn interface() -> Interface {
        let output = |name: &str, subservice: Option<&str>| OutputField {
            place: Place { name: name.into(), subservice: subservice.map(Into::into), ..Place::default() },
            ..OutputField::default()
        };
        Interface { outputs: vec![output("Total", None), output("a.Net", Some("a"))], ..Interface::default() }
    }

    #[test]
    fn reads_names_and_objects() {
        assert_eq!(ask(json!(null)).unwrap(), []);
        assert_eq!(ask(json!([])).unwrap(), []);
        assert_eq!(ask(json!("total, net")).unwrap(), [named("total"), named("net")]);
        let request = TotalRequest { output_name: "net".into(), quantiles: vec![0.5, 1.0] };
        assert_eq!(
            ask(json!(["total", {"output_name": "net", "quantiles": [0.5, 1, 0.5]}])).unwrap(),
            [named("total"), request]
        );
        let mut plural = Map::new();
        plural.insert(PLURAL.to_owned(), json!(["total"]));
        assert_eq!(read(&plural).unwrap(), [named("total")]);
    }

    #[test]
    fn mistakes_are_named() {
        for (value, path) in [
            (json!(5), "summary_total"),
            (json!({"output_name": "total"}), "summary_total"),
            (json!([""]), "summary_total[0]"),
            (json!(["total", 5]), "summary_total[1]"),
            (json!([{"quantiles": [0.5]}]), "summary_total[0].output_name"),
            (json!([{"output_name": 5}]), "summary_total[0].output_name"),
            (json!([{"output_name": "x", "quantiles": 0.5}]), "summary_total[0].quantiles"),
            (json!([{"output_name": "x", "quantiles": [0.5, 1.5]}]), "summary_total[0].quantiles[1]"),
            (json!([{"output_name": "x", "quantiles": ["0.5"]}]), "summary_total[0].quantiles[0]"),
            (json!([{"output_name": "x", "operator": "SUM"}]), "summary_total[0].operator"),
            (json!(vec!["x"; MAX_OUTPUTS + 1]), "summary_total"),
            (
                json!([{"output_name": "x", "quantiles": vec![0.5; MAX_QUANTILES + 1]}]),
                "summary_total[0].quantiles",
            ),
        ] {
            assert_eq!(ask(value.clone()).unwrap_err().path, path, "{value}");
        }
    }

    #[test]
    fn names_are_those_of_the_service() {
        let names = |requests: Vec<TotalRequest>| {
            requests.into_iter().map(|request| request.output_name).collect::<Vec<_>>()
        };
        let requests = vec![named("TOTAL"), named("net")];
        assert_eq!(names(resolve(requests.clone(), &interface(), &[]).unwrap()), ["Total", "a.Net"]);
        let error = resolve(requests, &interface(), &["a".to_owned()]).unwrap_err();
        assert_eq!(error.path, "summary_total[0].output_name");
        let twice = resolve(vec![named("a.net"), named("Net")], &interface(), &[]).unwrap_err();
        assert_eq!(twice.path, "summary_total[1].output_name");
    }
}
