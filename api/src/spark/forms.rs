//! Forms: urlencoded, multipart, or JSON objects instead (contract 0.3).

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use serde_json::Value;

use crate::body::{DecodedBody, Media, malformed_json, read_body_within};
use crate::error::ApiError;
use crate::memory::MemoryPermit;
use crate::state::AppState;

/// The most fields of one form.
pub(crate) const MOST_FIELDS: usize = 100;

/// A file of a form.
#[derive(Debug, Clone)]
pub struct FilePart {
    /// The name of the field.
    pub field: String,
    /// The name of the file.
    pub file_name: String,
    /// Its media type, as the caller states it.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A form with its texts and files.
#[derive(Debug)]
pub struct Form {
    texts: Vec<(String, String)>,
    files: Vec<FilePart>,
    _permit: MemoryPermit,
}

impl Form {
    /// The first text of this name, without regard to case; `None` when it is absent or blank.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.texts.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, text)| text.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// The first file of this name, without regard to case.
    pub fn file(&self, name: &str) -> Option<&FilePart> {
        self.files.iter().find(|file| file.field.eq_ignore_ascii_case(name))
    }

    /// The first file.
    pub fn any_file(&self) -> Option<&FilePart> {
        self.files.first()
    }
}

/// Reads a form of at most `limit` bytes.
pub async fn read_form(state: &AppState, request: Request, limit: usize) -> Result<Form, ApiError> {
    Form::read(read_body_within(state, request, limit).await?).await
}

impl Form {
    /// Reads a form that is there as a whole.
    pub(crate) async fn read(body: DecodedBody) -> Result<Self, ApiError> {
        let (texts, files) = match body.media {
            Media::Form | Media::Unstated => {
                let pairs = form_urlencoded::parse(&body.bytes).take(MOST_FIELDS);
                (pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(), Vec::new())
            }
            Media::Multipart => {
                read_multipart(body.content_type.as_deref().unwrap_or_default(), body.bytes.clone()).await?
            }
            Media::Json => (read_object(&body.bytes)?, Vec::new()),
            Media::Bson | Media::Other => {
                return Err(ApiError::unsupported_media_type(
                    "send multipart/form-data, application/x-www-form-urlencoded or application/json",
                ));
            }
        };
        Ok(Self { texts, files, _permit: body.permit })
    }

    /// Bytes of every field.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let (texts, files) = (self.texts.iter(), self.files.iter());
        texts.map(|(_, text)| text.len()).chain(files.map(|file| file.bytes.len())).collect()
    }
}

type Parts = (Vec<(String, String)>, Vec<FilePart>);

async fn read_multipart(content_type: &str, bytes: Bytes) -> Result<Parts, ApiError> {
    let broken = |error: &dyn std::fmt::Display| {
        ApiError::bad_request("MALFORMED_FORM", format!("multipart: {error}"), None)
    };
    let request = Request::builder()
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(bytes))
        .map_err(|error| broken(&error))?;
    let mut multipart =
        Multipart::from_request(request, &()).await.map_err(|error| broken(&error.body_text()))?;
    let (mut texts, mut files) = (Vec::new(), Vec::new());
    while let Some(field) = multipart.next_field().await.map_err(|error| broken(&error.body_text()))? {
        if texts.len() + files.len() >= MOST_FIELDS {
            return Err(broken(&"too many fields"));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let media_type = field.content_type().unwrap_or("application/octet-stream").to_owned();
        let bytes = field.bytes().await.map_err(|error| broken(&error.body_text()))?;
        match file_name {
            Some(file_name) => files.push(FilePart { field: name, file_name, media_type, bytes }),
            None => {
                let text = String::from_utf8(bytes.into());
                let text = text.map_err(|_| broken(&format!("the field {name:?} is not UTF-8")))?;
                texts.push((name, text));
            }
        }
    }
    Ok((texts, files))
}

fn read_object(bytes: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| malformed_json(&error))?;
    let texts = object.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text)),
        Value::Null => None,
        other => Some((name, other.to_string())),
    });
    Ok(texts.collect())
}
