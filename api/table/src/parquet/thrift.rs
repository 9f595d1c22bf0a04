//! As much of Thrift's compact protocol as is needed to look at a Parquet file before it is decoded: what its pages will take
//! in memory stands there.

/// How deep structures may be nested.
const DEPTH: u8 = 16;

/// The most structures of one list: room is made for as many as a list says that it has.
const STRUCTURES: u64 = 65_536;

const BYTE: u8 = 3;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Bytes that are read from their start. Every method gives `None` when they end too early, or are nonsense.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
}

/// A field of a structure, whose value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) id: i64,
    kind: u8,
}

impl<'a> Compact<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes that were not read.
    pub(super) const fn left(&self) -> usize {
        self.bytes.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A signed integer of any width but 8 bits.
    pub(super) fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// The next field of a structure; `Some(None)` at its end. `before` is the number of the field before, 0 at the start.
    #[expect(clippy::option_option, reason = "the end of a structure is not the end of the bytes")]
    pub(super) fn field(&mut self, before: i64) -> Option<Option<Field>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let id = match head >> 4 {
            0 => self.integer()?,
            step => before.checked_add(i64::from(step))?,
        };
        Some(Some(Field { id, kind: head & 0x0f }))
    }

    /// The number of elements of a list, and what [`Compact::skip`] is to be told of each.
    pub(super) fn list(&mut self) -> Option<(u64, Field)> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        Some((size, Field { id: 0, kind: head & 0x0f }))
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, field: Field) -> Option<()> {
        self.skip_value(field.kind, false, DEPTH)
    }

    fn skip_value(&mut self, kind: u8, is_element: bool, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Of a field, the value of a boolean is in its head.
            1 | 2 => {
                if is_element {
                    self.pass(1)
                } else {
                    Some(())
                }
            }
            BYTE => self.pass(1),
            4..=6 => self.varint().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = self.varint()?;
                self.pass(length)
            }
            LIST | SET => {
                let (size, element) = self.list()?;
                if element.kind == STRUCT && size > STRUCTURES {
                    return None;
                }
                for _ in 0..size {
                    self.skip_value(element.kind, true, depth)?;
                }
                Some(())
            }
            MAP => {
                let size = self.varint()?;
                if size == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                for _ in 0..size {
                    self.skip_value(kinds >> 4, true, depth)?;
                    self.skip_value(kinds & 0x0f, true, depth)?;
                }
                Some(())
            }
            STRUCT => {
                let mut id = 0;
                while let Some(field) = self.field(id)? {
                    id = field.id;
                    self.skip_value(field.kind, false, depth)?;
                }
                Some(())
            }
            UUID => self.pass(16),
            _ => None,
        }
    }

    /// Whether the structure has `false` in this field.
    pub(super) fn says_false(mut self, wanted: i64) -> Option<bool> {
        let (mut id, mut found) = (0, false);
        while let Some(field) = self.field(id)? {
            id = field.id;
            found |= id == wanted && field.kind == 2;
            self.skip(field)?;
        }
        Some(found)
    }

    /// Reads the integers of a structure's fields `1..=N`, and passes over all others.
    pub(super) fn integers<const N: usize>(&mut self) -> Option<[Option<i64>; N]> {
        let mut found = [None; N];
        let mut id = 0;
        while let Some(field) = self.field(id)? {
            id = field.id;
            let wanted = usize::try_from(id - 1).ok().and_then(|at| found.get_mut(at));
            match (wanted, field.kind) {
                (Some(place), 4..=6) => *place = Some(self.integer()?),
                _ => self.skip(field)?,
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn integers_are_found_among_other_fields() {
        // 1: i32 -1; 2: true; 3: i64 300; 4: binary "ab"; 5: list of two structures; 6: map of a byte to an i32; 7: double.
        let mut bytes = vec![0x15, 0x01, 0x11, 0x16, 0xd8, 0x04, 0x18, 0x02, b'a', b'b', 0x19, 0x2c, 0x15];
        bytes.extend([
            0x02, 0x00, 0x00, 0x1b, 0x01, 0x35, 0x07, 0x02, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0xff,
        ]);
        let mut compact = Compact::new(&bytes);
        assert_eq!(compact.integers::<3>().unwrap(), [Some(-1), None, Some(300)]);
        assert_eq!(compact.left(), 1);
        for end in 0..bytes.len() - 1 {
            assert_eq!(Compact::new(&bytes[..end]).integers::<3>(), None, "{end}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let lists = vec![0x19; 100_000];
        assert_eq!(Compact::new(&lists).skip(Field { id: 1, kind: LIST }), None);
    }
}
