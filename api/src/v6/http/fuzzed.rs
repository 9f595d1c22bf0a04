//! What is promised of any query (`crate::fuzzing`).

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use form_urlencoded::Serializer;
use millrace_common::store::recipes::DatasetSort;

use super::query::Query;
use super::{V6Page, datetime, duration, id, range};

const PATH: &str = "/v6/datasets/";
/// Lists as long as these are asked for a page.
const COUNTS: [i64; 7] = [0, 1, 99, 100, 101, 12_345, i64::MAX];
/// Durations longer than this in microseconds are beyond what a double counts exactly.
const EXACT_MICROS: i64 = 1 << 50;

/// Panics when a query that was written anew means something else, a page is none of its list, its neighbours are not next to
/// it or lose a parameter, a time is not the time that it is written as, or a refusal is no 4xx.
pub(crate) fn check_query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let query = Query::new(&HeaderMap::new(), PATH, text);
    assert_eq!(read(&written(&query.pairs)), query, "written anew");
    let mut refusals: Vec<_> = [query.integers("id").err(), query.flag("is_active").err()].into();
    refusals.push(query.order::<DatasetSort>().err());
    refusals.push(query.one("id").and_then(|text| id(text).err()));
    refusals.push(check_pages(&query).err());
    refusals.push(check_times(&query).err());
    for refused in refusals.into_iter().flatten() {
        assert!(refused.status().is_client_error() && !refused.message().is_empty(), "{refused:?}");
    }
    if let Ok(Some(numbers)) = query.integers("id") {
        check_duration(numbers[0]);
    }
}

fn read(text: &str) -> Query {
    Query::new(&HeaderMap::new(), PATH, text)
}

fn written(pairs: &[(String, String)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn check_pages(query: &Query) -> Result<(), crate::error::ApiError> {
    let page = query.page()?;
    for count in COUNTS {
        let Ok(window) = page.window(count) else { continue };
        assert!((1..=1_000).contains(&window.limit), "{window:?}");
        assert!((0..count.max(1)).contains(&window.offset), "{window:?} of {count}");
        let V6Page { next, previous, .. } = page.envelope(count, Vec::<()>::new())?.0;
        for (address, step) in [(next, window.limit), (previous, -window.limit)] {
            let neighbour = window.offset.saturating_add(step);
            let Some(address) = address else {
                assert!(!(0..count).contains(&neighbour), "{neighbour} from {window:?} of {count}");
                continue;
            };
            let there = read(address.split_once('?').map_or("", |(_, query)| query));
            assert_eq!(there.page()?.window(count)?.offset, neighbour, "{address}");
            assert_eq!(others(&there), others(query), "{address}");
        }
    }
    Ok(())
}

/// The parameters besides the page, by name; values of one name in their order.
fn others(query: &Query) -> Vec<(String, String)> {
    let mut others = query.pairs.clone();
    others.retain(|(name, _)| name != "page");
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    others
}

fn check_times(query: &Query) -> Result<(), crate::error::ApiError> {
    let now = DateTime::UNIX_EPOCH;
    let times = range(query.one("started"), query.one("ended"), now)?;
    if let (Some(started), Some(ended)) = (times.started, times.ended) {
        assert!(started < ended);
    }
    for time in [times.started, times.ended].into_iter().flatten() {
        let text = datetime(time);
        let again = range(Some(&text), None, now)?.started.map(datetime);
        assert_eq!(again.as_ref(), Some(&text), "{time:?}");
    }
    Ok(())
}

fn check_duration(micros: i64) {
    let micros = micros.clamp(i64::MIN, EXACT_MICROS);
    let now: DateTime<Utc> = DateTime::UNIX_EPOCH;
    let back = range(Some(&duration(micros)), None, now).ok().and_then(|range| range.started);
    assert_eq!(back.map(|then| (now - then).num_microseconds()), Some(Some(micros.max(0))), "{micros}");
}
