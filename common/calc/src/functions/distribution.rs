//! Distributions built on the incomplete gamma and beta functions, and their inverses. Source: Microsoft's function reference,
//! "Statistical functions"; the definitions are the textbook ones.

use super::special::{beta, beta_density, gamma, gamma_density, positive_root, root};
use super::{FunctionInfo, normal};
use crate::number::error;
use crate::value::ErrorValue;

const NUM: f64 = error(ErrorValue::Num);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let many = FunctionInfo::numbers;
    let two = FunctionInfo::number2;
    vec![
        many("BETA.DIST", 4, 6, beta_dist, "The beta distribution."),
        many("BETA.INV", 3, 5, beta_inverse, "The inverse of the beta distribution."),
        many(
            "BETADIST",
            3,
            5,
            |a| beta_dist(&[a[0], a[1], a[2], 1.0, at(a, 3, 0.0), at(a, 4, 1.0)]),
            "The beta distribution.",
        ),
        many("BETAINV", 3, 5, beta_inverse, "The inverse of the beta distribution."),
        two("CHIDIST", chi_right, "The upper tail of the chi-squared distribution."),
        two("CHIINV", chi_right_inverse, "The inverse of the upper tail of the chi-squared distribution."),
        many("CHISQ.DIST", 3, 3, chi_dist, "The chi-squared distribution."),
        two("CHISQ.DIST.RT", chi_right, "The upper tail of the chi-squared distribution."),
        two("CHISQ.INV", chi_inverse, "The inverse of the chi-squared distribution."),
        two(
            "CHISQ.INV.RT",
            chi_right_inverse,
            "The inverse of the upper tail of the chi-squared distribution.",
        ),
        many("CONFIDENCE", 3, 3, confidence_normal, "Half the width of a confidence interval."),
        many("CONFIDENCE.NORM", 3, 3, confidence_normal, "Half the width of a confidence interval."),
        many("CONFIDENCE.T", 3, 3, confidence_t, "Half the width of a confidence interval, by Student's t."),
        many("F.DIST", 4, 4, f_dist, "The F distribution."),
        many("F.DIST.RT", 3, 3, f_right, "The upper tail of the F distribution."),
        many("F.INV", 3, 3, |a| f_inverse(a, false), "The inverse of the F distribution."),
        many(
            "F.INV.RT",
            3,
            3,
            |a| f_inverse(a, true),
            "The inverse of the upper tail of the F distribution.",
        ),
        many("FDIST", 3, 3, f_right, "The upper tail of the F distribution."),
        many("FINV", 3, 3, |a| f_inverse(a, true), "The inverse of the upper tail of the F distribution."),
        many("GAMMA.DIST", 4, 4, gamma_dist, "The gamma distribution."),
        many("GAMMA.INV", 3, 3, gamma_inverse, "The inverse of the gamma distribution."),
        many("GAMMADIST", 4, 4, gamma_dist, "The gamma distribution."),
        many("GAMMAINV", 3, 3, gamma_inverse, "The inverse of the gamma distribution."),
        many("LOGINV", 3, 3, normal::log_normal_inverse, "The inverse of the lognormal distribution."),
        many(
            "LOGNORMDIST",
            3,
            3,
            |a| normal::log_normal(&[a[0], a[1], a[2], 1.0]),
            "The lognormal distribution.",
        ),
        many("T.DIST", 3, 3, t_dist, "Student's t distribution."),
        two("T.DIST.2T", |x, n| if x < 0.0 { NUM } else { t_tails(x, n, 2.0) }, "Both tails of Student's t."),
        two("T.DIST.RT", t_right, "The upper tail of Student's t distribution."),
        two("T.INV", t_inverse, "The inverse of Student's t distribution.")
            .note("within a few of the last bits"),
        two("T.INV.2T", t_two_inverse, "The inverse of both tails of Student's t distribution."),
        many(
            "TDIST",
            3,
            3,
            |a| {
                let tails = a[2].trunc();
                if a[0] < 0.0 || !(tails == 1.0 || tails == 2.0) { NUM } else { t_tails(a[0], a[1], tails) }
            },
            "One or both tails of Student's t distribution.",
        ),
        two("TINV", t_two_inverse, "The inverse of both tails of Student's t distribution."),
    ]
}

fn at(args: &[f64], index: usize, default: f64) -> f64 {
    args.get(index).copied().unwrap_or(default)
}

fn beta_dist(a: &[f64]) -> f64 {
    let (low, high) = (at(a, 4, 0.0), at(a, 5, 1.0));
    if a[1] <= 0.0 || a[2] <= 0.0 || a[0] < low || a[0] > high || low == high {
        return NUM;
    }
    let (x, y) = ((a[0] - low) / (high - low), (high - a[0]) / (high - low));
    if a[3] != 0.0 {
        return beta(a[1], a[2], x, y).0;
    }
    if (x == 0.0 && a[1] < 1.0) || (y == 0.0 && a[2] < 1.0) {
        return NUM;
    }
    let density = if x == 0.0 {
        if a[1] == 1.0 { a[2] } else { 0.0 }
    } else if y == 0.0 {
        if a[2] == 1.0 { a[1] } else { 0.0 }
    } else {
        beta_density(a[1], a[2], x)
    };
    density / (high - low)
}

fn beta_inverse(a: &[f64]) -> f64 {
    let (p, low, high) = (a[0], at(a, 3, 0.0), at(a, 4, 1.0));
    if a[1] <= 0.0 || a[2] <= 0.0 || !(p > 0.0 && p <= 1.0) || low >= high {
        return NUM;
    }
    if p == 1.0 {
        return high;
    }
    low + (high - low) * root(0.0, 1.0, |x| beta(a[1], a[2], x, 1.0 - x).0 - p)
}

/// Degrees of freedom as Excel reads them, or `None` outside 1 to 10^10.
fn degrees(n: f64) -> Option<f64> {
    let n = n.trunc();
    (1.0..=1e10).contains(&n).then_some(n)
}

fn chi_dist(a: &[f64]) -> f64 {
    let Some(n) = degrees(a[1]).filter(|_| a[0] >= 0.0) else { return NUM };
    if a[2] != 0.0 {
        return gamma(n / 2.0, a[0] / 2.0).0;
    }
    if a[0] == 0.0 {
        return if n < 2.0 {
            NUM
        } else if n == 2.0 {
            0.5
        } else {
            0.0
        };
    }
    gamma_density(n / 2.0, a[0] / 2.0) / 2.0
}

fn chi_right(x: f64, n: f64) -> f64 {
    match degrees(n) {
        Some(n) if x >= 0.0 => gamma(n / 2.0, x / 2.0).1,
        _ => NUM,
    }
}

fn chi_inverse(p: f64, n: f64) -> f64 {
    match degrees(n) {
        Some(n) if (0.0..1.0).contains(&p) => 2.0 * gamma_quantile(p, n / 2.0, false),
        _ => NUM,
    }
}

fn chi_right_inverse(p: f64, n: f64) -> f64 {
    match degrees(n) {
        Some(n) if p > 0.0 && p <= 1.0 => 2.0 * gamma_quantile(p, n / 2.0, true),
        _ => NUM,
    }
}

/// Where the gamma distribution with scale 1 has a part of its mass below, or above.
fn gamma_quantile(p: f64, shape: f64, upper: bool) -> f64 {
    if (p == 0.0 && !upper) || (p == 1.0 && upper) {
        return 0.0;
    }
    if upper {
        positive_root(|x| p - gamma(shape, x).1)
    } else if p > 0.9 {
        positive_root(|x| (1.0 - p) - gamma(shape, x).1)
    } else {
        positive_root(|x| gamma(shape, x).0 - p)
    }
}

fn gamma_dist(a: &[f64]) -> f64 {
    if a[0] < 0.0 || a[1] <= 0.0 || a[2] <= 0.0 {
        return NUM;
    }
    if a[3] != 0.0 {
        return gamma(a[1], a[0] / a[2]).0;
    }
    if a[0] == 0.0 {
        return if a[1] < 1.0 {
            NUM
        } else if a[1] == 1.0 {
            1.0 / a[2]
        } else {
            0.0
        };
    }
    gamma_density(a[1], a[0] / a[2]) / a[2]
}

fn gamma_inverse(a: &[f64]) -> f64 {
    if !(0.0..1.0).contains(&a[0]) || a[1] <= 0.0 || a[2] <= 0.0 {
        return NUM;
    }
    a[2] * gamma_quantile(a[0], a[1], false)
}

/// Both tails of the F distribution: below and above x.
fn f_parts(x: f64, d1: f64, d2: f64) -> (f64, f64) {
    let whole = d1 * x + d2;
    beta(d1 / 2.0, d2 / 2.0, d1 * x / whole, d2 / whole)
}

fn f_dist(a: &[f64]) -> f64 {
    let (Some(d1), Some(d2)) = (degrees(a[1]), degrees(a[2])) else { return NUM };
    let x = a[0];
    if x < 0.0 {
        return NUM;
    }
    if a[3] != 0.0 {
        return f_parts(x, d1, d2).0;
    }
    if x == 0.0 {
        return if d1 < 2.0 {
            NUM
        } else if d1 == 2.0 {
            1.0
        } else {
            0.0
        };
    }
    let whole = d1 * x + d2;
    beta_density(d1 / 2.0, d2 / 2.0, d1 * x / whole) * d1 * d2 / (whole * whole)
}

fn f_right(a: &[f64]) -> f64 {
    match (degrees(a[1]), degrees(a[2])) {
        (Some(d1), Some(d2)) if a[0] >= 0.0 => f_parts(a[0], d1, d2).1,
        _ => NUM,
    }
}

fn f_inverse(a: &[f64], upper: bool) -> f64 {
    let (Some(d1), Some(d2)) = (degrees(a[1]), degrees(a[2])) else { return NUM };
    let p = a[0];
    let valid = if upper { p > 0.0 && p <= 1.0 } else { (0.0..1.0).contains(&p) };
    if !valid {
        return NUM;
    }
    if (upper && p == 1.0) || (!upper && p == 0.0) {
        return 0.0;
    }
    if upper {
        positive_root(|x| p - f_parts(x, d1, d2).1)
    } else {
        positive_root(|x| f_parts(x, d1, d2).0 - p)
    }
}

/// One or both tails of Student's t beyond x ≥ 0.
fn t_tails(x: f64, n: f64, tails: f64) -> f64 {
    let Some(n) = degrees(n) else { return NUM };
    let whole = n + x * x;
    tails * 0.5 * beta(n / 2.0, 0.5, n / whole, x * x / whole).0
}

fn t_right(x: f64, n: f64) -> f64 {
    let tail = t_tails(x.abs(), n, 1.0);
    if x < 0.0 { 1.0 - tail } else { tail }
}

fn t_dist(a: &[f64]) -> f64 {
    let Some(n) = degrees(a[1]) else { return NUM };
    if a[2] != 0.0 {
        return t_right(-a[0], n);
    }
    let scale = if n < 150.0 {
        libm::tgamma((n + 1.0) / 2.0) / libm::tgamma(n / 2.0)
    } else {
        libm::exp(libm::lgamma((n + 1.0) / 2.0) - libm::lgamma(n / 2.0))
    };
    let power = libm::exp(-(n + 1.0) / 2.0 * libm::log1p(a[0] * a[0] / n));
    scale / (n * std::f64::consts::PI).sqrt() * power
}

fn t_two_inverse(p: f64, n: f64) -> f64 {
    let Some(n) = degrees(n) else { return NUM };
    if !(p > 0.0 && p <= 1.0) {
        return NUM;
    }
    if p == 1.0 { 0.0 } else { positive_root(|x| p - t_tails(x, n, 2.0)) }
}

fn t_inverse(p: f64, n: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return NUM;
    }
    if p < 0.5 { -t_two_inverse(2.0 * p, n) } else { t_two_inverse(2.0 * (1.0 - p), n) }
}

fn confidence_normal(a: &[f64]) -> f64 {
    let size = a[2].trunc();
    if !(a[0] > 0.0 && a[0] < 1.0) || a[1] <= 0.0 || size < 1.0 {
        return NUM;
    }
    -normal::quantile(a[0] / 2.0) * a[1] / size.sqrt()
}

fn confidence_t(a: &[f64]) -> f64 {
    let size = a[2].trunc();
    if !(a[0] > 0.0 && a[0] < 1.0) || a[1] <= 0.0 || size < 1.0 {
        return NUM;
    }
    if size == 1.0 {
        return error(ErrorValue::Div0);
    }
    t_two_inverse(a[0], size - 1.0) * a[1] / size.sqrt()
}
