//! Probability distributions. The normal quantile is Wichura's AS 241 (relative error about 1e-16).

use super::FunctionInfo;
use crate::number::error;
use crate::value::ErrorValue;

const NUM: f64 = error(ErrorValue::Num);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let one = FunctionInfo::number1;
    let many = FunctionInfo::numbers;
    vec![
        many("BINOM.DIST", 4, 4, binomial, "The binomial distribution."),
        many("BINOMDIST", 4, 4, binomial, "The binomial distribution."),
        many(
            "ERF",
            1,
            2,
            |a| a.get(1).map_or(libm::erf(a[0]), |high| libm::erf(*high) - libm::erf(a[0])),
            "The error function, or its difference between two bounds.",
        ),
        one("ERF.PRECISE", libm::erf, "The error function."),
        one("ERFC", libm::erfc, "The complement of the error function."),
        one("ERFC.PRECISE", libm::erfc, "The complement of the error function."),
        many("EXPON.DIST", 3, 3, exponential, "The exponential distribution."),
        many("EXPONDIST", 3, 3, exponential, "The exponential distribution."),
        one("FISHER", |x| if x.abs() >= 1.0 { NUM } else { libm::atanh(x) }, "The Fisher transformation."),
        one("FISHERINV", libm::tanh, "The inverse of the Fisher transformation."),
        one("GAMMA", gamma, "The gamma function."),
        one(
            "GAMMALN",
            |x| if x <= 0.0 { NUM } else { libm::lgamma(x) },
            "The logarithm of the gamma function.",
        ),
        one(
            "GAMMALN.PRECISE",
            |x| if x <= 0.0 { NUM } else { libm::lgamma(x) },
            "The logarithm of the gamma function.",
        ),
        one("GAUSS", |x| standard(x) - 0.5, "The standard normal distribution less one half."),
        many("LOGNORM.DIST", 4, 4, log_normal, "The lognormal distribution."),
        many("LOGNORM.INV", 3, 3, log_normal_inverse, "The inverse of the lognormal distribution."),
        many("NORM.DIST", 4, 4, normal, "The normal distribution."),
        many(
            "NORM.INV",
            3,
            3,
            |a| if bad(a[0], a[2]) { NUM } else { a[1] + a[2] * quantile(a[0]) },
            "The inverse of the normal distribution.",
        ),
        many(
            "NORM.S.DIST",
            2,
            2,
            |a| if a[1] != 0.0 { standard(a[0]) } else { density(a[0]) },
            "The standard normal distribution.",
        ),
        one(
            "NORM.S.INV",
            |p| if bad(p, 1.0) { NUM } else { quantile(p) },
            "The inverse of the standard normal distribution.",
        ),
        many("NORMDIST", 4, 4, normal, "The normal distribution."),
        many(
            "NORMINV",
            3,
            3,
            |a| if bad(a[0], a[2]) { NUM } else { a[1] + a[2] * quantile(a[0]) },
            "The inverse of the normal distribution.",
        ),
        one("NORMSDIST", standard, "The standard normal distribution."),
        one(
            "NORMSINV",
            |p| if bad(p, 1.0) { NUM } else { quantile(p) },
            "The inverse of the standard normal distribution.",
        ),
        one("PHI", density, "The density of the standard normal distribution."),
        many("POISSON", 3, 3, poisson, "The Poisson distribution."),
        many("POISSON.DIST", 3, 3, poisson, "The Poisson distribution."),
        many(
            "STANDARDIZE",
            3,
            3,
            |a| if a[2] <= 0.0 { NUM } else { (a[0] - a[1]) / a[2] },
            "A value in standard deviations from the mean.",
        ),
        many("WEIBULL", 4, 4, weibull, "The Weibull distribution."),
        many("WEIBULL.DIST", 4, 4, weibull, "The Weibull distribution."),
    ]
}

fn bad(p: f64, deviation: f64) -> bool {
    !(p > 0.0 && p < 1.0) || deviation <= 0.0
}

pub(super) fn standard(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / (2.0 * std::f64::consts::PI).sqrt()
}

fn normal(a: &[f64]) -> f64 {
    if a[2] <= 0.0 {
        return NUM;
    }
    let z = (a[0] - a[1]) / a[2];
    if a[3] != 0.0 { standard(z) } else { density(z) / a[2] }
}

pub(super) fn log_normal(a: &[f64]) -> f64 {
    if a[2] <= 0.0 || a[0] <= 0.0 {
        return NUM;
    }
    let z = (libm::log(a[0]) - a[1]) / a[2];
    if a[3] != 0.0 { standard(z) } else { density(z) / (a[2] * a[0]) }
}

pub(super) fn log_normal_inverse(a: &[f64]) -> f64 {
    if bad(a[0], a[2]) { NUM } else { libm::exp(a[1] + a[2] * quantile(a[0])) }
}

fn exponential(a: &[f64]) -> f64 {
    if a[0] < 0.0 || a[1] <= 0.0 {
        return NUM;
    }
    if a[2] != 0.0 { -libm::expm1(-a[1] * a[0]) } else { a[1] * libm::exp(-a[1] * a[0]) }
}

fn weibull(a: &[f64]) -> f64 {
    let (x, shape, scale) = (a[0], a[1], a[2]);
    if x < 0.0 || shape <= 0.0 || scale <= 0.0 {
        return NUM;
    }
    let power = libm::pow(x / scale, shape);
    if a[3] != 0.0 {
        -libm::expm1(-power)
    } else {
        shape / libm::pow(scale, shape) * libm::pow(x, shape - 1.0) * libm::exp(-power)
    }
}

/// Terms that a cumulative sum may have.
const TERMS: f64 = 100_000.0;

fn poisson(a: &[f64]) -> f64 {
    let (k, mean) = (a[0].trunc(), a[1]);
    if k < 0.0 || mean < 0.0 {
        return NUM;
    }
    let term = |k: f64| {
        if mean == 0.0 {
            return if k == 0.0 { 1.0 } else { 0.0 };
        }
        libm::exp(k * libm::log(mean) - mean - libm::lgamma(k + 1.0))
    };
    if a[2] == 0.0 { term(k) } else { cumulate(k, term) }
}

fn binomial(a: &[f64]) -> f64 {
    let (k, n, p) = (a[0].trunc(), a[1].trunc(), a[2]);
    if k < 0.0 || k > n || !(0.0..=1.0).contains(&p) {
        return NUM;
    }
    let term = |k: f64| {
        if p == 0.0 || p == 1.0 {
            return if k == n * p { 1.0 } else { 0.0 };
        }
        let choose = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
        libm::exp(choose + k * libm::log(p) + (n - k) * libm::log1p(-p))
    };
    if a[3] == 0.0 { term(k) } else { cumulate(k, term) }
}

fn cumulate(k: f64, term: impl Fn(f64) -> f64) -> f64 {
    if k > TERMS {
        return NUM;
    }
    let mut sum = 0.0;
    let mut i = 0.0;
    while i <= k {
        sum += term(i);
        i += 1.0;
    }
    sum.min(1.0)
}

fn gamma(x: f64) -> f64 {
    if x == 0.0 || (x < 0.0 && x.fract() == 0.0) { NUM } else { libm::tgamma(x) }
}

/// The standard normal quantile for 0 < p < 1.
pub(super) fn quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ];
    const B: [f64; 8] = [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_545,
    ];
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_7e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    let ratio = |top: &[f64; 8], bottom: &[f64; 8], r: f64| {
        let horner = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
        horner(top) / horner(bottom)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&A, &B, 0.180_625 - q * q);
    }
    let r = (-libm::log(if q < 0.0 { p } else { 1.0 - p })).sqrt();
    let x = if r <= 5.0 { ratio(&C, &D, r - 1.6) } else { ratio(&E, &F, r - 5.0) };
    if q < 0.0 { -x } else { x }
}
