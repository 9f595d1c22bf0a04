//! The calls of the Scale v6 protocol: job types, recipe types, datasets, batches of recipes, recipes and jobs.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::try_unfold;
use reqwest::{Body, Method};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Call, Client, ClientError, Payload, parse, segment};

/// The most items of one page.
const PAGE: usize = 1_000;
/// Bytes of a file that are sent at a time.
const PIECE: usize = 65_536;

/// The query of a list.
pub type Query = Vec<(&'static str, String)>;

fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let mut path = format!("/v6/{path}");
    for (at, (name, value)) in query.iter().enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        path.push_str(&format!("{name}={}", segment(value)));
    }
    path
}

/// A path of `/v6/`, of parts that may hold any character.
pub fn path(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("{}/", segment(part))).collect()
}

/// A file of members on its way to a dataset, opened anew for each try.
#[derive(Debug, Clone)]
pub struct Members {
    /// The file; `None` is standard input, which can be sent once.
    pub file: Option<PathBuf>,
    /// Its media type.
    pub media: &'static str,
    /// Bytes that were handed to the connection.
    pub sent: Arc<AtomicU64>,
}

impl Members {
    pub(super) fn body(&self) -> Body {
        let (file, sent) = (self.file.clone(), Arc::clone(&self.sent));
        sent.store(0, Ordering::Relaxed);
        let open: Option<Box<dyn AsyncRead + Send + Unpin>> = None;
        Body::wrap_stream(try_unfold(open, move |open| {
            let (file, sent) = (file.clone(), Arc::clone(&sent));
            async move {
                let mut reader: Box<dyn AsyncRead + Send + Unpin> = match (open, file) {
                    (Some(reader), _) => reader,
                    (None, Some(file)) => Box::new(tokio::fs::File::open(file).await?),
                    (None, None) => {
                        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
                        Box::new(tokio::fs::File::from_std(input.into()))
                    }
                };
                let mut piece = Vec::with_capacity(PIECE);
                (&mut reader).take(PIECE as u64).read_to_end(&mut piece).await?;
                if piece.is_empty() {
                    return Ok::<_, std::io::Error>(None);
                }
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Ok(Some((Bytes::from(piece), Some(reader))))
            }
        }))
    }
}

impl Client {
    /// One thing; `path` is what stands behind `/v6/`.
    pub async fn v6_get(&self, path: &str) -> Result<Value, ClientError> {
        self.send_for(&Call::get(format!("/v6/{path}"))).await
    }

    /// A list, up to `max` items of it: `{count, results}`, where `count` is how many there are.
    pub async fn v6_list(
        &self,
        path: &str,
        query: &[(&'static str, String)],
        max: usize,
    ) -> Result<Value, ClientError> {
        let mut results: Vec<Value> = Vec::new();
        let size = max.clamp(1, PAGE);
        let count = loop {
            let page = results.len() / size + 1;
            let mut query = query.to_vec();
            query.extend([("page", page.to_string()), ("page_size", size.to_string())]);
            let mut answer: Value = self.send_for(&Call::get(with_query(path, &query))).await?;
            let found = match answer.get_mut("results").map(Value::take) {
                Some(Value::Array(found)) => found,
                _ => Vec::new(),
            };
            let full = found.len() == size;
            results.extend(found);
            if !full || results.len() >= max || answer["next"].is_null() {
                break answer["count"].clone();
            }
        };
        results.truncate(max);
        Ok(json!({"count": count, "results": results}))
    }

    /// Asks whether a document would be taken, which changes nothing.
    pub async fn v6_check<T: Serialize>(&self, path: &str, body: &T) -> Result<Value, ClientError> {
        self.send_for(&Call::json(Method::POST, format!("/v6/{path}"), body)?).await
    }

    /// Creates or orders something. Not repeated when the answer is lost: that could do it twice. An answer without a body is null.
    pub async fn v6_post<T: Serialize>(&self, path: &str, body: &T) -> Result<Value, ClientError> {
        self.v6_once(Method::POST, path, body).await
    }

    /// Changes something; as [`Client::v6_post`], since a change may make a revision.
    pub async fn v6_patch<T: Serialize>(&self, path: &str, body: &T) -> Result<Value, ClientError> {
        self.v6_once(Method::PATCH, path, body).await
    }

    async fn v6_once<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: &T,
    ) -> Result<Value, ClientError> {
        let call = Call::json(method, format!("/v6/{path}"), body)?.once();
        let answer = self.send(&call).await?;
        if answer.is_empty() { Ok(Value::Null) } else { parse(&call.path, &answer) }
    }

    /// Sends the rows of a file to a dataset: all of them become members, or none.
    pub async fn v6_upload(&self, dataset: i64, members: Members) -> Result<Value, ClientError> {
        let path = format!("/v6/datasets/{dataset}/upload/");
        let call = Call { method: Method::POST, path, payload: Payload::Members(members), repeatable: false };
        self.send_for(&call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_hold_any_character() {
        assert_eq!(path(&["job-types", "a b", "1.0.0"]), "job-types/a%20b/1.0.0/");
        let query = [("keyword", "a&b".to_owned()), ("page", "1".to_owned())];
        assert_eq!(with_query("datasets/", &query), "/v6/datasets/?keyword=a%26b&page=1");
        assert_eq!(with_query("datasets/", &[]), "/v6/datasets/");
    }
}
