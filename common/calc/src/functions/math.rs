//! Numbers from numbers. Every transcendental function comes from one portable library, so that a record gives the same bits
//! on every machine.

use super::{Answer, Arg, Env, FunctionInfo, Kernel};
use crate::number::{self, error};
use crate::value::{ErrorValue, Value};

const NUM: f64 = error(ErrorValue::Num);
const DIV0: f64 = error(ErrorValue::Div0);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let one = FunctionInfo::number1;
    let two = FunctionInfo::number2;
    let many = FunctionInfo::numbers;
    let general = FunctionInfo::general;
    vec![
        one("ABS", f64::abs, "The magnitude of a number.").kernel(Kernel::Abs),
        one("ACOS", libm::acos, "The angle of a cosine."),
        one("ACOSH", libm::acosh, "The inverse hyperbolic cosine."),
        one("ACOT", |x| std::f64::consts::FRAC_PI_2 - libm::atan(x), "The angle of a cotangent."),
        one("ASIN", libm::asin, "The angle of a sine."),
        one("ASINH", libm::asinh, "The inverse hyperbolic sine."),
        one(
            "ACOTH",
            |x| if x.abs() <= 1.0 { NUM } else { libm::atanh(1.0 / x) },
            "The inverse hyperbolic cotangent.",
        ),
        one("ATAN", libm::atan, "The angle of a tangent."),
        two("ATAN2", atan2, "The angle of a point."),
        one("ATANH", libm::atanh, "The inverse hyperbolic tangent."),
        two("CEILING", ceiling, "The next multiple away from zero, or upwards."),
        many("CEILING.MATH", 1, 3, ceiling_math, "The next multiple upwards."),
        many("CEILING.PRECISE", 1, 2, |a| ceiling_math(&a[..a.len().min(2)]), "The next multiple upwards."),
        two("COMBIN", combin, "In how many ways some of a number of things can be chosen."),
        two(
            "COMBINA",
            |n, k| if n == 0.0 && k == 0.0 { 1.0 } else { combin(n.trunc() + k.trunc() - 1.0, k) },
            "Combinations with repetition.",
        ),
        one("COS", libm::cos, "The cosine of an angle."),
        one("COSH", libm::cosh, "The hyperbolic cosine."),
        one("COT", |x| reciprocal(libm::tan(x)), "The cotangent of an angle."),
        one("COTH", |x| reciprocal(libm::tanh(x)), "The hyperbolic cotangent."),
        one("CSCH", |x| reciprocal(libm::sinh(x)), "The hyperbolic cosecant."),
        one("CSC", |x| reciprocal(libm::sin(x)), "The cosecant of an angle."),
        one("DEGREES", |x| x * (180.0 / std::f64::consts::PI), "Radians as degrees."),
        one("EVEN", even, "The next even number away from zero."),
        one("EXP", libm::exp, "e to a power."),
        one("FACT", fact, "The factorial."),
        one("FACTDOUBLE", fact_double, "The double factorial."),
        two("FLOOR", floor, "The next multiple towards zero, or downwards."),
        many("FLOOR.MATH", 1, 3, floor_math, "The next multiple downwards."),
        many("FLOOR.PRECISE", 1, 2, |a| floor_math(&a[..a.len().min(2)]), "The next multiple downwards."),
        general("GCD", 1, 255, gcd, "The greatest common divisor.").all_arrays(),
        one("INT", number::floor, "The whole number below.").kernel(Kernel::Int),
        many("ISO.CEILING", 1, 2, |a| ceiling_math(&a[..a.len().min(2)]), "The next multiple upwards."),
        general("LCM", 1, 255, lcm, "The least common multiple.").all_arrays(),
        one("LN", |x| if x <= 0.0 { NUM } else { libm::log(x) }, "The natural logarithm."),
        many("LOG", 1, 2, log, "The logarithm to a base, 10 if none is given."),
        one("LOG10", |x| if x <= 0.0 { NUM } else { libm::log10(x) }, "The logarithm to base 10."),
        two("MOD", modulo, "The rest of a division, with the divisor's sign.")
            .note("quotients from 1.1259E12 on are #NUM!, as in Excel 2010 and later"),
        two("MROUND", mround, "The nearest multiple."),
        general("MULTINOMIAL", 1, 255, multinomial, "The factorial of a sum by the factorials of its parts.")
            .all_arrays(),
        one("ODD", odd, "The next odd number away from zero."),
        general("PI", 0, 0, |_, _| Ok(Value::Number(std::f64::consts::PI)), "The number π."),
        two("PERMUT", permut, "In how many orders some of a number of things can be chosen."),
        two("PERMUTATIONA", |n, k| permutation_a(n.trunc(), k.trunc()), "Permutations with repetition."),
        two("POWER", crate::program::power, "A number to a power."),
        two(
            "QUOTIENT",
            |a, b| if b == 0.0 { DIV0 } else { (a / b).trunc() },
            "The whole part of a division.",
        ),
        one("RADIANS", |x| x * (std::f64::consts::PI / 180.0), "Degrees as radians."),
        two("ROUND", number::round, "To a number of digits, halves away from zero.").kernel(Kernel::Round),
        two("ROUNDDOWN", number::round_down, "To a number of digits, towards zero.")
            .kernel(Kernel::RoundDown),
        two("ROUNDUP", number::round_up, "To a number of digits, away from zero.").kernel(Kernel::RoundUp),
        one("SEC", |x| reciprocal(libm::cos(x)), "The secant of an angle."),
        one("SECH", |x| reciprocal(libm::cosh(x)), "The hyperbolic secant."),
        general("SERIESSUM", 4, 4, series_sum, "The sum of a power series.").arrays(0b1000),
        one(
            "SIGN",
            |x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            },
            "1, 0 or −1.",
        ),
        one("SIN", libm::sin, "The sine of an angle."),
        one("SINH", libm::sinh, "The hyperbolic sine."),
        one("SQRT", |x| if x < 0.0 { NUM } else { x.sqrt() }, "The square root.").kernel(Kernel::Sqrt),
        one(
            "SQRTPI",
            |x| if x < 0.0 { NUM } else { (x * std::f64::consts::PI).sqrt() },
            "The square root of a multiple of π.",
        ),
        one("TAN", libm::tan, "The tangent of an angle."),
        one("TANH", libm::tanh, "The hyperbolic tangent."),
        many(
            "TRUNC",
            1,
            2,
            |a| number::round_down(a[0], a.get(1).copied().unwrap_or(0.0).trunc()),
            "A number cut to a number of digits.",
        )
        .kernel(Kernel::RoundDown),
    ]
}

fn reciprocal(x: f64) -> f64 {
    if x == 0.0 { DIV0 } else { 1.0 / x }
}

fn atan2(x: f64, y: f64) -> f64 {
    if x == 0.0 && y == 0.0 { DIV0 } else { libm::atan2(y + 0.0, x + 0.0) }
}

/// Count the steps of a significance in a number, on the decimal value as rounding sees it.
fn steps(x: f64, step: f64) -> f64 {
    let ratio = x / step;
    let nearest = ratio.round();
    // 15 digits decide whether the number is a multiple.
    if (ratio - nearest).abs() <= ratio.abs() * 5e-15 { nearest } else { ratio }
}

fn ceiling(x: f64, step: f64) -> f64 {
    if x > 0.0 && step < 0.0 {
        return NUM;
    }
    if x == 0.0 || step == 0.0 {
        return 0.0;
    }
    steps(x, step).ceil() * step
}

fn floor(x: f64, step: f64) -> f64 {
    if x > 0.0 && step < 0.0 {
        return NUM;
    }
    if x == 0.0 {
        return 0.0;
    }
    if step == 0.0 {
        return DIV0;
    }
    steps(x, step).floor() * step
}

fn ceiling_math(args: &[f64]) -> f64 {
    let (x, step) = (args[0], args.get(1).copied().unwrap_or(1.0).abs());
    let away = args.get(2).is_some_and(|mode| *mode != 0.0);
    if x == 0.0 || step == 0.0 {
        return 0.0;
    }
    let count = steps(x, step);
    (if away && x < 0.0 { count.floor() } else { count.ceil() }) * step
}

fn floor_math(args: &[f64]) -> f64 {
    let (x, step) = (args[0], args.get(1).copied().unwrap_or(1.0).abs());
    let towards = args.get(2).is_some_and(|mode| *mode != 0.0);
    if x == 0.0 || step == 0.0 {
        return 0.0;
    }
    let count = steps(x, step);
    (if towards && x < 0.0 { count.ceil() } else { count.floor() }) * step
}

fn mround(x: f64, step: f64) -> f64 {
    if step == 0.0 || x == 0.0 {
        return 0.0;
    }
    if (x < 0.0) != (step < 0.0) {
        return NUM;
    }
    // By the binary quotient: MROUND(6.05,0.1) is 6.0. Source: Microsoft Support, MROUND, Known limitations.
    (x / step).round() * step
}

fn even(x: f64) -> f64 {
    (number::ceil(x.abs() / 2.0) * 2.0).copysign(x)
}

fn odd(x: f64) -> f64 {
    let magnitude = number::ceil((x.abs() - 1.0) / 2.0).max(0.0) * 2.0 + 1.0;
    if x < 0.0 { -magnitude } else { magnitude }
}

fn modulo(x: f64, by: f64) -> f64 {
    if by == 0.0 {
        return DIV0;
    }
    // Excel refuses quotients beyond about 2^40; far beyond, the rest has no meaning in a double either.
    if (x / by).abs() >= 1_125_900_000_000.0 {
        return NUM;
    }
    let rest = libm::fmod(x, by);
    if rest != 0.0 && (rest < 0.0) != (by < 0.0) { rest + by } else { rest }
}

fn log(args: &[f64]) -> f64 {
    let base = args.get(1).copied().unwrap_or(10.0);
    if args[0] <= 0.0 || base <= 0.0 {
        return NUM;
    }
    if base == 1.0 {
        return DIV0;
    }
    if base == 10.0 {
        return libm::log10(args[0]);
    }
    if base == 2.0 {
        return libm::log2(args[0]);
    }
    libm::log(args[0]) / libm::log(base)
}

fn fact(x: f64) -> f64 {
    let n = x.trunc();
    if !(0.0..=170.0).contains(&n) {
        return NUM;
    }
    (2..=n as u32).fold(1.0, |product, i| product * f64::from(i))
}

fn fact_double(x: f64) -> f64 {
    let n = x.trunc();
    if !(-1.0..=300.0).contains(&n) {
        return NUM;
    }
    let mut product = 1.0;
    let mut i = n;
    while i > 1.0 {
        product *= i;
        i -= 2.0;
    }
    product
}

fn combin(n: f64, k: f64) -> f64 {
    let (n, k) = (n.trunc(), k.trunc());
    if n < 0.0 || k < 0.0 || n < k {
        return NUM;
    }
    let k = k.min(n - k);
    // More than 1,100 factors of at least 2 exceed every double.
    if k > 1_100.0 {
        return NUM;
    }
    let mut product = 1.0;
    for i in 0..k as u32 {
        product = product * (n - f64::from(i)) / (f64::from(i) + 1.0);
    }
    if product < 1e15 { product.round() } else { product }
}

/// The whole numbers of the arguments of `GCD` and `LCM`.
fn whole_numbers(args: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let list: Vec<f64> = super::argument::numbers(args)?.into_iter().map(f64::trunc).collect();
    if list.iter().any(|x| *x < 0.0 || *x >= 9_007_199_254_740_992.0) {
        Err(ErrorValue::Num)
    } else {
        Ok(list)
    }
}

fn divisor(mut a: f64, mut b: f64) -> f64 {
    while b != 0.0 {
        (a, b) = (b, libm::fmod(a, b));
    }
    a
}

fn gcd(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Number(whole_numbers(args)?.into_iter().fold(0.0, divisor)))
}

fn lcm(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut result = 1.0;
    for x in whole_numbers(args)? {
        if x == 0.0 {
            return Ok(Value::Number(0.0));
        }
        result = result / divisor(result, x) * x;
        if result >= 9_007_199_254_740_992.0 {
            return Err(ErrorValue::Num);
        }
    }
    Ok(Value::Number(result))
}

fn multinomial(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = whole_numbers(args)?;
    let (mut sum, mut product) = (0.0, 1.0);
    for n in list {
        sum += n;
        product *= combin(sum, n);
    }
    Ok(Value::Number(if product < 1e15 { product.round() } else { product }))
}

fn permut(n: f64, k: f64) -> f64 {
    let (n, k) = (n.trunc(), k.trunc());
    if n <= 0.0 || k < 0.0 || n < k {
        return NUM;
    }
    let (mut product, mut i) = (1.0, 0.0);
    while i < k && product < f64::INFINITY {
        product *= n - i;
        i += 1.0;
    }
    product
}

fn permutation_a(n: f64, k: f64) -> f64 {
    if n < 0.0 || k < 0.0 || (n == 0.0 && k > 0.0) { NUM } else { libm::pow(n, k) }
}

fn series_sum(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (x, n, m) = (args[0].number()?, args[1].number()?, args[2].number()?);
    let (mut sum, mut power) = (0.0, n);
    for a in super::argument::numbers(&args[3..])? {
        sum += a * if power == 0.0 { 1.0 } else { libm::pow(x, power) };
        power += m;
    }
    Ok(Value::Number(sum))
}
