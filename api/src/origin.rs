//! The server as its callers see it.

use axum::http::{HeaderMap, header};

use crate::middleware;

/// Scheme and host of the request, or the first entry of what proxies say they were, so that URLs in answers are reachable.
pub fn base_url(headers: &HeaderMap) -> String {
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value.split(',').next().map(str::trim).filter(|text| !text.is_empty())
    };
    let scheme = if first("x-forwarded-proto") == Some("https") || middleware::current().encrypted {
        "https"
    } else {
        "http"
    };
    let host = first("x-forwarded-host").or_else(|| first(header::HOST.as_str())).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn urls_are_those_that_the_caller_used() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "127.0.0.1:8123".parse().unwrap());
        assert_eq!(base_url(&headers), "http://127.0.0.1:8123");
        headers.insert("x-forwarded-proto", "https, http".parse().unwrap());
        headers.insert("x-forwarded-host", "spark.example.com, inner".parse().unwrap());
        assert_eq!(base_url(&headers), "https://spark.example.com");
    }
}
