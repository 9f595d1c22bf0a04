//! Bytes of stored states: numbers of variable length, checked as they are read.

use thiserror::Error;

/// The bytes are no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bytes are no totals")]
pub(super) struct Broken;

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// What is left to read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Broken)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return Err(Broken);
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    /// A number of things, at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Broken> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= most).ok_or(Broken)
    }

    pub(super) fn double(&mut self) -> Result<f64, Broken> {
        Some(f64::from_le_bytes(self.take()?)).filter(|x| x.is_finite()).ok_or(Broken)
    }
}
