//! The texts that name a service version (contract 5.4).

use millrace_common::store::VersionSelector;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

/// What a locator names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// `version/{uuid}`.
    Version(Uuid),
    /// `service/{uuid}`, with or without a version.
    Service(Uuid, VersionSelector),
    /// A bare UUID: a service, or else a version; with or without a version.
    Either(Uuid, VersionSelector),
    /// `folder/service`, `folder/service[1.4.3]`, `/folders/folder/services/service[…]`.
    Named {
        /// The folder.
        folder: String,
        /// The service.
        service: String,
        /// The version.
        selector: VersionSelector,
    },
}

/// Why a text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocatorError {
    /// It has none of the known forms.
    #[error(
        "{0:?} names no service: write folder/service, folder/service[version], service/<uuid>, version/<uuid> or a uuid"
    )]
    Form(String),
    /// What stands in brackets is no version.
    #[error("[{0}] is no version: write [1.4.3], [1.4], [1] or []")]
    Version(String),
}

impl Locator {
    /// Reads a locator.
    pub fn parse(text: &str) -> Result<Self, LocatorError> {
        let form = || LocatorError::Form(text.to_owned());
        let text = text.trim();
        // A locator that was encoded as one piece has no slash of its own.
        let whole = if text.contains('/') { text.to_owned() } else { decode(text).ok_or_else(form)? };
        let segments: Vec<String> = whole
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decode)
            .collect::<Option<_>>()
            .ok_or_else(form)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (last, rest) = segments.split_last().ok_or_else(form)?;
        let (last, selector) = split_selector(last)?;
        match rest {
            [] => Ok(Self::Either(uuid(last).ok_or_else(form)?, selector)),
            [kind] if kind.eq_ignore_ascii_case("version") && uuid(last).is_some() => {
                Ok(Self::Version(uuid(last).ok_or_else(form)?))
            }
            [kind] if kind.eq_ignore_ascii_case("service") && uuid(last).is_some() => {
                Ok(Self::Service(uuid(last).ok_or_else(form)?, selector))
            }
            [folder] if !last.is_empty() => Ok(Self::named(folder, last, selector)),
            [folders, folder, services]
                if folders.eq_ignore_ascii_case("folders")
                    && services.eq_ignore_ascii_case("services")
                    && !last.is_empty() =>
            {
                Ok(Self::named(folder, last, selector))
            }
            _ => Err(form()),
        }
    }

    /// A service by its two names.
    pub fn named(folder: &str, service: &str, selector: VersionSelector) -> Self {
        Self::Named { folder: folder.to_owned(), service: service.to_owned(), selector }
    }
}

/// Reads the version of a locator, as in `1.4.3`, `1.4`, `1` or nothing at all.
pub fn parse_selector(text: &str) -> Result<VersionSelector, LocatorError> {
    let bad = || LocatorError::Version(text.to_owned());
    let text = text.trim();
    if text.is_empty() {
        return Ok(VersionSelector::Latest);
    }
    let number = |part: &str| -> Result<i32, LocatorError> {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        part.parse().map_err(|_| bad())
    };
    let parts: Vec<i32> = text.split('.').map(number).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [major] => Ok(VersionSelector::Major(*major)),
        [major, minor] => Ok(VersionSelector::Minor(*major, *minor)),
        [major, minor, patch] => Ok(VersionSelector::Exact(*major, *minor, *patch)),
        _ => Err(bad()),
    }
}

fn split_selector(segment: &str) -> Result<(&str, VersionSelector), LocatorError> {
    let inner = segment.strip_suffix(']').and_then(|open| open.rsplit_once('['));
    match inner {
        Some((name, version)) => Ok((name.trim_end(), parse_selector(version)?)),
        None => Ok((segment.trim_end(), VersionSelector::Latest)),
    }
}

fn decode(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// A UUID in its hyphenated form only: 32 digits alone may be a name.
fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use millrace_common::store::VersionSelector::{Exact, Latest, Major, Minor};

    use super::*;

    const ID: &str = "0b6d5a3e-8c1f-4d2a-9e7b-1234567890ab";

    fn named(text: &str) -> (String, String, VersionSelector) {
        match Locator::parse(text) {
            Ok(Locator::Named { folder, service, selector }) => (folder, service, selector),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_of_names_is_read() {
        for (text, selector) in [
            ("sales/Example", Latest),
            ("/sales/Example/", Latest),
            ("sales/Example[]", Latest),
            ("sales/Example[ ]", Latest),
            ("sales/Example[1]", Major(1)),
            ("sales/Example[1.4]", Minor(1, 4)),
            ("sales/Example[1.4.3]", Exact(1, 4, 3)),
            ("sales/Example [1.4.3]", Exact(1, 4, 3)),
            ("sales/Example%20", Latest),
            ("sales%2FExample%0A%2F", Latest),
            ("/folders/sales/services/Example", Latest),
            ("folders/sales/services/Example[1.4.3]", Exact(1, 4, 3)),
            ("Folders/sales/Services/Example[2]", Major(2)),
            ("sales%2FExample%5B1.4%5D", Minor(1, 4)),
            ("sales/Example%5B0.1.0%5D", Exact(0, 1, 0)),
        ] {
            assert_eq!(named(text), ("sales".to_owned(), "Example".to_owned(), selector), "{text}");
        }
        assert_eq!(named("my%20folder/a%2Fb").1, "a/b");
        assert_eq!(named("my%20folder/x").0, "my folder");
        // Words of the long forms are names where they stand for nothing else.
        assert_eq!(named("service/tax"), ("service".to_owned(), "tax".to_owned(), Latest));
        assert_eq!(named("folders/x"), ("folders".to_owned(), "x".to_owned(), Latest));
    }

    #[test]
    fn ids_are_read() {
        let id = Uuid::parse_str(ID).unwrap();
        assert_eq!(Locator::parse(ID), Ok(Locator::Either(id, Latest)));
        assert_eq!(Locator::parse(&ID.to_uppercase()), Ok(Locator::Either(id, Latest)));
        assert_eq!(Locator::parse(&format!("{ID}[1.4]")), Ok(Locator::Either(id, Minor(1, 4))));
        assert_eq!(Locator::parse(&format!("service/{ID}")), Ok(Locator::Service(id, Latest)));
        assert_eq!(Locator::parse(&format!("/Service/{ID}[2]")), Ok(Locator::Service(id, Major(2))));
        assert_eq!(Locator::parse(&format!("version/{ID}")), Ok(Locator::Version(id)));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "  ", "/", "nonsense", "a/b/c", "a/b/c/d", "folders/a/b/c", "a/[1]", "%ff/b"] {
            assert!(matches!(Locator::parse(text), Err(LocatorError::Form(_))), "{text}");
        }
        for text in ["a/b[x]", "a/b[1.2.3.4]", "a/b[1.]", "a/b[-1]", "a/b[99999999999]", "a/b[latest]"] {
            assert!(matches!(Locator::parse(text), Err(LocatorError::Version(_))), "{text}");
        }
    }
}
