//! Cursors: opaque places in the lists of one batch.
//!
//! A cursor is a few numbers and a check over them, the list and the batch, so that one that was cut, altered, or taken from
//! another list or batch is refused. It is no secret: whoever made one up could only skip results of a batch of their own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::error::ApiError;

/// Bytes of the check.
const CHECK: usize = 8;

/// The list that a cursor is a place in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Results that were not acknowledged.
    Results,
    /// Pulled results that are handed out again.
    Redelivery,
    /// Failed chunks and records.
    Failures,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Redelivery => "redelivery",
            Self::Failures => "failures",
        }
    }
}

/// A place, given by `N` numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor<const N: usize> {
    purpose: Purpose,
    places: [i64; N],
}

impl<const N: usize> Cursor<N> {
    pub(super) const fn new(purpose: Purpose, places: [i64; N]) -> Self {
        Self { purpose, places }
    }

    pub(super) const fn places(self) -> [i64; N] {
        self.places
    }

    /// The text of this place in a list of the batch.
    pub(super) fn write(self, batch_id: Uuid) -> String {
        let mut bytes: Vec<u8> = self.places.iter().flat_map(|place| place.to_be_bytes()).collect();
        let check = self.check(batch_id);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Cursor::write`] wrote for the same list of the same batch; 400 for anything else, at `after`.
    pub(super) fn read(purpose: Purpose, batch_id: Uuid, text: &str) -> Result<Self, ApiError> {
        Self::parse(purpose, batch_id, text).ok_or_else(|| {
            let message = "this is no cursor of this list of this batch; begin without one";
            ApiError::bad_request("INVALID_CURSOR", message, "after".to_owned())
        })
    }

    /// [`Cursor::read`], or the start of the list.
    pub(super) fn read_or_start(
        purpose: Purpose,
        batch_id: Uuid,
        text: Option<&str>,
    ) -> Result<Self, ApiError> {
        text.map_or(Ok(Self { purpose, places: [0; N] }), |text| Self::read(purpose, batch_id, text))
    }

    fn parse(purpose: Purpose, batch_id: Uuid, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (words, check) = bytes.split_at_checked(N * 8)?;
        let mut places = [0; N];
        for (place, word) in places.iter_mut().zip(words.as_chunks::<8>().0) {
            *place = i64::from_be_bytes(*word);
        }
        let cursor = Self { purpose, places };
        (cursor.check(batch_id) == check).then_some(cursor)
    }

    fn check(self, batch_id: Uuid) -> [u8; CHECK] {
        let mut hasher = blake3::Hasher::new_derive_key("millrace cursor 1");
        hasher.update(self.purpose.as_str().as_bytes());
        hasher.update(batch_id.as_bytes());
        for place in self.places {
            hasher.update(&place.to_be_bytes());
        }
        let mut check = [0; CHECK];
        hasher.finalize_xof().fill(&mut check);
        check
    }
}

/// Panics when two texts are the same cursor, or one that was altered is read.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_cursor(bytes: &[u8]) {
    const BATCH: Uuid = Uuid::from_u128(7);
    if let Ok(text) = std::str::from_utf8(bytes) {
        for purpose in [Purpose::Results, Purpose::Redelivery, Purpose::Failures] {
            let one = Cursor::<1>::parse(purpose, BATCH, text).map(|cursor| cursor.write(BATCH));
            let two = Cursor::<2>::parse(purpose, BATCH, text).map(|cursor| cursor.write(BATCH));
            assert!(one.or(two).is_none_or(|written| written == text));
        }
    }
    let Some((place, [at, byte, ..])) = bytes.split_first_chunk() else { return };
    let cursor = Cursor::new(Purpose::Results, [i64::from_be_bytes(*place)]);
    let text = cursor.write(BATCH);
    assert_eq!(Cursor::parse(Purpose::Results, BATCH, &text), Some(cursor));
    let mut altered = text.clone().into_bytes();
    let at = usize::from(*at) % altered.len();
    altered[at] = *byte;
    if let Ok(altered) = String::from_utf8(altered) {
        assert_eq!(Cursor::<1>::parse(Purpose::Results, BATCH, &altered).is_some(), altered == text);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const BATCH: Uuid = Uuid::from_u128(7);

    #[test]
    fn a_cursor_is_read_for_its_own_list_and_batch_only() {
        let cursor = Cursor::new(Purpose::Failures, [i64::MAX, 17]);
        let text = cursor.write(BATCH);
        assert_eq!(Cursor::read(Purpose::Failures, BATCH, &text).unwrap(), cursor);
        assert!(Cursor::<2>::read(Purpose::Results, BATCH, &text).is_err());
        assert!(Cursor::<1>::read(Purpose::Failures, BATCH, &text).is_err());
        assert!(Cursor::<2>::read(Purpose::Failures, Uuid::from_u128(8), &text).is_err());
        assert_eq!(Cursor::read_or_start(Purpose::Failures, BATCH, None).unwrap().places(), [0, 0]);
    }

    #[test]
    fn every_alteration_is_refused() {
        let text = Cursor::new(Purpose::Results, [12_345]).write(BATCH);
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(Cursor::<1>::read(Purpose::Results, BATCH, &altered).is_err(), "{altered}");
            assert!(Cursor::<1>::read(Purpose::Results, BATCH, &text[..at]).is_err());
        }
        let error = Cursor::<1>::read(Purpose::Results, BATCH, "ä").unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (400, "INVALID_CURSOR"));
    }
}
