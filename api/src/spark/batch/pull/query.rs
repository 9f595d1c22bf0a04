//! The query of a pull.

use crate::error::ApiError;

/// Chunks of a pull that names no number.
const DEFAULT_CHUNKS: i64 = 50;
/// The most chunks of one pull; larger numbers are clamped.
const MOST_CHUNKS: i64 = 100;

/// What a pull asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PullQuery {
    /// `max`, else `max_chunks` (contract 1.3).
    pub max_chunks: i64,
    /// `max_bytes`: the most bytes of results, uncompressed. One chunk comes in any case.
    pub max_bytes: Option<usize>,
    /// `redeliver`: what was pulled before, instead of what was not.
    pub redeliver: bool,
    /// `after`: the cursor to go on from.
    pub after: Option<String>,
}

impl PullQuery {
    /// Reads the parameters; unknown ones are ignored.
    pub(super) fn read(query: &[(String, String)]) -> Result<Self, ApiError> {
        let text = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, text)| text.trim());
        let max = ["max", "max_chunks"].into_iter().find_map(|name| Some((name, text(name)?)));
        let max_chunks = match max {
            None => DEFAULT_CHUNKS,
            Some((name, text)) => count(name, text)?.min(MOST_CHUNKS),
        };
        let max_bytes = match text("max_bytes") {
            None => None,
            Some(text) => Some(usize::try_from(count("max_bytes", text)?).unwrap_or(usize::MAX)),
        };
        Ok(Self {
            max_chunks,
            max_bytes,
            redeliver: flag("redeliver", text("redeliver"))?,
            after: text("after").filter(|cursor| !cursor.is_empty()).map(str::to_owned),
        })
    }
}

/// A whole number from 1 on; one that is too large for its type is merely large.
fn count(name: &str, text: &str) -> Result<i64, ApiError> {
    let too_large = text.len() > 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if too_large { Some(i64::MAX) } else { text.parse::<i64>().ok() };
    number.filter(|number| *number >= 1).ok_or_else(|| {
        let message = format!("{name} must be a whole number, 1 or more");
        ApiError::bad_request("INVALID_VALUE", message, name.to_owned())
    })
}

fn flag(name: &str, text: Option<&str>) -> Result<bool, ApiError> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => {
            let message = format!("{name} must be true or false");
            Err(ApiError::bad_request("INVALID_VALUE", message, name.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn max_wins_is_clamped_and_must_be_a_positive_integer() {
        for (query, expected) in [
            ("", 50),
            ("max=1", 1),
            ("max=100", 100),
            ("max=500", 100),
            ("max=99999999999999999999999999", 100),
            ("max_chunks=7", 7),
            ("max_chunks=7&max=8", 8),
            ("max_chunks=x&max=8", 8),
        ] {
            assert_eq!(PullQuery::read(&pairs(query)).unwrap().max_chunks, expected, "{query}");
        }
        for query in [
            "max=0",
            "max=-1",
            "max=x",
            "max=",
            "max=1.5",
            "max=1e2",
            "max_chunks=0",
            "max_bytes=0",
            "max_bytes=1k",
            "redeliver=yes",
            "max=-99999999999999999999999",
        ] {
            let error = PullQuery::read(&pairs(query)).unwrap_err();
            assert_eq!(error.status().as_u16(), 400, "{query}");
            assert!(error.source_path().is_some());
        }
    }

    #[test]
    fn bytes_redelivery_and_cursor_are_read() {
        let query = PullQuery::read(&pairs("max_bytes=1000&redeliver=True&after=abc&x=y")).unwrap();
        assert_eq!(
            (query.max_bytes, query.redeliver, query.after.as_deref()),
            (Some(1_000), true, Some("abc"))
        );
        let query = PullQuery::read(&pairs("max_bytes=99999999999999999999&redeliver=0&after=")).unwrap();
        assert!(query.max_bytes.unwrap() > 1_000_000_000 && !query.redeliver && query.after.is_none());
    }
}
