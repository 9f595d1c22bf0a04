//! What a server answered.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// One HTTP answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The method and path that were asked, for messages.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came, decompressed.
    pub bytes: Bytes,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn read(asked: String, response: reqwest::Response) -> Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.with_context(|| format!("{asked}: reading the answer"))?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Self { asked, status, headers, bytes, body })
    }

    /// The answer itself when its status is 2xx.
    ///
    /// # Errors
    ///
    /// Any other status, with the beginning of the body.
    pub fn success(self) -> Result<Self> {
        if (200..300).contains(&self.status) { Ok(self) } else { bail!("{}", self.describe()) }
    }

    /// The error code of contract 0.5 (`error.code`, or `errorCode` of the v1 routes), if the body has one.
    pub fn code(&self) -> Option<&str> {
        self.body.pointer("/error/code").or_else(|| self.body.get("errorCode")).and_then(Value::as_str)
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The text at a JSON pointer.
    ///
    /// # Errors
    ///
    /// When there is no text at this place.
    pub fn text(&self, pointer: &str) -> Result<&str> {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.with_context(|| format!("no text at {pointer}: {}", self.describe()))
    }

    /// The integer at a JSON pointer.
    ///
    /// # Errors
    ///
    /// When there is no integer at this place.
    pub fn integer(&self, pointer: &str) -> Result<i64> {
        let found = self.body.pointer(pointer).and_then(Value::as_i64);
        found.with_context(|| format!("no integer at {pointer}: {}", self.describe()))
    }

    /// The list at a JSON pointer.
    ///
    /// # Errors
    ///
    /// When there is no list at this place.
    pub fn list(&self, pointer: &str) -> Result<&[Value]> {
        let found = self.body.pointer(pointer).and_then(Value::as_array);
        Ok(found.with_context(|| format!("no list at {pointer}: {}", self.describe()))?.as_slice())
    }

    /// One line with the question, the status and the beginning of the body.
    pub fn describe(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.bytes).chars().take(1_000).collect();
        format!("{} answered {}: {body}", self.asked, self.status)
    }
}
