//! Digests by which two runs of the same chunks can be compared.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The parts of a result that follow from the inputs and the service alone: not its times.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    #[serde(borrow)]
    summary_output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary_errors: Option<&'a RawValue>,
    #[serde(borrow)]
    warnings: Option<&'a RawValue>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

/// BLAKE3 over a stored result without its process times; `None` when it cannot be read.
pub fn result_digest(body: &[u8]) -> Option<[u8; 32]> {
    let parts: Parts<'_> = serde_json::from_slice(body).ok()?;
    let mut hasher = blake3::Hasher::new();
    let all = [
        parts.outputs,
        parts.summary_output,
        parts.summary_errors,
        parts.warnings,
        parts.errors,
        parts.status,
    ];
    for part in all {
        add(&mut hasher, part.map_or(b"", |part| part.get().as_bytes()));
    }
    Some(*hasher.finalize().as_bytes())
}

/// Two digests over the chunks of a batch, in the order of their ids: over what was pushed, and over what came of it.
#[derive(Debug, Default)]
pub struct Digests {
    inputs: blake3::Hasher,
    results: blake3::Hasher,
}

impl Digests {
    /// Adds the next chunk; `result` is [`result_digest`] of its result, if it has one.
    pub fn add(&mut self, chunk_id: &str, digest: &[u8], result: Option<&[u8; 32]>) {
        add(&mut self.inputs, chunk_id.as_bytes());
        add(&mut self.inputs, digest);
        add(&mut self.results, chunk_id.as_bytes());
        add(&mut self.results, result.map_or(&[], |result| &result[..]));
    }

    /// Both in lower-case hexadecimal: inputs, results.
    pub fn finish(self) -> (String, String) {
        (self.inputs.finalize().to_hex().to_string(), self.results.finalize().to_hex().to_string())
    }
}

/// With its length, so that the border between two parts counts.
fn add(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn times_do_not_count_and_everything_else_does() {
        let body = |outputs: &str, errors: &str, time: u32| {
            let text = format!(
                r#"{{"id":"a","outputs":{outputs},"summary_output":[[]],"errors":{errors},"process_time":[{time}],"status":"completed"}}"#
            );
            result_digest(text.as_bytes()).unwrap()
        };
        let one = body("[[1]]", "[null]", 1);
        assert_eq!(one, body("[[1]]", "[null]", 7));
        assert_ne!(one, body("[[2]]", "[null]", 1));
        assert_ne!(one, body("[[1]]", "[[]]", 1));
        assert_eq!(result_digest(b"{"), None);
    }

    #[test]
    fn ids_and_borders_count() {
        let of = |chunks: &[(&str, &str)]| {
            let mut digests = Digests::default();
            for (id, digest) in chunks {
                digests.add(id, digest.as_bytes(), None);
            }
            digests.finish()
        };
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("a", "1"), ("b", "2")]));
        assert_ne!(of(&[("a", "1"), ("b", "2")]).0, of(&[("b", "2"), ("a", "1")]).0);
        assert_ne!(of(&[("ab", "1")]).0, of(&[("a", "b1")]).0);
        assert_ne!(of(&[("a", "1")]).1, of(&[("b", "1")]).1);
    }
}
