//! Discrete distributions and hypothesis tests. Source: Microsoft's function reference, "Statistical functions".

use super::argument::{Grid, numbers};
use super::special::{beta, gamma};
use super::{Answer, Arg, Env, FunctionInfo, normal};
use crate::number::error;
use crate::value::{ErrorValue, Value};

const NUM: f64 = error(ErrorValue::Num);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let many = FunctionInfo::numbers;
    let general = FunctionInfo::general;
    vec![
        many("BINOM.DIST.RANGE", 3, 4, binomial_range, "The probability of a range of successes."),
        many("BINOM.INV", 3, 3, binomial_inverse, "The least successes that reach a cumulative probability."),
        general("CHISQ.TEST", 2, 2, chi_test, "The chi-squared test of independence.").all_arrays(),
        general("CHITEST", 2, 2, chi_test, "The chi-squared test of independence.").all_arrays(),
        many("CRITBINOM", 3, 3, binomial_inverse, "The least successes that reach a cumulative probability."),
        general("F.TEST", 2, 2, f_test, "The F test of equal variances.").all_arrays(),
        general("FTEST", 2, 2, f_test, "The F test of equal variances.").all_arrays(),
        many("HYPGEOM.DIST", 5, 5, hypergeometric, "The hypergeometric distribution."),
        many(
            "HYPGEOMDIST",
            4,
            4,
            |a| hypergeometric(&[a[0], a[1], a[2], a[3], 0.0]),
            "The hypergeometric distribution.",
        ),
        many("NEGBINOM.DIST", 4, 4, negative_binomial, "The negative binomial distribution."),
        many(
            "NEGBINOMDIST",
            3,
            3,
            |a| negative_binomial(&[a[0], a[1], a[2], 0.0]),
            "The negative binomial distribution.",
        ),
        general("PROB", 3, 4, probability, "The probability that values lie between two bounds.")
            .arrays(0b11),
        general("T.TEST", 4, 4, t_test, "Student's t test.").arrays(0b11),
        general("TTEST", 4, 4, t_test, "Student's t test.").arrays(0b11),
        general("Z.TEST", 2, 3, z_test, "The one-tailed z test.").arrays(1),
        general("ZTEST", 2, 3, z_test, "The one-tailed z test.").arrays(1),
    ]
}

fn log_choose(n: f64, k: f64) -> f64 {
    libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
}

/// The number of choices, exact while it fits a double.
fn choose(n: f64, k: f64) -> f64 {
    let k = k.min(n - k);
    if k > 60.0 {
        return libm::exp(log_choose(n, k));
    }
    let mut product = 1.0;
    let mut i = 0.0;
    while i < k {
        product = product * (n - i) / (i + 1.0);
        i += 1.0;
    }
    product
}

fn binomial_term(k: f64, n: f64, p: f64) -> f64 {
    if p == 0.0 || p == 1.0 {
        return if k == n * p { 1.0 } else { 0.0 };
    }
    if k.min(n - k) <= 60.0 && n < 1000.0 {
        return choose(n, k) * libm::pow(p, k) * libm::pow(1.0 - p, n - k);
    }
    libm::exp(log_choose(n, k) + k * libm::log(p) + (n - k) * libm::log1p(-p))
}

fn binomial_range(a: &[f64]) -> f64 {
    let (n, p, low) = (a[0].trunc(), a[1], a[2].trunc());
    let high = a.get(3).map_or(low, |x| x.trunc());
    if n < 0.0 || !(0.0..=1.0).contains(&p) || low < 0.0 || low > n || high < low || high > n {
        return NUM;
    }
    if high - low > 100_000.0 {
        return NUM;
    }
    let (mut sum, mut k) = (0.0, low);
    while k <= high {
        sum += binomial_term(k, n, p);
        k += 1.0;
    }
    sum
}

fn binomial_inverse(a: &[f64]) -> f64 {
    let (n, p, wanted) = (a[0].trunc(), a[1], a[2]);
    if n < 0.0 || !(0.0..=1.0).contains(&p) || !(0.0..=1.0).contains(&wanted) || n > 1e9 {
        return NUM;
    }
    if p == 0.0 || p == 1.0 {
        return n * p;
    }
    // The cumulative distribution by the incomplete beta function; the answer by halving.
    let below = |k: f64| if k >= n { 1.0 } else { beta(n - k, k + 1.0, 1.0 - p, p).0 };
    let (mut low, mut high) = (-1.0, n);
    while high - low > 1.0 {
        let middle = (low + (high - low) / 2.0).floor();
        // A sum may miss a bound that it meets exactly by its last bits.
        if below(middle) * (1.0 + 1e-14) >= wanted { high = middle } else { low = middle }
    }
    high
}

fn hypergeometric(a: &[f64]) -> f64 {
    let (k, drawn, marked, all) = (a[0].trunc(), a[1].trunc(), a[2].trunc(), a[3].trunc());
    let valid = k >= 0.0 && all > 0.0 && drawn > 0.0 && drawn <= all && marked > 0.0 && marked <= all;
    if !valid
        || k > drawn.min(marked)
        || (a[4] == 0.0 && k < (drawn - all + marked).max(0.0))
        || k > 100_000.0
    {
        return NUM;
    }
    let term = |k: f64| {
        if k < drawn - all + marked {
            return 0.0;
        }
        if all < 500.0 {
            return choose(marked, k) * choose(all - marked, drawn - k) / choose(all, drawn);
        }
        libm::exp(log_choose(marked, k) + log_choose(all - marked, drawn - k) - log_choose(all, drawn))
    };
    if a[4] == 0.0 {
        return term(k);
    }
    let (mut sum, mut i) = (0.0, 0.0);
    while i <= k {
        sum += term(i);
        i += 1.0;
    }
    sum
}

fn negative_binomial(a: &[f64]) -> f64 {
    let (failures, successes, p) = (a[0].trunc(), a[1].trunc(), a[2]);
    if failures < 0.0 || successes < 1.0 || !(p > 0.0 && p < 1.0) {
        return NUM;
    }
    if a[3] != 0.0 {
        return beta(successes, failures + 1.0, p, 1.0 - p).0;
    }
    let n = failures + successes - 1.0;
    if failures.min(successes) <= 60.0 && n < 1000.0 {
        return choose(n, successes - 1.0) * libm::pow(p, successes) * libm::pow(1.0 - p, failures);
    }
    libm::exp(log_choose(n, successes - 1.0) + successes * libm::log(p) + failures * libm::log1p(-p))
}

fn probability(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (values, chances) = (args[0].grid(), args[1].grid());
    let low = args[2].number()?;
    let high = match args.get(3) {
        None | Some(Arg::Omitted) => low,
        Some(arg) => arg.number()?,
    };
    if values.items.len() != chances.items.len() {
        return Err(ErrorValue::NA);
    }
    let (mut sum, mut whole) = (0.0, 0.0);
    for (value, chance) in values.items.iter().zip(chances.items) {
        let (x, p) = (value.to_number()?, chance.to_number()?);
        if !(0.0..=1.0).contains(&p) {
            return Err(ErrorValue::Num);
        }
        whole += p;
        if (low..=high).contains(&x) {
            sum += p;
        }
    }
    if (whole - 1.0_f64).abs() > 1e-7 { Err(ErrorValue::Num) } else { Ok(Value::Number(sum)) }
}

fn chi_test(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (actual, expected): (Grid<'_>, Grid<'_>) = (args[0].grid(), args[1].grid());
    if (actual.rows, actual.columns) != (expected.rows, expected.columns) || actual.items.len() < 2 {
        return Err(ErrorValue::NA);
    }
    let mut sum = 0.0;
    for (a, e) in actual.items.iter().zip(expected.items) {
        match (a, e) {
            (Value::Error(e), _) | (_, Value::Error(e)) => return Err(*e),
            (Value::Number(a), Value::Number(e)) => {
                if *e == 0.0 {
                    return Err(ErrorValue::Div0);
                }
                if *e < 0.0 {
                    return Err(ErrorValue::Num);
                }
                sum += (a - e) * (a - e) / e;
            }
            _ => {}
        }
    }
    let lines = |n: usize| (n as f64 - 1.0).max(1.0);
    let degrees = if actual.rows > 1 && actual.columns > 1 {
        lines(actual.rows) * lines(actual.columns)
    } else {
        lines(actual.items.len())
    };
    Ok(Value::Number(gamma(degrees / 2.0, sum / 2.0).1))
}

/// The count, the mean and the variance of a sample.
fn sample(arg: &Arg<'_>) -> Result<(f64, f64, f64), ErrorValue> {
    let list = numbers(std::slice::from_ref(arg))?;
    let n = list.len() as f64;
    if list.len() < 2 {
        return Err(ErrorValue::Div0);
    }
    let mean = list.iter().fold(0.0, |sum, x| sum + x) / n;
    let squares = list.iter().fold(0.0, |sum, x| sum + (x - mean) * (x - mean));
    Ok((n, mean, squares / (n - 1.0)))
}

fn f_test(_: &Env, args: &[Arg<'_>]) -> Answer {
    let ((n1, _, v1), (n2, _, v2)) = (sample(&args[0])?, sample(&args[1])?);
    if v1 == 0.0 || v2 == 0.0 {
        return Err(ErrorValue::Div0);
    }
    let (d1, d2) = (n1 - 1.0, n2 - 1.0);
    let x = v1 / v2;
    let whole = d1 * x + d2;
    let (below, above) = beta(d1 / 2.0, d2 / 2.0, d1 * x / whole, d2 / whole);
    Ok(Value::Number(2.0 * below.min(above)))
}

fn t_test(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (tails, kind) = (args[2].number()?.trunc(), args[3].number()?.trunc());
    if !(tails == 1.0 || tails == 2.0) || !(1.0..=3.0).contains(&kind) {
        return Err(ErrorValue::Num);
    }
    let (t, degrees) = if kind == 1.0 {
        let (a, b) = (args[0].grid(), args[1].grid());
        if a.items.len() != b.items.len() {
            return Err(ErrorValue::NA);
        }
        let mut list = Vec::new();
        for pair in a.items.iter().zip(b.items) {
            match pair {
                (Value::Error(e), _) | (_, Value::Error(e)) => return Err(*e),
                (Value::Number(x), Value::Number(y)) => list.push(x - y),
                _ => {}
            }
        }
        let n = list.len() as f64;
        let mean = list.iter().fold(0.0, |sum, x| sum + x) / n;
        let squares = list.iter().fold(0.0, |sum, x| sum + (x - mean) * (x - mean));
        let variance = squares / (n - 1.0);
        if n < 2.0 || variance == 0.0 {
            return Err(ErrorValue::Div0);
        }
        (mean / (variance / n).sqrt(), n - 1.0)
    } else {
        let ((n1, m1, v1), (n2, m2, v2)) = (sample(&args[0])?, sample(&args[1])?);
        if v1 == 0.0 && v2 == 0.0 {
            return Err(ErrorValue::Div0);
        }
        if kind == 2.0 {
            let pooled = ((n1 - 1.0) * v1 + (n2 - 1.0) * v2) / (n1 + n2 - 2.0);
            ((m1 - m2) / (pooled * (1.0 / n1 + 1.0 / n2)).sqrt(), n1 + n2 - 2.0)
        } else {
            let (s1, s2) = (v1 / n1, v2 / n2);
            let degrees = (s1 + s2) * (s1 + s2) / (s1 * s1 / (n1 - 1.0) + s2 * s2 / (n2 - 1.0));
            ((m1 - m2) / (s1 + s2).sqrt(), degrees)
        }
    };
    // Welch's degrees of freedom are no whole number, and stay so.
    let whole = degrees + t * t;
    Ok(Value::Number(tails * 0.5 * beta(degrees / 2.0, 0.5, degrees / whole, t * t / whole).0))
}

fn z_test(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers(&args[..1])?;
    if list.is_empty() {
        return Err(ErrorValue::NA);
    }
    let n = list.len() as f64;
    let mean = list.iter().fold(0.0, |sum, x| sum + x) / n;
    let deviation = match args.get(2) {
        None | Some(Arg::Omitted) => sample(&args[0])?.2.sqrt(),
        Some(arg) => arg.number()?,
    };
    if deviation == 0.0 {
        return Err(ErrorValue::Div0);
    }
    if deviation < 0.0 {
        return Err(ErrorValue::Num);
    }
    Ok(Value::Number(1.0 - normal::standard((mean - args[1].number()?) / (deviation / n.sqrt()))))
}
