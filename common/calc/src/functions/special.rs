//! The incomplete gamma and beta functions and their inverses. Source: DLMF 8.11, 8.17; Lentz's continued fractions.

/// Steps that a series or a continued fraction may take.
const STEPS: u32 = 20_000;
const TINY: f64 = 1e-300;
const EXACT: f64 = 1e-16;

/// The regularised lower and upper incomplete gamma functions P(a, x) and Q(a, x), a > 0, x ≥ 0.
pub(super) fn gamma(a: f64, x: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    if x.is_infinite() {
        return (1.0, 0.0);
    }
    let scale = gamma_density(a, x) * x;
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..STEPS {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * EXACT {
                break;
            }
        }
        let p = (sum * scale).min(1.0);
        return (p, 1.0 - p);
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..STEPS {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.0;
        d = 1.0 / apart(an * d + b);
        c = apart(b + an / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < EXACT * 4.0 {
            break;
        }
    }
    let q = (h * scale).min(1.0);
    (1.0 - q, q)
}

/// The density of the gamma distribution with scale 1: x^(a−1) e^−x / Γ(a).
pub(super) fn gamma_density(a: f64, x: f64) -> f64 {
    if a < 100.0 && x < 500.0 && x > 1e-200 {
        return libm::pow(x, a - 1.0) * libm::exp(-x) / libm::tgamma(a);
    }
    libm::exp((a - 1.0) * libm::log(x) - x - libm::lgamma(a))
}

fn apart(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

/// 1 / B(a, b).
fn beta_scale(a: f64, b: f64) -> f64 {
    if a + b < 100.0 {
        libm::tgamma(a + b) / (libm::tgamma(a) * libm::tgamma(b))
    } else {
        libm::exp(libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b))
    }
}

/// The density of the beta distribution on 0 to 1.
pub(super) fn beta_density(a: f64, b: f64, x: f64) -> f64 {
    beta_scale(a, b) * libm::exp((a - 1.0) * libm::log(x) + (b - 1.0) * libm::log1p(-x))
}

/// The regularised incomplete beta function and its complement, for x and y = 1 − x given apart so that neither loses digits.
pub(super) fn beta(a: f64, b: f64, x: f64, y: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    if y <= 0.0 {
        return (1.0, 0.0);
    }
    let log_y = if x < 0.5 { libm::log1p(-x) } else { libm::log(y) };
    let log_x = if y < 0.5 { libm::log1p(-y) } else { libm::log(x) };
    let scale = beta_scale(a, b) * libm::exp(a * log_x + b * log_y);
    if x < (a + 1.0) / (a + b + 2.0) {
        let p = (scale * fraction(a, b, x) / a).min(1.0);
        (p, 1.0 - p)
    } else {
        let q = (scale * fraction(b, a, y) / b).min(1.0);
        (1.0 - q, q)
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / apart(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..STEPS {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / apart(1.0 + even * d);
        c = apart(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / apart(1.0 + odd * d);
        c = apart(1.0 + odd / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < EXACT * 4.0 {
            break;
        }
    }
    h
}

/// The place between two bounds where a rising function passes 0, to the last bit: by halving, after a few secants.
pub(super) fn root(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut below, mut above) = (f(low), f(high));
    let mut stuck = 0;
    for step in 0..400 {
        let half = low + (high - low) / 2.0;
        if half <= low || half >= high {
            break;
        }
        // A secant where both ends are finite; every third step halves, so that the bracket shrinks whatever happens.
        let secant = low - below * (high - low) / (above - below);
        let next = if step % 3 == 2 || stuck > 1 || !(secant > low && secant < high) { half } else { secant };
        let value = f(next);
        if value == 0.0 {
            return next;
        }
        if value < 0.0 {
            stuck = if below == value { stuck + 1 } else { 0 };
            (low, below) = (next, value);
        } else {
            stuck = if above == value { stuck + 1 } else { 0 };
            (high, above) = (next, value);
        }
    }
    if below.abs() < above.abs() { low } else { high }
}

/// The same between 0 and infinity.
pub(super) fn positive_root(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while f(high) < 0.0 {
        low = high;
        high *= 4.0;
        if high > 1e300 {
            return f64::INFINITY;
        }
    }
    if low == 0.0 {
        low = high;
        while f(low) > 0.0 {
            high = low;
            low /= 16.0;
            if low < 1e-300 {
                return 0.0;
            }
        }
    }
    root(low, high, f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Mathematica: GammaRegularized[2.5, 0, 1.5], BetaRegularized[0.3, 2, 3]; the latter is a polynomial.
        assert!((gamma(1.0, 2.0).0 - (1.0 - (-2.0_f64).exp())).abs() < 1e-15);
        assert!((gamma(0.5, 1.0).0 - 0.842_700_792_949_714_9).abs() < 1e-15);
        assert!((beta(2.0, 3.0, 0.3, 0.7).0 - 0.3483).abs() < 1e-15);
        assert!((root(0.0, 2.0, |x| x * x - 2.0) - std::f64::consts::SQRT_2).abs() < 1e-15);
    }
}
