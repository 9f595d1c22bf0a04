//! `TEXT` and its kin: numbers shown by a format. Supported: sections, `0 # ? , . %`, exponents, literals, and dates and times.

use super::argument::number_or;
use super::serial::{self, MONTHS};
use super::{Answer, Arg, Env, FunctionInfo};
use crate::number;
use crate::value::{ErrorValue, Value, text_to_number};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("DOLLAR", 1, 2, dollar, "A number as an amount of dollars."),
        general("FIXED", 1, 3, fixed, "A number as text with fixed digits."),
        general("TEXT", 2, 2, text, "A value as text, by a format.")
            .note("English formats; no colours; dates in the Gregorian calendar"),
    ]
}

fn text(_: &Env, args: &[Arg<'_>]) -> Answer {
    let value = args[0].value();
    let format = args[1].text()?;
    let number = match value {
        Value::Error(e) => return Err(*e),
        Value::Boolean(_) => None,
        Value::Text(text) => text_to_number(text),
        other => Some(other.to_number()?),
    };
    let Some(x) = number else {
        let text = value.to_text()?;
        // The fourth section, or one with @, is for text.
        let sections = sections(&format);
        let section = sections.get(3).or_else(|| sections.iter().find(|s| s.contains('@')));
        return Ok(match section {
            Some(section) => section.replace(['"', '\\'], "").replace('@', &text).into(),
            None => text.as_ref().into(),
        });
    };
    if format.is_empty() {
        return Ok("".into());
    }
    show(x, &format).map(Value::from).ok_or(ErrorValue::Value)
}

fn fixed(_: &Env, args: &[Arg<'_>]) -> Answer {
    let x = args[0].number()?;
    let digits = number_or(args, 1, 2.0)?.trunc();
    let plain = args.get(2).is_some_and(|arg| arg.boolean() == Ok(true));
    if digits > 127.0 {
        return Err(ErrorValue::Value);
    }
    let rounded = number::round(x, digits);
    let text = decimal_text(rounded.abs(), digits.max(0.0) as usize);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let whole = if plain { whole.to_owned() } else { grouped(whole) };
    Ok(format!("{}{whole}{rest}", if rounded < 0.0 { "-" } else { "" }).into())
}

fn dollar(_: &Env, args: &[Arg<'_>]) -> Answer {
    let x = args[0].number()?;
    let digits = number_or(args, 1, 2.0)?.trunc();
    if digits > 127.0 {
        return Err(ErrorValue::Value);
    }
    let rounded = number::round(x, digits);
    let text = decimal_text(rounded.abs(), digits.max(0.0) as usize);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let text = format!("${}{rest}", grouped(whole));
    Ok(if rounded < 0.0 { format!("({text})") } else { text }.into())
}

/// Plain notation of a number that is not negative, with a fixed count of digits after the point, from its 15 digits.
fn decimal_text(x: f64, digits: usize) -> String {
    let x = number::round(x, digits as f64);
    let (mantissa, exponent) = number::decimal(x);
    let all = mantissa.unsigned_abs().to_string();
    let shift = exponent + digits as i32;
    let mut text = if mantissa == 0 {
        "0".to_owned()
    } else if shift >= 0 {
        all + &"0".repeat(shift as usize)
    } else {
        let cut = all.len().saturating_sub(shift.unsigned_abs() as usize);
        if cut == 0 { "0".to_owned() } else { all[..cut].to_owned() }
    };
    while text.len() <= digits {
        text.insert(0, '0');
    }
    if digits > 0 {
        text.insert(text.len() - digits, '.');
    }
    text
}

/// Digits with commas between thousands.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// The sections of a format, between semicolons.
fn sections(format: &str) -> Vec<String> {
    let mut list = vec![String::new()];
    let mut chars = format.chars();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        if c == '"' {
            quoted = !quoted;
        }
        let Some(last) = list.last_mut() else { break };
        if c == ';' && !quoted {
            list.push(String::new());
            continue;
        }
        last.push(c);
        if c == '\\' && !quoted {
            last.extend(chars.next());
        }
    }
    list
}

/// A number by a format, or `None` when the format cannot be read.
fn show(x: f64, format: &str) -> Option<String> {
    let sections = sections(format);
    if let Some(section) = conditional(x, &sections) {
        return show_section(x, section, true);
    }
    let (section, x, signed) = match sections.len() {
        1 => (&sections[0], x, true),
        2 if x < 0.0 => (&sections[1], -x, false),
        2 => (&sections[0], x, false),
        _ if x < 0.0 => (&sections[1], -x, false),
        _ if x == 0.0 => (&sections[2], x, false),
        _ => (&sections[0], x, false),
    };
    show_section(x, section, signed)
}

/// The section whose condition in brackets, such as `[>=100]`, a number meets; the last one when it meets none.
fn conditional(x: f64, sections: &[String]) -> Option<&String> {
    let condition = |section: &str| {
        let inner = section.trim_start().strip_prefix('[')?.split_once(']')?.0;
        let (test, bound) = inner.split_at(inner.find(|c: char| !matches!(c, '<' | '>' | '='))?);
        let order = x.partial_cmp(&bound.trim().parse::<f64>().ok()?)?;
        Some(match test {
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            ">=" => order.is_ge(),
            "=" => order.is_eq(),
            "<>" => order.is_ne(),
            _ => return None,
        })
    };
    let holds: Vec<Option<bool>> = sections.iter().map(|section| condition(section)).collect();
    if holds.iter().all(Option::is_none) {
        return None;
    }
    let met = holds.iter().position(|h| *h == Some(true));
    met.or_else(|| holds.iter().position(Option::is_none)).map_or(sections.last(), |i| sections.get(i))
}

fn show_section(x: f64, section: &str, signed: bool) -> Option<String> {
    let section = bare(section);
    if section.trim().eq_ignore_ascii_case("general") {
        return Some(number::to_text(x));
    }
    let pieces = pieces(&section);
    if pieces.iter().any(|piece| matches!(piece, Piece::Time(..))) {
        return date_time(x, &pieces);
    }
    if let Some(text) = super::text_fraction::fraction(x, &section, signed) {
        return Some(text);
    }
    Some(digits(x, &pieces, signed))
}

/// A section without its colours and conditions in brackets, but for elapsed times.
fn bare(section: &str) -> String {
    let mut text = String::new();
    let mut rest = section;
    while let Some(open) = rest.find('[') {
        let Some(close) = rest[open..].find(']') else { break };
        let inner = &rest[open + 1..open + close];
        text.push_str(&rest[..open]);
        let elapsed =
            !inner.is_empty() && inner.chars().all(|c| matches!(c, 'h' | 'H' | 'm' | 'M' | 's' | 'S'));
        if elapsed {
            text.push_str(&rest[open..=open + close]);
        } else if let Some(symbol) = inner.strip_prefix('$') {
            text.push_str(symbol.split('-').next().unwrap_or(""));
        }
        rest = &rest[open + close + 1..];
    }
    text + rest
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    /// `0`, `#` or `?`.
    Digit(char),
    Point,
    Comma,
    Percent,
    /// `E+` or `E-`.
    Exponent(bool),
    /// A run of a date or time letter; `true` in brackets, for elapsed time.
    Time(char, usize, bool),
    /// `AM/PM`, or short.
    Half(bool),
}

fn pieces(section: &str) -> Vec<Piece> {
    let chars: Vec<char> = section.chars().collect();
    let mut list: Vec<Piece> = Vec::new();
    let mut i = 0;
    let digits = section.contains(['0', '#', '?']);
    while i < chars.len() {
        let c = chars[i];
        let rest: String = chars[i..].iter().take(5).collect::<String>().to_ascii_uppercase();
        match c {
            '"' => {
                let end = chars[i + 1..].iter().position(|c| *c == '"').map_or(chars.len(), |n| i + 1 + n);
                list.push(Piece::Literal(chars[i + 1..end].iter().collect()));
                i = end;
            }
            '\\' => {
                i += 1;
                list.extend(chars.get(i).map(|c| Piece::Literal(c.to_string())));
            }
            '_' => {
                i += 1;
                list.push(Piece::Literal(" ".to_owned()));
            }
            '*' => i += 1,
            '0' | '#' | '?' => list.push(Piece::Digit(c)),
            '.' => list.push(Piece::Point),
            ',' if digits => list.push(Piece::Comma),
            '%' => list.push(Piece::Percent),
            'E' | 'e' if digits && matches!(chars.get(i + 1), Some('+' | '-')) => {
                list.push(Piece::Exponent(chars[i + 1] == '+'));
                i += 1;
            }
            _ if rest.starts_with("AM/PM") => {
                list.push(Piece::Half(false));
                i += 4;
            }
            _ if rest.starts_with("A/P") => {
                list.push(Piece::Half(true));
                i += 2;
            }
            '[' => {
                let letter = chars.get(i + 1).map_or(' ', char::to_ascii_lowercase);
                let end = chars[i..].iter().position(|c| *c == ']').map_or(chars.len(), |n| i + n);
                list.push(Piece::Time(letter, end - i - 1, true));
                i = end;
            }
            'y' | 'Y' | 'm' | 'M' | 'd' | 'D' | 'h' | 'H' | 's' | 'S' => {
                let letter = c.to_ascii_lowercase();
                let n = chars[i..].iter().take_while(|c| c.to_ascii_lowercase() == letter).count();
                list.push(Piece::Time(letter, n, false));
                i += n - 1;
            }
            c => list.push(Piece::Literal(c.to_string())),
        }
        i += 1;
    }
    list
}

/// A number by digits; commas behind the last digit divide by a thousand each.
fn digits(x: f64, pieces: &[Piece], signed: bool) -> String {
    let is_digit = |p: &Piece| matches!(p, Piece::Digit(_));
    let exponent = pieces.iter().position(|p| matches!(p, Piece::Exponent(_)));
    let body = &pieces[..exponent.unwrap_or(pieces.len())];
    let Some(last) = body.iter().rposition(is_digit) else {
        let text: String = body
            .iter()
            .map(|p| {
                if let Piece::Literal(t) = p {
                    t.as_str()
                } else if *p == Piece::Percent {
                    "%"
                } else {
                    ""
                }
            })
            .collect();
        return if signed && x < 0.0 { format!("-{text}") } else { text };
    };
    let point = body.iter().position(|p| *p == Piece::Point);
    let whole_end = point.unwrap_or(body.len()).min(last + 1);
    let grouping = body[..whole_end].iter().enumerate().any(|(i, p)| *p == Piece::Comma && i < whole_end);
    let thousands = body[last + 1..].iter().take_while(|p| **p == Piece::Comma).count();
    let percent = pieces.iter().filter(|p| **p == Piece::Percent).count();
    let decimals = point.map_or(0, |p| body[p..].iter().filter(|p| is_digit(p)).count());
    let minimum =
        body[..point.unwrap_or(body.len())].iter().filter(|p| matches!(p, Piece::Digit('0'))).count();
    let mut magnitude = x.abs();
    for _ in 0..percent {
        magnitude *= 100.0;
    }
    for _ in 0..thousands {
        magnitude /= 1000.0;
    }
    let mut power = 0;
    if exponent.is_some() && magnitude != 0.0 {
        let (mantissa, e) = number::decimal(magnitude);
        power = e + mantissa.unsigned_abs().to_string().len() as i32 - 1;
        magnitude = number::from_decimal(mantissa.abs(), e - power);
        if number::round(magnitude, decimals as f64) >= 10.0 {
            power += 1;
            magnitude /= 10.0;
        }
    }
    let plain = decimal_text(magnitude, decimals);
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut whole = whole.trim_start_matches('0').to_owned();
    while whole.len() < minimum {
        whole.insert(0, '0');
    }
    if grouping && thousands < body.len() {
        whole = grouped(&whole);
    }
    let mut fraction: Vec<char> = fraction.chars().collect();
    // Digits of # behind the point vanish when they are zero.
    if let Some(point) = point {
        let marks: Vec<char> = body[point..]
            .iter()
            .filter_map(|p| if let Piece::Digit(c) = p { Some(*c) } else { None })
            .collect();
        for (i, mark) in marks.iter().enumerate().rev() {
            if fraction.get(i) != Some(&'0') || *mark == '0' {
                break;
            }
            if *mark == '#' { fraction.truncate(i) } else { fraction[i] = ' ' }
        }
    }
    let mut text = String::new();
    if signed && x < 0.0 {
        text.push('-');
    }
    let (mut whole_done, mut next) = (false, 0);
    let mut marks = body[..whole_end].iter().filter(|p| is_digit(p)).count();
    let mut shown = 0;
    for (i, piece) in body.iter().enumerate() {
        match piece {
            Piece::Literal(t) => text.push_str(t),
            Piece::Percent => text.push('%'),
            Piece::Point => text.push('.'),
            Piece::Digit(_) if i < whole_end => {
                marks -= 1;
                if !whole_done && !grouping {
                    // Literals between digits keep their places: the first mark takes what the others leave.
                    let total = whole.chars().count();
                    let upto = total.saturating_sub(marks);
                    text.extend(whole.chars().skip(shown).take(upto.saturating_sub(shown)));
                    shown = shown.max(upto);
                } else if !whole_done {
                    text.push_str(&whole);
                    whole_done = true;
                }
            }
            Piece::Digit(_) => {
                text.extend(fraction.get(next));
                next += 1;
            }
            _ => {}
        }
    }
    if let Some(at) = exponent {
        let plus = matches!(pieces[at], Piece::Exponent(true));
        let width = pieces[at + 1..].iter().filter(|p| is_digit(p)).count().max(1);
        text.push('E');
        if power < 0 {
            text.push('-');
        } else if plus {
            text.push('+');
        }
        text.push_str(&format!("{:0width$}", power.abs()));
        for piece in &pieces[at + 1..] {
            if let Piece::Literal(t) = piece {
                text.push_str(t);
            }
        }
    }
    text
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A date and time by its pieces, or `None` outside the calendar.
fn date_time(x: f64, pieces: &[Piece]) -> Option<String> {
    let fraction_digits = pieces
        .windows(2)
        .position(|w| matches!(w[0], Piece::Point) && matches!(w[1], Piece::Digit(_)))
        .map_or(0, |at| pieces[at + 1..].iter().take_while(|p| matches!(p, Piece::Digit(_))).count());
    if serial::is_1904() && x < 0.0 {
        // The 1904 date system shows dates and times below zero with a sign.
        return Some(format!("-{}", date_time(-x, pieces)?));
    }
    if !serial::contains(x) {
        return None;
    }
    let unit = 10_f64.powi(fraction_digits.min(6) as i32);
    // Times are rounded to the smallest unit that is shown.
    let ticks = number::round(x * 86400.0 * unit, 0.0);
    let total = (ticks / unit).floor();
    let parts = ticks - total * unit;
    let days = (total / 86400.0).floor();
    let day = serial::day(days)?;
    let seconds = (total - days * 86400.0) as i64;
    let half = pieces.iter().any(|p| matches!(p, Piece::Half(_)));
    let mut text = String::new();
    for (i, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(t) => text.push_str(t),
            Piece::Half(short) => {
                let afternoon = seconds >= 43200;
                text.push_str(match (short, afternoon) {
                    (false, false) => "AM",
                    (false, true) => "PM",
                    (true, false) => "A",
                    (true, true) => "P",
                });
            }
            Piece::Point => text.push('.'),
            Piece::Comma => text.push(','),
            Piece::Percent => text.push('%'),
            Piece::Digit(_) if i > 0 && pieces[i - 1] == Piece::Point => {
                text.push_str(&format!("{:0width$}", parts as i64, width = fraction_digits));
            }
            Piece::Digit(_) | Piece::Exponent(_) => {}
            Piece::Time(letter, n, elapsed) => {
                // An m beside hours or seconds means minutes.
                let near =
                    |p: Option<&Piece>, letter: char| matches!(p, Some(Piece::Time(l, ..)) if *l == letter);
                let times = |list: &[Piece]| {
                    list.iter().filter(|p| matches!(p, Piece::Time(..))).cloned().collect::<Vec<_>>()
                };
                let minutes = *letter == 'm'
                    && (near(times(&pieces[..i]).last(), 'h') || near(times(&pieces[i + 1..]).first(), 's'));
                let padded = |value: i64| if *n >= 2 { format!("{value:0n$}") } else { value.to_string() };
                text.push_str(&match (letter, elapsed) {
                    ('h', true) => padded(total as i64 / 3600),
                    ('m', true) => padded(total as i64 / 60),
                    ('s', true) => padded(total as i64),
                    ('h', _) => {
                        let hour = seconds / 3600;
                        padded(if half { (hour + 11) % 12 + 1 } else { hour })
                    }
                    ('s', _) => padded(seconds % 60),
                    ('m', _) if minutes => padded(seconds / 60 % 60),
                    ('m', _) => {
                        let name = MONTHS[day.month as usize - 1];
                        match n {
                            1 | 2 => padded(i64::from(day.month)),
                            3 => name[..3].to_owned(),
                            4 => name.to_owned(),
                            _ => name[..1].to_owned(),
                        }
                    }
                    ('d', _) => {
                        let name = DAYS[serial::weekday(days) as usize];
                        match n {
                            1 | 2 => padded(i64::from(day.day)),
                            3 => name[..3].to_owned(),
                            _ => name.to_owned(),
                        }
                    }
                    _ => {
                        if *n <= 2 {
                            format!("{:02}", day.year % 100)
                        } else {
                            day.year.to_string()
                        }
                    }
                });
            }
        }
    }
    Some(text)
}
