//! Numbers shown as fractions: `# ?/?`, `# ??/??`, `# ?/8`. Source: Microsoft Support, "Number format codes".

/// A number by a format with a fraction, or `None` when the format has none.
pub(super) fn fraction(x: f64, section: &str, signed: bool) -> Option<String> {
    let marks = |c: char| matches!(c, '#' | '?' | '0');
    let (before, after) = section.split_once('/')?;
    let above = before.chars().rev().take_while(|c| marks(*c)).count();
    let (head, above) = before.split_at(before.len() - above);
    let below = after.find(|c: char| !(marks(c) || c.is_ascii_digit())).unwrap_or(after.len());
    let (below, tail) = after.split_at(below);
    if above.is_empty() || below.is_empty() || section.contains(['"', '\\']) || x.abs() >= 1e15 {
        return None;
    }
    let mixed = head.contains(marks);
    let magnitude = x.abs();
    let mut whole = if mixed { magnitude.trunc() } else { 0.0 };
    let rest = magnitude - whole;
    let fixed = below.parse::<u32>().ok().filter(|d| *d > 0);
    let (mut top, bottom) = match fixed {
        Some(d) => ((rest * f64::from(d)).round(), f64::from(d)),
        None => nearest(rest, 10_u32.pow(below.len().min(4) as u32) - 1),
    };
    if mixed && top == bottom {
        whole += 1.0;
        top = 0.0;
    }
    let mut text = String::new();
    if signed && x < 0.0 {
        text.push('-');
    }
    if mixed {
        let shown = whole != 0.0 || head.contains('0') || (top == 0.0 && !above.contains('0'));
        let digits = if shown { format!("{whole}") } else { String::new() };
        let least = head.chars().filter(|c| *c == '0').count();
        let first = head.find(marks)?;
        let last = head.rfind(marks)?;
        text.push_str(&head[..first]);
        text.push_str(&format!("{digits:0>least$}"));
        text.push_str(&head[last + 1..]);
    } else {
        text.push_str(head);
    }
    let pad = |mark: &str| if mark.contains('?') { mark.len() } else { 0 };
    if mixed && top == 0.0 && !above.contains('0') {
        // A whole number leaves the room of its fraction empty.
        text.push_str(&" ".repeat(pad(above) + 1 + below.len()));
    } else {
        let zeros = above.chars().filter(|c| *c == '0').count();
        let top = format!("{:0>zeros$}", top.to_string());
        text.push_str(&format!("{top:>width$}/{bottom:<below$}", width = pad(above), below = pad(below)));
    }
    text.push_str(tail);
    Some(text)
}

/// The last convergent of the continued fraction with a denominator up to a bound, as Excel shows it (π is 3 1/7 with two digits).
fn nearest(x: f64, most: u32) -> (f64, f64) {
    let (mut last, mut current) = ((1.0, 0.0), (x.floor(), 1.0));
    let mut rest = x - x.floor();
    while rest > 5e-8 {
        let inverse = 1.0 / rest;
        let whole = (inverse + 1e-9).floor();
        let next = (whole * current.0 + last.0, whole * current.1 + last.1);
        if next.1 > f64::from(most) {
            break;
        }
        (last, current) = (current, next);
        rest = inverse - whole;
    }
    current
}
