//! Text. Places count characters from 1; no text is longer than Excel's 32,767 characters.

use super::argument::number_or;
use super::lookup::Pattern;
use super::{Answer, Arg, Env, FunctionInfo};
use crate::number;
use crate::program::MAX_TEXT;
use crate::value::{ErrorValue, Value, text_to_number};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("CHAR", 1, 1, char_of, "The character of a code from 1 to 255."),
        general(
            "CLEAN",
            1,
            1,
            |_, a| map(a, |t| t.chars().filter(|c| *c >= ' ').collect::<String>()),
            "Text without control characters.",
        ),
        general("CODE", 1, 1, code, "The code of the first character."),
        general("CONCAT", 1, 255, concat, "Texts and ranges, one after the other.").all_arrays(),
        general("CONCATENATE", 1, 255, concat, "Texts, one after the other."),
        general(
            "EXACT",
            2,
            2,
            |_, a| Ok(Value::Boolean(a[0].text()? == a[1].text()?)),
            "Whether two texts are the same, with case.",
        ),
        general("FIND", 2, 3, find, "The place of a text in another, with case."),
        general("HYPERLINK", 1, 2, hyperlink, "The text that a link shows."),
        general("LEFT", 1, 2, left, "The first characters."),
        general(
            "LEN",
            1,
            1,
            |_, a| Ok(Value::Number(length(&a[0].text()?) as f64)),
            "How many characters a text has.",
        ),
        general(
            "LOWER",
            1,
            1,
            |_, a| cased(a, <[u8]>::make_ascii_lowercase, str::to_lowercase),
            "Text in lower case.",
        ),
        general("MID", 3, 3, middle, "Characters from a place on."),
        general("NUMBERVALUE", 1, 3, number_value, "The number that a text shows with the given separators."),
        general("PROPER", 1, 1, |_, a| map(a, proper), "Text with capital first letters."),
        general("REPLACE", 4, 4, replace, "Text with characters replaced by place."),
        general("REPT", 2, 2, repeat, "Text several times."),
        general("RIGHT", 1, 2, right, "The last characters."),
        general("SEARCH", 2, 3, search, "The place of a pattern in a text, without case."),
        general("SUBSTITUTE", 3, 4, substitute, "Text with a part replaced by another."),
        general("T", 1, 1, text_or_nothing, "The text, or nothing for another value."),
        general("TEXTAFTER", 2, 6, |_, a| around(a, true), "The text after a part."),
        general("TEXTBEFORE", 2, 6, |_, a| around(a, false), "The text before a part."),
        general("TEXTJOIN", 3, 255, join, "Texts and ranges with a separator between them.")
            .arrays(u32::MAX - 3),
        general("TRIM", 1, 1, |_, a| map(a, trim), "Text with single blanks between words."),
        general("UNICHAR", 1, 1, unichar, "The character of a Unicode number."),
        general("UNICODE", 1, 1, unicode, "The Unicode number of the first character."),
        general(
            "UPPER",
            1,
            1,
            |_, a| cased(a, <[u8]>::make_ascii_uppercase, str::to_uppercase),
            "Text in upper case.",
        ),
        general("VALUE", 1, 1, value, "The number that a text shows.").note("English separators"),
    ]
}

fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// The byte place of a character.
fn byte(text: &str, chars: usize) -> usize {
    if text.is_ascii() {
        return chars.min(text.len());
    }
    text.char_indices().nth(chars).map_or(text.len(), |(i, _)| i)
}

fn bounded(text: String) -> Answer {
    if text.len() > MAX_TEXT && length(&text) > MAX_TEXT { Err(ErrorValue::Value) } else { Ok(text.into()) }
}

fn map<T: Into<Value>>(args: &[Arg<'_>], f: impl Fn(&str) -> T) -> Answer {
    Ok(f(&args[0].text()?).into())
}

/// `UPPER` and `LOWER`: a short text of ASCII is changed without memory of its own, which gives the same as the general way.
fn cased(args: &[Arg<'_>], ascii: fn(&mut [u8]), other: fn(&str) -> String) -> Answer {
    let text = args[0].text()?;
    let mut buffer = [0_u8; 64];
    if text.is_ascii()
        && let Some(place) = buffer.get_mut(..text.len())
    {
        place.copy_from_slice(text.as_bytes());
        ascii(place);
        if let Ok(text) = std::str::from_utf8(place) {
            return Ok(text.into());
        }
    }
    Ok(other(&text).into())
}

/// A count of characters: whole, not negative.
fn count(x: f64) -> Result<usize, ErrorValue> {
    if x < 0.0 { Err(ErrorValue::Value) } else { Ok(x.min(1e9) as usize) }
}

/// A place from 1, as an offset from 0.
fn place(x: f64) -> Result<usize, ErrorValue> {
    if x < 1.0 { Err(ErrorValue::Value) } else { Ok(x.min(1e9) as usize - 1) }
}

fn left(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let n = count(number_or(args, 1, 1.0)?)?;
    Ok(text[..byte(&text, n)].into())
}

fn right(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let n = count(number_or(args, 1, 1.0)?)?;
    let skipped = length(&text).saturating_sub(n);
    Ok(text[byte(&text, skipped)..].into())
}

fn middle(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let start = byte(&text, place(args[1].number()?)?);
    let rest = &text[start..];
    Ok(rest[..byte(rest, count(args[2].number()?)?)].into())
}

fn replace(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let start = byte(&text, place(args[1].number()?)?);
    let rest = &text[start..];
    let after = &rest[byte(rest, count(args[2].number()?)?)..];
    bounded(format!("{}{}{after}", &text[..start], args[3].text()?))
}

fn repeat(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let n = count(args[1].number()?)?;
    if n.saturating_mul(length(&text)) > MAX_TEXT {
        return Err(ErrorValue::Value);
    }
    Ok(if text.is_empty() { "".into() } else { text.repeat(n).into() })
}

fn find(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (part, text) = (args[0].text()?, args[1].text()?);
    let from = place(number_or(args, 2, 1.0)?)?;
    if from > length(&text) {
        return Err(ErrorValue::Value);
    }
    let start = byte(&text, from);
    let found = text[start..].find(part.as_ref()).ok_or(ErrorValue::Value)?;
    Ok(Value::Number((from + length(&text[start..start + found]) + 1) as f64))
}

fn search(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (part, text) = (args[0].text()?, args[1].text()?);
    let from = place(number_or(args, 2, 1.0)?)?;
    let chars: Vec<char> = text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect();
    if from > chars.len() {
        return Err(ErrorValue::Value);
    }
    let found = if part.contains(['*', '?', '~']) {
        Pattern::new(&part).find(&chars, from)
    } else {
        let part: Vec<char> = part.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect();
        let last = chars.len().checked_sub(part.len());
        last.and_then(|last| (from..=last).find(|i| chars[*i..].starts_with(&part)))
    };
    found.map(|i| Value::Number(i as f64 + 1.0)).ok_or(ErrorValue::Value)
}

fn substitute(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (text, old, new) = (args[0].text()?, args[1].text()?, args[2].text()?);
    if old.is_empty() {
        return Ok(text.as_ref().into());
    }
    let Some(which) = args.get(3) else {
        // The length of the result is known before it is made.
        let grown = text.matches(old.as_ref()).count().saturating_mul(new.len());
        if grown > 4 * MAX_TEXT {
            return Err(ErrorValue::Value);
        }
        return bounded(text.replace(old.as_ref(), &new));
    };
    let which = place(which.number()?)?;
    match text.match_indices(old.as_ref()).nth(which) {
        Some((i, _)) => bounded(format!("{}{new}{}", &text[..i], &text[i + old.len()..])),
        None => Ok(text.as_ref().into()),
    }
}

/// The value that a cell shows for it: 0 for blank.
fn solid(value: &Value) -> Value {
    if *value == Value::Blank { Value::Number(0.0) } else { value.clone() }
}

fn hyperlink(_: &Env, args: &[Arg<'_>]) -> Answer {
    args[0].text()?;
    Ok(solid(args[args.len() - 1].value()))
}

/// `TEXTBEFORE` and `TEXTAFTER`: text, part, which one, without case, whether the end counts as a part, otherwise.
fn around(args: &[Arg<'_>], after: bool) -> Answer {
    let (text, part) = (args[0].text()?, args[1].text()?);
    let which = match args.get(2) {
        None | Some(Arg::Omitted) => 1.0,
        Some(arg) => arg.number()?.trunc(),
    };
    let (folded, ends) = (number_or(args, 3, 0.0)? != 0.0, number_or(args, 4, 0.0)? != 0.0);
    if which == 0.0 || which.abs() > length(&text).max(1) as f64 {
        return Err(ErrorValue::Value);
    }
    let missing = || match args.get(5) {
        None | Some(Arg::Omitted) => Err(ErrorValue::NA),
        Some(arg) => Ok(solid(arg.value())),
    };
    if part.is_empty() {
        // Nothing is found at once, at the near end.
        return Ok(if (which > 0.0) == after { text.as_ref().into() } else { "".into() });
    }
    // Folding one character to one keeps places the same.
    let simple =
        |c: char| c.to_lowercase().next().filter(|f| folded && f.len_utf8() == c.len_utf8()).unwrap_or(c);
    let (hay, needle): (String, String) =
        (text.chars().map(simple).collect(), part.chars().map(simple).collect());
    let mut places: Vec<(usize, usize)> = hay.match_indices(&needle).map(|(i, m)| (i, i + m.len())).collect();
    if which < 0.0 {
        places = hay.rmatch_indices(&needle).map(|(i, m)| (i, i + m.len())).collect();
    }
    if ends {
        places.push(if which > 0.0 { (text.len(), text.len()) } else { (0, 0) });
    }
    match places.get(which.abs() as usize - 1) {
        Some((start, end)) => Ok(if after { text[*end..].into() } else { text[..*start].into() }),
        None => missing(),
    }
}

fn trim(text: &str) -> Value {
    if !text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  ") {
        return text.into();
    }
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").into()
}

fn proper(text: &str) -> String {
    let mut start = true;
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if start {
            result.extend(c.to_uppercase())
        } else {
            result.extend(c.to_lowercase())
        }
        start = !c.is_alphabetic();
    }
    result
}

fn concat(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut result = String::new();
    for arg in args {
        for item in arg.grid().items {
            result.push_str(&item.to_text()?);
        }
        if result.len() > 4 * MAX_TEXT {
            return Err(ErrorValue::Value);
        }
    }
    bounded(result)
}

fn join(_: &Env, args: &[Arg<'_>]) -> Answer {
    let separator = args[0].text()?;
    let skip = args[1].boolean()?;
    let mut result = String::new();
    let mut first = true;
    for item in args[2..].iter().flat_map(|arg| arg.grid().items) {
        let text = item.to_text()?;
        if skip && text.is_empty() {
            continue;
        }
        if !first {
            result.push_str(&separator);
        }
        first = false;
        result.push_str(&text);
        if result.len() > 4 * MAX_TEXT {
            return Err(ErrorValue::Value);
        }
    }
    bounded(result)
}

fn text_or_nothing(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(match args[0].value() {
        Value::Text(text) => Value::Text(text.clone()),
        Value::Error(e) => return Err(*e),
        _ => "".into(),
    })
}

fn value(_: &Env, args: &[Arg<'_>]) -> Answer {
    match args[0].value() {
        Value::Text(text) => text_to_number(text).map(Value::Number).ok_or(ErrorValue::Value),
        Value::Boolean(_) => Err(ErrorValue::Value),
        other => Ok(Value::Number(other.to_number()?)),
    }
}

fn number_value(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let mark = |i: usize, default: char| -> Result<char, ErrorValue> {
        match args.get(i) {
            None | Some(Arg::Omitted) => Ok(default),
            Some(arg) => arg.text()?.chars().next().ok_or(ErrorValue::Value),
        }
    };
    let (point, group) = (mark(1, '.')?, mark(2, ',')?);
    let plain: String =
        text.chars().filter(|c| *c != ' ' && *c != group).map(|c| if c == point { '.' } else { c }).collect();
    if plain.is_empty() {
        return Ok(Value::Number(0.0));
    }
    number::parse(&plain).map(Value::Number).ok_or(ErrorValue::Value)
}

/// The characters of the codes 128 to 159 of Windows-1252.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn char_of(_: &Env, args: &[Arg<'_>]) -> Answer {
    let code = args[0].number()?.trunc();
    if !(1.0..=255.0).contains(&code) {
        return Err(ErrorValue::Value);
    }
    let code = code as u8;
    let c = if (128..160).contains(&code) { WINDOWS[usize::from(code) - 128] } else { char::from(code) };
    Ok(c.to_string().into())
}

fn code(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let c = text.chars().next().ok_or(ErrorValue::Value)?;
    let code = match WINDOWS.iter().position(|w| *w == c) {
        Some(i) => i as u32 + 128,
        None if u32::from(c) < 256 => u32::from(c),
        None => u32::from('?'),
    };
    Ok(Value::Number(f64::from(code)))
}

fn unichar(_: &Env, args: &[Arg<'_>]) -> Answer {
    let code = args[0].number()?.trunc();
    if !(1.0..=1_114_111.0).contains(&code) {
        return Err(ErrorValue::Value);
    }
    char::from_u32(code as u32).map(|c| c.to_string().into()).ok_or(ErrorValue::NA)
}

fn unicode(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let c = text.chars().next().ok_or(ErrorValue::Value)?;
    Ok(Value::Number(f64::from(u32::from(c))))
}
