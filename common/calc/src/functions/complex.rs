//! Complex numbers as text, such as `3+4i`. Source: Microsoft's function reference, "Engineering functions".

use super::{Answer, Arg, Env, FunctionInfo};
use crate::number;
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("COMPLEX", 2, 3, complex, "The complex number of a real and an imaginary part."),
        general("IMABS", 1, 1, |_, a| part(a, Complex::magnitude), "The magnitude of a complex number."),
        general("IMAGINARY", 1, 1, |_, a| part(a, |z| z.im), "The imaginary part of a complex number."),
        general("IMARGUMENT", 1, 1, argument, "The angle of a complex number."),
        general(
            "IMCONJUGATE",
            1,
            1,
            |_, a| map(a, |z| Ok((z.re, -z.im))),
            "The conjugate of a complex number.",
        ),
        general(
            "IMCOS",
            1,
            1,
            |_, a| map(a, |z| Ok((libm::cos(z.re) * libm::cosh(z.im), -libm::sin(z.re) * libm::sinh(z.im)))),
            "The cosine of a complex number.",
        ),
        general("IMDIV", 2, 2, divide, "The quotient of two complex numbers."),
        general(
            "IMEXP",
            1,
            1,
            |_, a| {
                map(a, |z| {
                    let scale = libm::exp(z.re);
                    Ok((scale * libm::cos(z.im), scale * libm::sin(z.im)))
                })
            },
            "e to a complex power.",
        ),
        general("IMLN", 1, 1, |_, a| logarithm(a, 1.0), "The natural logarithm of a complex number."),
        general(
            "IMLOG10",
            1,
            1,
            |_, a| logarithm(a, std::f64::consts::LN_10),
            "The logarithm of a complex number to base 10.",
        ),
        general(
            "IMLOG2",
            1,
            1,
            |_, a| logarithm(a, std::f64::consts::LN_2),
            "The logarithm of a complex number to base 2.",
        ),
        general("IMPOWER", 2, 2, |_, a| raise(a, a[1].number()?), "A complex number to a real power."),
        general(
            "IMPRODUCT",
            1,
            255,
            |_, a| fold(a, (1.0, 0.0), |(a, b), z| (a * z.re - b * z.im, a * z.im + b * z.re)),
            "The product of complex numbers.",
        )
        .all_arrays(),
        general("IMREAL", 1, 1, |_, a| part(a, |z| z.re), "The real part of a complex number."),
        general(
            "IMSIN",
            1,
            1,
            |_, a| map(a, |z| Ok((libm::sin(z.re) * libm::cosh(z.im), libm::cos(z.re) * libm::sinh(z.im)))),
            "The sine of a complex number.",
        ),
        general("IMSQRT", 1, 1, |_, a| raise(a, 0.5), "The square root of a complex number."),
        general(
            "IMSUB",
            2,
            2,
            |_, a| {
                let (x, y) = (read(&a[0])?, read(&a[1])?);
                show(x.re - y.re, x.im - y.im, x.unit.or(y.unit))
            },
            "The difference of two complex numbers.",
        ),
        general(
            "IMSUM",
            1,
            255,
            |_, a| fold(a, (0.0, 0.0), |(a, b), z| (a + z.re, b + z.im)),
            "The sum of complex numbers.",
        )
        .all_arrays(),
    ]
}

/// A complex number with the letter that it was written with.
#[derive(Debug, Clone, Copy)]
struct Complex {
    re: f64,
    im: f64,
    unit: Option<char>,
}

impl Complex {
    fn magnitude(&self) -> f64 {
        libm::hypot(self.re, self.im)
    }

    /// From text: `3`, `4i`, `-i`, `3+4j`, `1E-3-2E+2i`.
    fn parse(text: &str) -> Option<Self> {
        let Some(unit) = text.chars().last().filter(|c| matches!(c, 'i' | 'j')) else {
            return Some(Self { re: plain(text)?, im: 0.0, unit: None });
        };
        let body = &text[..text.len() - 1];
        // The sign that parts the two numbers is the last one that follows no exponent's letter.
        let split = body
            .char_indices()
            .rev()
            .find(|(i, c)| matches!(c, '+' | '-') && !body[..*i].ends_with(['e', 'E']))
            .map_or(0, |(i, _)| i);
        let (re, im) = body.split_at(split);
        let im = match im {
            "" | "+" => 1.0,
            "-" => -1.0,
            digits => plain(digits.strip_prefix('+').unwrap_or(digits))?,
        };
        let re = if re.is_empty() { 0.0 } else { plain(re)? };
        Some(Self { re, im, unit: Some(unit) })
    }
}

fn plain(text: &str) -> Option<f64> {
    let first = text.bytes().find(|b| !matches!(b, b'+' | b'-'))?;
    if !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    text.parse::<f64>().ok().filter(|x| x.is_finite())
}

fn of(value: &Value) -> Result<Complex, ErrorValue> {
    match value {
        Value::Number(x) => Ok(Complex { re: *x, im: 0.0, unit: None }),
        Value::Blank => Ok(Complex { re: 0.0, im: 0.0, unit: None }),
        Value::Text(text) => Complex::parse(text).ok_or(ErrorValue::Num),
        Value::Boolean(_) => Err(ErrorValue::Value),
        Value::Error(e) => Err(*e),
    }
}

fn read(arg: &Arg<'_>) -> Result<Complex, ErrorValue> {
    of(arg.value())
}

fn show(re: f64, im: f64, unit: Option<char>) -> Answer {
    if !re.is_finite() || !im.is_finite() {
        return Err(ErrorValue::Num);
    }
    let unit = unit.unwrap_or('i');
    if im == 0.0 {
        return Ok(number::to_text(re).into());
    }
    let imaginary = if im == 1.0 {
        unit.to_string()
    } else if im == -1.0 {
        format!("-{unit}")
    } else {
        format!("{}{unit}", number::to_text(im))
    };
    if re == 0.0 {
        return Ok(imaginary.into());
    }
    let plus = if im > 0.0 { "+" } else { "" };
    Ok(format!("{}{plus}{imaginary}", number::to_text(re)).into())
}

fn complex(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (re, im) = (args[0].number()?, args[1].number()?);
    let unit = match args.get(2) {
        None | Some(Arg::Omitted) => 'i',
        Some(arg) => match arg.text()?.as_ref() {
            "i" => 'i',
            "j" => 'j',
            _ => return Err(ErrorValue::Value),
        },
    };
    show(re, im, Some(unit))
}

fn part(args: &[Arg<'_>], f: fn(&Complex) -> f64) -> Answer {
    Ok(Value::Number(f(&read(&args[0])?)))
}

fn argument(_: &Env, args: &[Arg<'_>]) -> Answer {
    let z = read(&args[0])?;
    if z.re == 0.0 && z.im == 0.0 {
        return Err(ErrorValue::Div0);
    }
    Ok(Value::Number(libm::atan2(z.im, z.re)))
}

fn map(args: &[Arg<'_>], f: fn(&Complex) -> Result<(f64, f64), ErrorValue>) -> Answer {
    let z = read(&args[0])?;
    let (re, im) = f(&z)?;
    show(re, im, z.unit)
}

fn fold(args: &[Arg<'_>], start: (f64, f64), f: fn((f64, f64), &Complex) -> (f64, f64)) -> Answer {
    let (mut sum, mut unit) = (start, None);
    for arg in args {
        for item in arg.grid().items {
            if matches!(arg, Arg::Array(_)) && *item == Value::Blank {
                continue;
            }
            let z = of(item)?;
            unit = unit.or(z.unit);
            sum = f(sum, &z);
        }
    }
    show(sum.0, sum.1, unit)
}

fn divide(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (x, y) = (read(&args[0])?, read(&args[1])?);
    let scale = y.re * y.re + y.im * y.im;
    if scale == 0.0 {
        return Err(ErrorValue::Num);
    }
    show((x.re * y.re + x.im * y.im) / scale, (x.im * y.re - x.re * y.im) / scale, x.unit.or(y.unit))
}

fn logarithm(args: &[Arg<'_>], base: f64) -> Answer {
    let z = read(&args[0])?;
    let size = z.magnitude();
    if size == 0.0 {
        return Err(ErrorValue::Num);
    }
    show(libm::log(size) / base, libm::atan2(z.im, z.re) / base, z.unit)
}

fn raise(args: &[Arg<'_>], power: f64) -> Answer {
    let z = read(&args[0])?;
    let size = z.magnitude();
    if size == 0.0 {
        return if power > 0.0 { Ok("0".into()) } else { Err(ErrorValue::Num) };
    }
    let scale = if power == 0.5 { size.sqrt() } else { libm::pow(size, power) };
    let angle = libm::atan2(z.im, z.re) * power;
    show(scale * libm::cos(angle), scale * libm::sin(angle), z.unit)
}
