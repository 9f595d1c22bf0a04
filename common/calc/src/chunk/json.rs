//! A validating cursor over JSON bytes that builds nothing.
//!
//! The chunk scan and the record reader walk the same grammar (RFC 8259): the scan validates every byte once, the reader then
//! only picks values out. Both work on bytes that [`std::str::from_utf8`] has accepted.

use std::borrow::Cow;

/// How deep arrays and objects may nest in a chunk's `data`.
pub const MAX_DEPTH: usize = 64;

/// Where and why bytes are no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// What is wrong, for the caller.
    pub what: &'static str,
    /// Offset in the bytes.
    pub at: usize,
}

/// A position in JSON bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pos: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    /// The current offset.
    pub const fn position(&self) -> usize {
        self.pos
    }

    /// The bytes from `start` to the current offset.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.pos).unwrap_or_default()
    }

    /// The byte at the cursor, 0 at the end (no valid JSON token starts with 0).
    #[inline]
    pub fn byte(&self) -> u8 {
        self.bytes.get(self.pos).copied().unwrap_or(0)
    }

    /// Skips whitespace, then answers the byte at the cursor.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        let mut byte = self.byte();
        while matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            self.pos += 1;
            byte = self.byte();
        }
        byte
    }

    /// Moves over the byte at the cursor, which the caller has looked at.
    #[inline]
    pub fn advance(&mut self) {
        self.pos += 1;
    }

    /// The error `what` at the cursor.
    #[cold]
    pub const fn error(&self, what: &'static str) -> Syntax {
        Syntax { what, at: self.pos }
    }

    /// Moves over `byte` (after whitespace) or fails with `what`.
    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Syntax> {
        if self.peek() == byte {
            self.pos += 1;
            Ok(())
        } else {
            Err(self.error(what))
        }
    }

    /// After an element: moves over `,` and answers true, or over `close` and answers false.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool, Syntax> {
        let byte = self.peek();
        if byte == b',' {
            self.pos += 1;
            Ok(true)
        } else if byte == close {
            self.pos += 1;
            Ok(false)
        } else {
            Err(self.error(if close == b']' { "expected `,` or `]`" } else { "expected `,` or `}`" }))
        }
    }

    /// After an opening bracket: moves over `close` and answers true when the array or object is empty.
    #[inline]
    pub fn is_empty(&mut self, close: u8) -> bool {
        let empty = self.peek() == close;
        if empty {
            self.pos += 1;
        }
        empty
    }

    /// Whether only whitespace is left.
    pub fn at_end(&mut self) -> bool {
        self.peek();
        self.pos >= self.bytes.len()
    }

    /// Moves over one value of any kind. `depth` is how many levels may still be opened.
    pub fn skip(&mut self, depth: usize) -> Result<(), Syntax> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b'[' => {
                let depth = depth.checked_sub(1).ok_or_else(|| self.error("nested too deeply"))?;
                self.pos += 1;
                if self.is_empty(b']') {
                    return Ok(());
                }
                loop {
                    // Numbers are most of what arrives; everything else takes the general way.
                    match self.peek() {
                        b'0'..=b'9' => self.number()?,
                        _ => self.skip(depth)?,
                    }
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            b'{' => {
                let depth = depth.checked_sub(1).ok_or_else(|| self.error("nested too deeply"))?;
                self.pos += 1;
                if self.is_empty(b'}') {
                    return Ok(());
                }
                loop {
                    self.key()?;
                    self.skip(depth)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            0 if self.pos >= self.bytes.len() => Err(self.error("unexpected end")),
            _ => Err(self.error("expected a value")),
        }
    }

    /// Moves over an object key and its colon; answers the key without quotes.
    #[inline]
    pub fn key(&mut self) -> Result<Raw<'a>, Syntax> {
        if self.peek() != b'"' {
            return Err(self.error("expected a key in quotes"));
        }
        let key = self.string()?;
        self.expect(b':', "expected `:`")?;
        Ok(key)
    }

    /// Moves over `word`, one of `true`, `false`, `null`.
    #[inline]
    pub fn literal(&mut self, word: &'static [u8]) -> Result<(), Syntax> {
        if self.bytes.get(self.pos..self.pos + word.len()) == Some(word) {
            self.pos += word.len();
            Ok(())
        } else {
            Err(self.error("expected a value"))
        }
    }

    /// Moves over the string whose opening quote is at the cursor.
    #[inline]
    pub fn string(&mut self) -> Result<Raw<'a>, Syntax> {
        self.pos += 1;
        let start = self.pos;
        let mut escaped = false;
        loop {
            self.plain();
            match self.byte() {
                b'"' => {
                    let text = self.since(start);
                    self.pos += 1;
                    return Ok(Raw { text, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ if self.pos >= self.bytes.len() => return Err(self.error("unexpected end inside a string")),
                _ => return Err(self.error("control character inside a string")),
            }
        }
    }

    /// Moves over bytes that stand for themselves inside a string, eight at a time.
    #[inline]
    fn plain(&mut self) {
        while let Some(word) = self.word() {
            let special = specials(word);
            if special != 0 {
                self.pos += (special.trailing_zeros() / 8) as usize;
                return;
            }
            self.pos += 8;
        }
        while !matches!(self.byte(), b'"' | b'\\' | 0..=0x1F) {
            self.pos += 1;
        }
    }

    /// Moves over one escape sequence; a surrogate must come with its partner.
    #[cold]
    fn escape(&mut self) -> Result<(), Syntax> {
        self.pos += 1;
        match self.byte() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.pos += 1;
                Ok(())
            }
            b'u' => {
                let first = self.hex()?;
                match first {
                    0xDC00..=0xDFFF => Err(self.error("lone surrogate in an escape")),
                    0xD800..=0xDBFF => {
                        if self.byte() != b'\\' || self.bytes.get(self.pos + 1) != Some(&b'u') {
                            return Err(self.error("lone surrogate in an escape"));
                        }
                        self.pos += 1;
                        match self.hex()? {
                            0xDC00..=0xDFFF => Ok(()),
                            _ => Err(self.error("lone surrogate in an escape")),
                        }
                    }
                    _ => Ok(()),
                }
            }
            _ => Err(self.error("invalid escape")),
        }
    }

    /// Moves over `u` and four hexadecimal digits.
    fn hex(&mut self) -> Result<u16, Syntax> {
        self.pos += 1;
        let mut code = 0_u16;
        for _ in 0..4 {
            let digit = match self.byte() {
                byte @ b'0'..=b'9' => byte - b'0',
                byte @ b'a'..=b'f' => byte - b'a' + 10,
                byte @ b'A'..=b'F' => byte - b'A' + 10,
                _ => return Err(self.error("invalid escape")),
            };
            code = (code << 4) | u16::from(digit);
            self.pos += 1;
        }
        Ok(code)
    }

    /// The next eight bytes, the first one lowest.
    #[inline]
    pub(super) fn word(&self) -> Option<u64> {
        self.bytes.get(self.pos..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// Marks, in the high bits, the bytes of a word that do not stand for themselves inside a string: quotes, backslashes and
/// control characters. The lowest mark is exact; bytes above it may be marked by a borrow.
#[inline]
pub(super) const fn specials(word: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (LOW * 0x22);
    let backslash = word ^ (LOW * 0x5C);
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    ((quote.wrapping_sub(LOW) & !quote) | (backslash.wrapping_sub(LOW) & !backslash) | control) & HIGH
}

/// The inside of a JSON string, escapes not yet resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    /// The bytes between the quotes.
    pub text: &'a [u8],
    /// Whether a backslash occurs.
    pub escaped: bool,
}

impl<'a> Raw<'a> {
    /// The text with escapes resolved.
    #[inline]
    pub fn decode(self) -> Cow<'a, str> {
        if self.escaped {
            let mut quoted = Vec::with_capacity(self.text.len() + 2);
            quoted.push(b'"');
            quoted.extend_from_slice(self.text);
            quoted.push(b'"');
            // Only strings that the cursor accepted get here; a failure would mean a fault of the cursor, not of the input.
            Cow::Owned(serde_json::from_slice(&quoted).unwrap_or_default())
        } else {
            std::str::from_utf8(self.text).map_or_else(|_| String::from_utf8_lossy(self.text), Cow::Borrowed)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn valid(bytes: &[u8]) -> bool {
        let mut cursor = Cursor::new(bytes);
        std::str::from_utf8(bytes).is_ok() && cursor.skip(MAX_DEPTH).is_ok() && cursor.at_end()
    }

    fn serde_valid(bytes: &[u8]) -> Option<bool> {
        match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(_) => Some(true),
            // The cursor leaves the size of numbers to the reader.
            Err(error) if error.to_string().contains("out of range") => None,
            Err(_) => Some(false),
        }
    }

    #[test]
    fn accepts_and_refuses_what_the_grammar_says() {
        for text in [
            "0",
            "-0",
            "-1.5e-3",
            "1E+9",
            "true",
            "null",
            "[]",
            "{}",
            " [ 1 , {\"a\" : [ null ] } ] ",
            "\"\\ud83d\\ude00\"",
            "\"a long string without anything special in it\"",
            "\"é\"",
        ] {
            assert!(valid(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "tru",
            "nul",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "\"tab\there\"",
            "1 2",
            "[1",
            "\"\\u12\"",
            "NaN",
            "[\"01234567\u{1}\"]",
        ] {
            assert!(!valid(text.as_bytes()), "{text}");
        }
        assert!(valid(
            "[".repeat(MAX_DEPTH)
                .as_bytes()
                .iter()
                .copied()
                .chain("]".repeat(MAX_DEPTH).bytes())
                .collect::<Vec<_>>()
                .as_slice()
        ));
        assert!(!valid(format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)).as_bytes()));
        assert!(!valid("[".repeat(1_000_000).as_bytes()));
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn agrees_with_serde_json_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(expected) = serde_valid(&bytes) {
                prop_assert_eq!(valid(&bytes), expected);
            }
        }

        #[test]
        fn agrees_with_serde_json_on_texts_of_json_characters(text in "[\\[\\]{}:,\"\\\\u0-9eE.+\\-tfnrulas dD8cC é\u{1}]{0,40}") {
            if let Some(expected) = serde_valid(text.as_bytes()) {
                prop_assert_eq!(valid(text.as_bytes()), expected, "{}", text);
            }
        }

        #[test]
        fn decodes_strings_as_serde_json(text in ".{0,40}") {
            let quoted = serde_json::to_string(&text).unwrap();
            let mut cursor = Cursor::new(quoted.as_bytes());
            let raw = cursor.string().unwrap();
            prop_assert!(cursor.at_end());
            prop_assert_eq!(raw.decode(), text);
        }
    }
}
