//! Pages of lists (scale-v6 1.7).

use axum::Json;
use form_urlencoded::Serializer;
use serde::Serialize;
use utoipa::ToSchema;

use super::Query;
use crate::error::ApiError;

pub use millrace_common::store::recipes::Window;

/// Items of a page when the query does not say.
const DEFAULT_SIZE: u64 = 100;
/// The most items of a page; larger wishes are clamped.
const MOST: u64 = 1_000;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct V6Page<T> {
    /// How many there are on all pages.
    pub count: i64,
    /// The address of the next page.
    pub next: Option<String>,
    /// The address of the page before.
    pub previous: Option<String>,
    /// The items of this page.
    pub results: Vec<T>,
}

/// A page that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page<'q> {
    query: &'q Query,
    wanted: Wanted,
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Number(u64),
    Last,
}

impl<'q> Page<'q> {
    pub(super) fn of(query: &'q Query) -> Result<Self, ApiError> {
        let wanted = match query.one("page") {
            None => Wanted::Number(1),
            Some("last") => Wanted::Last,
            Some(text) => Wanted::Number(text.parse().map_err(|_| ApiError::invalid_page())?),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let size = match query.one("page_size") {
            Some(text) if digits(text) => text.parse().unwrap_or(MOST).min(MOST),
            _ => DEFAULT_SIZE,
        };
        Ok(Self { query, wanted, size: if size == 0 { DEFAULT_SIZE } else { size } })
    }

    /// Which of `count` items the page has.
    ///
    /// # Errors
    ///
    /// 404 when there is no such page. The first one is always there.
    pub fn window(&self, count: i64) -> Result<Window, ApiError> {
        let number = self.number(count)?;
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Window { offset: signed((number - 1) * self.size), limit: signed(self.size) })
    }

    fn number(&self, count: i64) -> Result<u64, ApiError> {
        let pages = self.pages(count);
        match self.wanted {
            Wanted::Last => Ok(pages),
            Wanted::Number(number) if (1..=pages).contains(&number) => Ok(number),
            Wanted::Number(_) => Err(ApiError::invalid_page()),
        }
    }

    fn pages(&self, count: i64) -> u64 {
        u64::try_from(count).unwrap_or(0).div_ceil(self.size).max(1)
    }

    /// The answer with these items, which are those of [`Page::window`] with the same `count`.
    ///
    /// # Errors
    ///
    /// As [`Page::window`].
    pub fn envelope<T>(&self, count: i64, results: Vec<T>) -> Result<Json<V6Page<T>>, ApiError> {
        let number = self.number(count)?;
        let next = (number < self.pages(count)).then(|| self.url(number + 1));
        let previous = (number > 1).then(|| self.url(number - 1));
        Ok(Json(V6Page { count, next, previous, results }))
    }

    /// The same request for another page.
    fn url(&self, number: u64) -> String {
        let mut pairs: Vec<(&str, String)> = self
            .query
            .pairs
            .iter()
            .filter(|(name, _)| name != "page")
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        if number > 1 {
            pairs.push(("page", number.to_string()));
        }
        // Values of one parameter keep their order.
        pairs.sort_by_key(|(name, _)| *name);
        if pairs.is_empty() {
            return self.query.address.clone();
        }
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("{}?{query}", self.query.address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use axum::http::HeaderMap;

    use super::*;

    fn query(text: &str) -> Query {
        let mut headers = HeaderMap::new();
        headers.insert("host", "scale.example".parse().unwrap());
        Query::new(&headers, "/v6/batches/", text)
    }

    #[test]
    fn sizes_fall_back_and_are_clamped() {
        for (text, size) in [
            ("", 100),
            ("page_size=7", 7),
            ("page_size=0", 100),
            ("page_size=-1", 100),
            ("page_size=x", 100),
            ("page_size=1001", 1_000),
            ("page_size=99999999999999999999", 1_000),
        ] {
            assert_eq!(query(text).page().unwrap().window(5_000).unwrap().limit, size, "{text}");
        }
    }

    #[test]
    fn pages_that_are_not_there_are_404() {
        for (text, count, offset) in [
            ("page=1", 0, Some(0)),
            ("page=last", 0, Some(0)),
            ("page=2", 0, None),
            ("page=2", 100, None),
            ("page=2", 101, Some(100)),
            ("page=last", 101, Some(100)),
            ("page=0", 101, None),
            ("page=99999999999999999999", 101, None),
        ] {
            let query = query(text);
            let window = query.page().and_then(|page| page.window(count)).ok();
            assert_eq!(window.map(|window| window.offset), offset, "{text} of {count}");
        }
        for text in ["page=-1", "page=x", "page="] {
            let error = query(text).page().unwrap_err();
            assert_eq!((error.status().as_u16(), error.message()), (404, "Invalid page."), "{text}");
        }
    }

    #[test]
    fn neighbours_keep_every_other_parameter() {
        let query = query("title=a%20b&page=2&page_size=10&order=-title&order=id");
        let Json(body) = query.page().unwrap().envelope(25, Vec::<i64>::new()).unwrap();
        let rest = "order=-title&order=id&page_size=10&title=a+b";
        let previous = format!("http://scale.example/v6/batches/?{rest}");
        assert_eq!(body.previous, Some(previous));
        let next = "http://scale.example/v6/batches/?order=-title&order=id&page=3&page_size=10&title=a+b";
        assert_eq!(body.next.as_deref(), Some(next));
        assert_eq!((body.count, body.results.len()), (25, 0));
        let plain = self::query("page=last&page_size=20");
        let Json(body) = plain.page().unwrap().envelope(25, Vec::<i64>::new()).unwrap();
        assert_eq!(body.next, None);
        assert_eq!(body.previous.as_deref(), Some("http://scale.example/v6/batches/?page_size=20"));
    }
}
