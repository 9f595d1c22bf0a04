//! One record on its own: the values of all inputs, and which of them it gives.

use serde_json::{Map, Value as Json};

use super::error::ChunkError;
use super::lanes::Lanes;
use super::read::{Reader, Remarks};
use super::scan::{ShapeError, parts};
use crate::program::Column;
use crate::service::Prepared;

/// Columns of one record for all inputs, and the inputs that the record names. `record` is a JSON object.
pub(crate) fn columns(prepared: &Prepared, record: &[u8]) -> Result<(Vec<Column>, Vec<usize>), ChunkError> {
    let object: Map<String, Json> = serde_json::from_slice(record).map_err(|error| ShapeError {
        path: "data.inputs[0]".to_owned(),
        message: format!("must be an object: {error}"),
    })?;
    let given =
        object.keys().filter_map(|name| prepared.names().get(&name.to_lowercase()).copied()).collect();
    let data = [b"{\"inputs\":[", record, b"]}"].concat();
    let parts = parts(&data)?;
    let mut remarks = Remarks::default();
    let mut reader =
        Reader::new(&parts, prepared.layout(), prepared.names(), &[], false, Lanes::default(), &mut remarks)?;
    let mut columns = Vec::new();
    reader.start_columns(&mut columns);
    reader.block(&mut columns, &mut remarks)?;
    Ok((columns, given))
}
