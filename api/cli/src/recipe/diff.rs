//! What changed between two revisions of a recipe type, node by node (contract 4.10).

use serde_json::Value;

use super::super::table::table;
use super::cells::{clip, text};

/// A table of nodes: their status, whether they would be done again, and what changed.
pub fn nodes(diff: &Value) -> String {
    let mut shown = String::new();
    for reason in diff["reasons"].as_array().into_iter().flatten() {
        shown.push_str(&format!("cannot be reprocessed: {}\n", text(&reason["description"])));
    }
    let rows: Vec<Vec<String>> = diff["nodes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, node)| {
            let changes: Vec<&str> = node["changes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|change| change["name"].as_str())
                .collect();
            let again = match (node["reprocess_new_node"] == true, node["force_reprocess"] == true) {
                (true, true) => "forced",
                (true, false) => "yes",
                (false, _) => "no",
            };
            vec![
                clip(name, 20),
                text(&node["node_type"]["node_type"]),
                text(&node["status"]),
                again.to_owned(),
                changes.join(", "),
            ]
        })
        .collect();
    shown.push_str(&table(&["NODE", "KIND", "STATUS", "AGAIN", "CHANGES"], &rows));
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_tell_what_changed() {
        let diff = json!({
            "can_be_reprocessed": false, "reasons": [{"name": "INPUT_CHANGE", "description": "input.x is new and required"}],
            "nodes": {
                "gate": {"status": "UNCHANGED", "changes": [], "reprocess_new_node": true, "force_reprocess": true,
                    "node_type": {"node_type": "condition"}},
                "price": {"status": "CHANGED", "reprocess_new_node": true, "force_reprocess": false,
                    "changes": [{"name": "JOB_TYPE_REVISION_CHANGE"}, {"name": "INPUT_NEW"}], "node_type": {"node_type": "job"}},
            },
        });
        insta::assert_snapshot!(nodes(&diff), @r"
        cannot be reprocessed: input.x is new and required
        NODE   KIND       STATUS     AGAIN   CHANGES
        gate   condition  UNCHANGED  forced
        price  job        CHANGED    yes     JOB_TYPE_REVISION_CHANGE, INPUT_NEW
        ");
    }
}
