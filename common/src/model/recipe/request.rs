//! What a batch is created from: its definition (contract 3.1) and its configuration (3.2).

use serde_json::Value;

use super::data::{InputMap, InputMapEntry};
use super::finding::Finding;
use super::forced::ForcedNodes;
use super::names::BatchError;
use super::reader::{Place, Reader, present};

/// A batch's definition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchDefinition {
    /// The dataset whose members become recipes.
    pub dataset: Option<i64>,
    /// `None` where the document does not say; see [`BatchDefinition::supersedes`].
    pub own_supersedes: Option<bool>,
    /// Forced nodes of the document's top level.
    pub forced_nodes: Option<ForcedNodes>,
    /// The batch whose recipes are done again. It drives the creation of recipes where there is a dataset as well.
    pub previous_batch: Option<PreviousBatchRef>,
}

/// `previous_batch` of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousBatchRef {
    /// The first batch of the chain.
    pub root_batch_id: i64,
    /// Its own forced nodes, which go before those of the top level.
    pub forced_nodes: Option<ForcedNodes>,
}

/// A batch's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchConfiguration {
    /// Lower runs first; 0 is as good as none.
    pub priority: Option<i64>,
    /// How the dataset's parameters feed the recipe's inputs.
    pub input_map: InputMap,
}

impl BatchDefinition {
    /// Reads a definition.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<BatchError>>> {
        let mut reader = Reader::new(BatchError::InvalidBatchDefinition);
        let mut definition = Self::default();
        let known = ["dataset", "supersedes", "forced_nodes", "previous_batch"];
        let Some(map) = reader.object(value, place, &known) else { return reader.finish(definition) };
        definition.dataset = reader.integer(map, "dataset", place);
        definition.own_supersedes = reader.flag(map, "supersedes", place);
        definition.forced_nodes = present(map, "forced_nodes")
            .map(|forced| ForcedNodes::read(&mut reader, forced, place.key("forced_nodes")));
        let at = place.key("previous_batch");
        if let Some(previous) = present(map, "previous_batch")
            && let Some(map) = reader.object(previous, at, &["root_batch_id", "forced_nodes"])
        {
            if map.contains_key("version") {
                // Alone among the documents' levels this one has no version.
                reader.wrong(at.key("version"), "unknown key; known are root_batch_id, forced_nodes");
            }
            let root_batch_id = reader.required_integer(map, "root_batch_id", at);
            let forced_nodes = present(map, "forced_nodes")
                .map(|forced| ForcedNodes::read(&mut reader, forced, at.key("forced_nodes")));
            definition.previous_batch =
                root_batch_id.map(|root_batch_id| PreviousBatchRef { root_batch_id, forced_nodes });
        }
        reader.finish(definition)
    }

    /// Whether existing recipes are superseded: as the document says, else as the request says beside it, else yes
    /// (contract 2.3).
    pub fn supersedes(&self, of_request: Option<bool>) -> bool {
        self.own_supersedes.or(of_request).unwrap_or(true)
    }

    /// The forced nodes that count (contract 3.1).
    pub fn forced(&self) -> Option<&ForcedNodes> {
        let own = self.previous_batch.as_ref().and_then(|previous| previous.forced_nodes.as_ref());
        own.or(self.forced_nodes.as_ref())
    }
}

impl BatchConfiguration {
    /// Reads a configuration.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<BatchError>>> {
        let mut reader = Reader::new(BatchError::InvalidBatchConfiguration);
        let mut configuration = Self::default();
        let Some(map) = reader.object(value, place, &["priority", "inputMap"]) else {
            return reader.finish(configuration);
        };
        configuration.priority = reader.integer(map, "priority", place);
        let at = place.key("inputMap");
        if let Some(items) = reader.list(map, "inputMap", place) {
            if items.is_empty() {
                reader.wrong(at, "must have at least one item");
            }
            for (item, value) in items.iter().enumerate() {
                let place = at.index(item);
                // More keys than these are tolerated here.
                let Some(map) = reader.map(value, place) else { continue };
                let input = reader.required_text(map, "input", place);
                let parameter = reader.required_text(map, "datasetParameter", place);
                if let (Some(input), Some(parameter)) = (input, parameter) {
                    configuration.input_map.entries.push(InputMapEntry { input, parameter });
                }
            }
        }
        reader.finish(configuration)
    }
}

/// The priority with which a job is queued (contract 4.9): lower runs first. A batch's 0 counts as none.
pub fn priority(requeue: Option<i64>, batch: Option<i64>, recipe: Option<i64>, job_type: Option<i64>) -> i64 {
    /// What a job type has that does not say.
    const DEFAULT: i64 = 100;
    requeue.or(batch.filter(|priority| *priority != 0)).or(recipe).or(job_type).unwrap_or(DEFAULT)
}
