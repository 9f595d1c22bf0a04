//! Reading XML parts: attributes and text, with the part named in every error.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::load::LoadError;

/// An XML part being read; empty elements come as a start and an end.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    part: &'a str,
    depth: u32,
}

/// How deep elements may nest; SpreadsheetML needs about ten.
const MAX_DEPTH: u32 = 200;

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str, part: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, part, depth: 0 }
    }

    /// The next event; the end of the part is an error while elements are open.
    pub(super) fn next(&mut self) -> Result<Event<'a>, LoadError> {
        let event = self.reader.read_event().map_err(|error| self.error(error.to_string()))?;
        match &event {
            Event::Start(_) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.error("elements nested too deeply"));
                }
            }
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::DocType(_) => return Err(self.error("a document type declaration is not allowed")),
            Event::Eof if self.depth > 0 => return Err(self.error("the part ends inside an element")),
            _ => {}
        }
        Ok(event)
    }

    /// How many elements are open.
    pub(super) const fn depth(&self) -> u32 {
        self.depth
    }

    /// The text inside the element that has just started, nested elements included unless `skip` names them; moves past its end.
    pub(super) fn text(&mut self, skip: &[&str]) -> Result<String, LoadError> {
        let outer = self.depth;
        let mut text = String::new();
        let mut skipped_at = None;
        loop {
            match self.next()? {
                Event::Start(start)
                    if skipped_at.is_none() && skip.contains(&start.local_name().as_ref()) =>
                {
                    skipped_at = Some(self.depth);
                }
                Event::End(_) => {
                    if self.depth < outer {
                        return Ok(text);
                    }
                    if skipped_at.is_some_and(|depth| self.depth < depth) {
                        skipped_at = None;
                    }
                }
                Event::Text(part) if skipped_at.is_none() => text.push_str(&part.xml10_content()),
                Event::CData(part) if skipped_at.is_none() => text.push_str(&part.xml10_content()),
                Event::GeneralRef(entity) if skipped_at.is_none() => text.push(self.entity(&entity)?),
                Event::Eof => return Err(self.error("the part ends inside an element")),
                _ => {}
            }
        }
    }

    /// Moves past the end of the element that has just started.
    pub(super) fn skip(&mut self) -> Result<(), LoadError> {
        let outer = self.depth;
        while self.depth >= outer {
            if matches!(self.next()?, Event::Eof) {
                return Err(self.error("the part ends inside an element"));
            }
        }
        Ok(())
    }

    fn entity(&self, entity: &BytesRef<'_>) -> Result<char, LoadError> {
        if entity.is_char_ref() {
            let resolved = entity.resolve_char_ref().map_err(|error| self.error(error.to_string()))?;
            return resolved.ok_or_else(|| self.error("bad character reference"));
        }
        match entity.xml10_content().as_ref() {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            other => Err(self.error(format!("unknown entity &{other};"))),
        }
    }

    /// An error in this part.
    pub(super) fn error(&self, message: impl Into<String>) -> LoadError {
        let at = self.reader.buffer_position();
        LoadError::unreadable(self.part, format!("{} (byte {at})", message.into()))
    }
}

/// The value of an attribute by its local name, entities resolved.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    element
        .attributes()
        .with_checks(false)
        .filter_map(Result::ok)
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .and_then(|attribute| {
            attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
        })
}

/// Whether an XML Schema boolean attribute is true; `default` when it is absent.
pub(super) fn flag(element: &BytesStart<'_>, name: &str, default: bool) -> bool {
    attribute(element, name).map_or(default, |value| matches!(value.trim(), "1" | "true" | "on"))
}

/// Resolves Excel's `_xHHHH_` escapes.
pub(super) fn unescape_excel(text: String) -> String {
    if !text.contains("_x") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("_x") {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = escape
            .get(2..6)
            .filter(|digits| {
                escape.as_bytes().get(6) == Some(&b'_') && digits.bytes().all(|b| b.is_ascii_hexdigit())
            })
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        if let Some(character) = code {
            out.push(character);
            rest = escape.get(7..).unwrap_or_default();
        } else {
            out.push_str("_x");
            rest = escape.get(2..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}
