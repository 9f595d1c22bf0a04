//! What an evaluated chunk answers, as bytes (contract 1.3, 2.3).

use super::write::text;

/// The parts of an evaluated chunk, each already JSON as the API sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkResult {
    /// Records evaluated.
    pub records: u32,
    /// Records with an entry in `errors`.
    pub records_failed: u32,
    /// Their numbers, from 0 on, ascending.
    pub failed: Vec<u32>,
    /// Header row and rows, or objects: as the inputs came.
    pub outputs: Vec<u8>,
    /// `[[]]` or `[[[names],[values]]]`.
    pub summary_output: Vec<u8>,
    /// `[[]]` or `[[errors]]`.
    pub summary_errors: Vec<u8>,
    /// `null` or a list, per record.
    pub warnings: Vec<u8>,
    /// `null` or a list, per record.
    pub errors: Vec<u8>,
    /// Milliseconds per record, at least 1 each.
    pub process_time: Vec<u8>,
    /// The sum of `process_time`.
    pub compute_time_ms: u64,
    /// What this chunk adds to the batch's totals ([`crate::totals::Totals::encode`]); `None` when none are asked for.
    pub totals: Option<Vec<u8>>,
}

impl ChunkResult {
    /// Appends the object of a pulled chunk.
    pub fn write_json(&self, id: &str, out: &mut Vec<u8>) {
        let parts: [(&str, &[u8]); 6] = [
            (",\"outputs\":", &self.outputs),
            (",\"summary_output\":", &self.summary_output),
            (",\"summary_errors\":", &self.summary_errors),
            (",\"warnings\":", &self.warnings),
            (",\"errors\":", &self.errors),
            (",\"process_time\":", &self.process_time),
        ];
        out.reserve(parts.iter().map(|(name, part)| name.len() + part.len()).sum::<usize>() + id.len() + 64);
        out.extend_from_slice(b"{\"id\":");
        text(id, out);
        for (name, part) in parts {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(part);
        }
        if self.summary_output != b"[[]]" {
            // The other spelling that the documentation has (contract 2.6), only where it says something.
            out.extend_from_slice(b",\"summary_outputs\":");
            out.extend_from_slice(&self.summary_output);
        }
        out.extend_from_slice(b",\"status\":\"completed\",\"size\":");
        out.extend_from_slice(self.records.to_string().as_bytes());
        out.push(b'}');
    }
}
