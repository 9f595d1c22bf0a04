//! Parameters of queries (scale-v6 1.4, 1.5, 1.8), and numbers in paths (1.1).

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use millrace_common::store::recipes::{Sort, SortField};

use super::time::{Range, range};
use super::{INVALID, Page};
use crate::error::ApiError;
use crate::middleware;
use crate::origin::base_url;

/// The parameters of a query, and where it was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub(super) pairs: Vec<(String, String)>,
    /// Scheme and host.
    origin: String,
    /// Scheme, host and path.
    pub(super) address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::new(&parts.headers, parts.uri.path(), parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(super) fn new(headers: &HeaderMap, path: &str, query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let origin = base_url(headers);
        Self { pairs, address: format!("{origin}{path}"), origin }
    }

    /// Scheme and host, as the caller sees them.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Every value of a parameter.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.pairs.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a parameter.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a repeatable parameter, or nothing to filter by.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts: Vec<String> = self.all(name).map(str::to_owned).collect();
        (!texts.is_empty()).then_some(texts)
    }

    /// An integer.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.one(name).map(|text| integer(name, text)).transpose()
    }

    /// The integers of a repeatable parameter, or nothing to filter by.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, ApiError> {
        let integers: Vec<i64> =
            self.all(name).map(|text| integer(name, text)).collect::<Result<_, ApiError>>()?;
        Ok((!integers.is_empty()).then_some(integers))
    }

    /// `true` or `false`, or one of their texts.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let read = |text| {
            read_flag(text)
                .ok_or_else(|| ApiError::bad_request(INVALID, format!("{name} must be true or false"), None))
        };
        self.one(name).map(read).transpose()
    }

    /// `started` and `ended`.
    pub fn range(&self) -> Result<Range, ApiError> {
        range(self.one("started"), self.one("ended"), middleware::current().received_at)
    }

    /// `order`: keys with the first one leading. Empty when there are none.
    ///
    /// # Errors
    ///
    /// 400 for what cannot be sorted by.
    pub fn order<F: SortField>(&self) -> Result<Vec<Sort<F>>, ApiError> {
        self.all("order")
            .map(|text| {
                let (name, descending) = match text.strip_prefix('-') {
                    Some(name) => (name, true),
                    None => (text, false),
                };
                match F::ALL.iter().find(|field| field.name() == name) {
                    Some(field) => Ok(Sort { field: *field, descending }),
                    None => {
                        let known: Vec<&str> = F::ALL.iter().map(|field| field.name()).collect();
                        let message =
                            format!("{name:?} is nothing to order by; there are {}", known.join(", "));
                        Err(ApiError::bad_request(INVALID, message, None))
                    }
                }
            })
            .collect()
    }

    /// `page` and `page_size`.
    ///
    /// # Errors
    ///
    /// 404 for a page that is no number.
    pub fn page(&self) -> Result<Page<'_>, ApiError> {
        Page::of(self)
    }
}

fn integer(name: &str, text: &str) -> Result<i64, ApiError> {
    read_integer(text)
        .ok_or_else(|| ApiError::bad_request(INVALID, format!("{name} must be an integer"), None))
}

/// Decimal digits, with a sign or without.
pub(super) fn read_integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The texts of booleans.
pub(in crate::v6) fn read_flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// The id in a path: digits. Anything else, and what no id can be, is 404.
pub fn id(text: &str) -> Result<i64, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| ApiError::not_found("NOT_FOUND", "Not found."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn query(text: &str) -> Query {
        Query::new(&HeaderMap::new(), "/v6/batches/", text)
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Field {
        Id,
        Title,
    }

    impl SortField for Field {
        const ALL: &'static [Self] = &[Self::Id, Self::Title];

        fn name(self) -> &'static str {
            match self {
                Self::Id => "id",
                Self::Title => "title",
            }
        }

        fn sql(self) -> &'static str {
            self.name()
        }
    }

    #[test]
    fn integers_are_repeated_and_never_split() {
        assert_eq!(query("a=1&b=2&a=-3").integers("a").unwrap(), Some(vec![1, -3]));
        assert_eq!(query("b=2").integers("a").unwrap(), None);
        for text in ["a=1,2", "a=1&a=", "a=x", "a=1.0", "a=99999999999999999999"] {
            assert_eq!(query(text).integers("a").unwrap_err().status(), 400, "{text}");
        }
    }

    #[test]
    fn flags_have_texts() {
        for (text, flag) in [("a=true", true), ("a=%20T%20", true), ("a=0", false), ("a=1&a=F", false)] {
            assert_eq!(query(text).flag("a").unwrap(), Some(flag), "{text}");
        }
        for text in ["a=", "a=yes", "a=2"] {
            assert_eq!(query(text).flag("a").unwrap_err().status(), 400, "{text}");
        }
    }

    #[test]
    fn orders_are_lists_of_known_fields() {
        let order = query("order=-title&order=id").order::<Field>().unwrap();
        let wanted =
            [Sort { field: Field::Title, descending: true }, Sort { field: Field::Id, descending: false }];
        assert_eq!(order, wanted);
        assert_eq!(query("").order::<Field>().unwrap(), []);
        for text in ["order=", "order=--id", "order=id;drop"] {
            assert_eq!(query(text).order::<Field>().unwrap_err().status(), 400, "{text}");
        }
    }

    #[test]
    fn ids_are_digits() {
        assert_eq!(id("17").unwrap(), 17);
        assert_eq!(id("0017").unwrap(), 17);
        for text in ["", "x", "-1", "+1", "1.0", "9223372036854775808", "１"] {
            assert_eq!(id(text).unwrap_err().status(), 404, "{text}");
        }
    }
}
