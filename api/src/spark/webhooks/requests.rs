//! What callers send about webhooks.

use millrace_common::model::webhook::WebhookEvent;
use serde::Deserialize;

use crate::error::ApiError;

/// The longest description, in characters.
const DESCRIPTION: usize = 500;

/// The body of a creation or a change. Unknown keys are refused, because a misspelt one would make another webhook than was meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebhookRequest {
    pub(super) url: Option<String>,
    pub(super) description: Option<String>,
    pub(super) events: Option<Vec<String>>,
    pub(super) active: Option<bool>,
}

impl WebhookRequest {
    /// Checks everything but the URL.
    pub(super) fn checked(self) -> Result<Self, ApiError> {
        let refuse = |message: String, path: String| ApiError::unprocessable("INVALID_VALUE", message, path);
        if let Some(text) = &self.description
            && (text.chars().count() > DESCRIPTION || text.contains('\0'))
        {
            let message = format!("description must have at most {DESCRIPTION} characters, and no U+0000");
            return Err(refuse(message, "description".to_owned()));
        }
        if let Some(events) = &self.events {
            if events.is_empty() {
                return Err(refuse("events must name at least one".to_owned(), "events".to_owned()));
            }
            for (index, name) in events.iter().enumerate() {
                if WebhookEvent::read(name).is_none() {
                    let known = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
                    return Err(refuse(
                        format!("{name:?} is no event; there are {known}"),
                        format!("events[{index}]"),
                    ));
                }
            }
        }
        Ok(self)
    }

    /// The events, each once; those that end a batch when none are named.
    pub(super) fn event_names(&self) -> Vec<String> {
        let wanted: Vec<WebhookEvent> = match &self.events {
            None => WebhookEvent::TERMINAL.to_vec(),
            Some(names) => WebhookEvent::ALL
                .into_iter()
                .filter(|event| names.iter().any(|name| name == event.as_str()))
                .collect(),
        };
        wanted.into_iter().map(|event| event.as_str().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn read(text: &str) -> Result<WebhookRequest, ApiError> {
        serde_json::from_str::<WebhookRequest>(text).unwrap().checked()
    }

    #[test]
    fn events_are_known_ones_and_default_to_the_terminal_ones() {
        assert_eq!(read("{}").unwrap().event_names().len(), 4);
        let twice = read(r#"{"events":["batch.failed","batch.closed_by_timeout","batch.failed"]}"#).unwrap();
        assert_eq!(twice.event_names(), ["batch.failed", "batch.closed_by_timeout"]);
        for (text, path) in [
            (r#"{"events":[]}"#, "events"),
            (r#"{"events":["batch.failed","failed"]}"#, "events[1]"),
            (r#"{"description":"a\u0000"}"#, "description"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.status().as_u16(), error.source_path()), (422, Some(path)), "{text}");
        }
        assert!(serde_json::from_str::<WebhookRequest>(r#"{"event":["batch.failed"]}"#).is_err());
    }
}
