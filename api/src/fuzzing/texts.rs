//! Short texts that callers choose: locators, credentials, the names in forms.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use millrace_common::store::VersionSelector;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::wait;
use crate::auth;
use crate::body::{DecodedBody, Media};
use crate::memory::MemoryBudget;
use crate::spark::batch::check_cursor;
use crate::spark::forms::{Form, MOST_FIELDS};
use crate::spark::services::locator::{Locator, parse_selector};

/// A service locator. What it names can be written down again, and then names the same.
pub fn locator(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = parse_selector(text);
    match Locator::parse(text) {
        Ok(found) => assert_eq!(Locator::parse(&written(&found)).as_ref(), Ok(&found), "{text:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn written(locator: &Locator) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    match locator {
        Locator::Version(id) => format!("version/{id}"),
        Locator::Service(id, selector) => format!("service/{id}{}", bracketed(*selector)),
        Locator::Either(id, selector) => format!("{id}{}", bracketed(*selector)),
        Locator::Named { folder, service, selector } => {
            format!("/folders/{}/services/{}{}", encoded(folder), encoded(service), bracketed(*selector))
        }
    }
}

fn bracketed(selector: VersionSelector) -> String {
    match selector {
        VersionSelector::Latest => "[]".to_owned(),
        VersionSelector::Major(major) => format!("[{major}]"),
        VersionSelector::Minor(major, minor) => format!("[{major}.{minor}]"),
        VersionSelector::Exact(major, minor, patch) => format!("[{major}.{minor}.{patch}]"),
    }
}

/// The headers that say who calls, one a line, then the path. A credential that is found is no blank and none of the SDKs'
/// placeholders; an access token that is read is the only text of its bytes.
pub fn credential(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [auth::X_SYNTHETIC_KEY, header::AUTHORIZATION, auth::X_TENANT_NAME] {
        let line = lines.next().unwrap_or_default();
        if let (false, Ok(value)) = (line.is_empty(), HeaderValue::from_bytes(line)) {
            headers.insert(name, value);
        }
    }
    let path = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let _ = auth::requested_tenant(&path, &headers);
    match auth::credential(&headers) {
        Ok(credential) => {
            assert!(!credential.is_empty() && credential.trim() == credential);
            auth::check_token_text(&credential);
            auth::check_claims(&credential);
        }
        Err(refused) => assert_eq!(refused.status().as_u16(), 401),
    }
}

/// A cursor into a list of results. No two texts are the same place, and one that was altered is refused.
pub fn cursor(bytes: &[u8]) {
    check_cursor(bytes);
}

/// A form: the content type up to the first line feed, then the body. It has a bounded number of fields, none of them larger
/// than the body; or it is refused with a 4xx.
pub fn form(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (content_type, body) = (String::from_utf8_lossy(&bytes[..at]).into_owned(), &bytes[at + 1..]);
    let read = wait(async {
        let memory = MemoryBudget::new(1024);
        let permit = memory.reserve(1, std::time::Duration::ZERO).await?;
        let body = DecodedBody {
            bytes: Bytes::copy_from_slice(body),
            media: Media::of(Some(&content_type)),
            content_type: Some(content_type),
            permit,
        };
        Some(Form::read(body).await)
    });
    match read.flatten() {
        Some(Ok(form)) => {
            let sizes = form.sizes();
            assert!(sizes.len() <= MOST_FIELDS, "{} fields", sizes.len());
            // A decoded byte may become the three of U+FFFD, a number of JSON is written anew.
            assert!(
                sizes.iter().all(|size| *size <= 32 + 3 * body.len()),
                "{sizes:?} of {} bytes",
                body.len()
            );
        }
        Some(Err(refused)) => assert!(refused.status().is_client_error(), "{refused:?}"),
        None => {}
    }
}
