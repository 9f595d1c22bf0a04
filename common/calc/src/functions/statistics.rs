//! Deviations, means and lines.

use super::argument::numbers;
use super::{Answer, Arg, Env, FunctionInfo};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("AVEDEV", 1, 255, average_deviation, "The mean distance from the mean.").all_arrays(),
        general("CORREL", 2, 2, |_, a| line(a, Line::correlation), "The correlation of two rows of numbers.")
            .all_arrays(),
        general("COVAR", 2, 2, |_, a| line(a, |l| ratio(l.xy, l.n)), "The covariance of a population.")
            .all_arrays(),
        general(
            "COVARIANCE.P",
            2,
            2,
            |_, a| line(a, |l| ratio(l.xy, l.n)),
            "The covariance of a population.",
        )
        .all_arrays(),
        general(
            "COVARIANCE.S",
            2,
            2,
            |_, a| line(a, |l| ratio(l.xy, l.n - 1.0)),
            "The covariance of a sample.",
        )
        .all_arrays(),
        general(
            "DEVSQ",
            1,
            255,
            |_, a| spread(a, |sum, _| Ok(sum)),
            "The sum of the squared distances from the mean.",
        )
        .all_arrays(),
        general("FORECAST", 3, 3, forecast, "A value on the line through points.").arrays(0b110),
        general("FORECAST.LINEAR", 3, 3, forecast, "A value on the line through points.").arrays(0b110),
        general("GEOMEAN", 1, 255, geometric, "The geometric mean.").all_arrays(),
        general("HARMEAN", 1, 255, harmonic, "The harmonic mean.").all_arrays(),
        general(
            "INTERCEPT",
            2,
            2,
            |_, a| line(a, |l| Ok(l.mean_y - ratio(l.xy, l.xx)? * l.mean_x)),
            "Where the line through points starts.",
        )
        .all_arrays(),
        general("KURT", 1, 255, kurtosis, "The kurtosis.").all_arrays(),
        general(
            "PEARSON",
            2,
            2,
            |_, a| line(a, Line::correlation),
            "The correlation of two rows of numbers.",
        )
        .all_arrays(),
        general(
            "RSQ",
            2,
            2,
            |_, a| line(a, |l| l.correlation().map(|r| r * r)),
            "The square of the correlation.",
        )
        .all_arrays(),
        general("SKEW", 1, 255, skewness, "The skewness.").all_arrays(),
        general("SKEW.P", 1, 255, population_skewness, "The skewness of a population.").all_arrays(),
        general(
            "SLOPE",
            2,
            2,
            |_, a| line(a, |l| ratio(l.xy, l.xx)),
            "The slope of the line through points.",
        )
        .all_arrays(),
        general("STDEV", 1, 255, |_, a| spread(a, sample_deviation), "The standard deviation of a sample.")
            .all_arrays(),
        general("STDEV.P", 1, 255, |_, a| spread(a, deviation), "The standard deviation of a population.")
            .all_arrays(),
        general("STDEV.S", 1, 255, |_, a| spread(a, sample_deviation), "The standard deviation of a sample.")
            .all_arrays(),
        general(
            "STDEVA",
            1,
            255,
            |_, a| spread_all(a, sample_deviation),
            "As STDEV, with text as 0 and booleans as 0 and 1.",
        )
        .all_arrays(),
        general(
            "STDEVPA",
            1,
            255,
            |_, a| spread_all(a, deviation),
            "As STDEVP, with text as 0 and booleans as 0 and 1.",
        )
        .all_arrays(),
        general(
            "STEYX",
            2,
            2,
            |_, a| line(a, Line::error),
            "The standard error of values on a line through points.",
        )
        .all_arrays(),
        general(
            "VARA",
            1,
            255,
            |_, a| spread_all(a, sample_variance),
            "As VAR, with text as 0 and booleans as 0 and 1.",
        )
        .all_arrays(),
        general(
            "VARPA",
            1,
            255,
            |_, a| spread_all(a, ratio),
            "As VARP, with text as 0 and booleans as 0 and 1.",
        )
        .all_arrays(),
        general("STDEVP", 1, 255, |_, a| spread(a, deviation), "The standard deviation of a population.")
            .all_arrays(),
        general("VAR", 1, 255, |_, a| spread(a, sample_variance), "The variance of a sample.").all_arrays(),
        general("VAR.P", 1, 255, |_, a| spread(a, ratio), "The variance of a population.").all_arrays(),
        general("VAR.S", 1, 255, |_, a| spread(a, sample_variance), "The variance of a sample.").all_arrays(),
        general("VARP", 1, 255, |_, a| spread(a, ratio), "The variance of a population.").all_arrays(),
    ]
}

type Outcome = Result<f64, ErrorValue>;

fn ratio(a: f64, b: f64) -> Outcome {
    if b == 0.0 { Err(ErrorValue::Div0) } else { Ok(a / b) }
}

fn total(list: &[f64]) -> f64 {
    list.iter().fold(0.0, |sum, x| sum + x)
}

fn mean(list: &[f64]) -> Outcome {
    ratio(total(list), list.len() as f64)
}

fn sample_variance(sum: f64, n: f64) -> Outcome {
    if n < 2.0 { Err(ErrorValue::Div0) } else { Ok(sum / (n - 1.0)) }
}

fn sample_deviation(sum: f64, n: f64) -> Outcome {
    Ok(sample_variance(sum, n)?.sqrt())
}

fn deviation(sum: f64, n: f64) -> Outcome {
    Ok(ratio(sum, n)?.sqrt())
}

/// A function of the sum of squared distances from the mean, and of the count.
fn spread(args: &[Arg<'_>], f: fn(f64, f64) -> Outcome) -> Answer {
    spread_of(&numbers(args)?, f)
}

fn spread_all(args: &[Arg<'_>], f: fn(f64, f64) -> Outcome) -> Answer {
    spread_of(&super::aggregate::all_values(args)?, f)
}

fn spread_of(list: &[f64], f: fn(f64, f64) -> Outcome) -> Answer {
    let middle = if list.is_empty() { 0.0 } else { mean(list)? };
    let sum = list.iter().fold(0.0, |sum, x| sum + (x - middle) * (x - middle));
    Ok(Value::Number(f(sum, list.len() as f64)?))
}

fn average_deviation(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers(args)?;
    let middle = mean(&list).map_err(|_| ErrorValue::Num)?;
    Ok(Value::Number(list.iter().fold(0.0, |sum, x| sum + (x - middle).abs()) / list.len() as f64))
}

fn positive(args: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let list = numbers(args)?;
    if list.is_empty() || list.iter().any(|x| *x <= 0.0) { Err(ErrorValue::Num) } else { Ok(list) }
}

fn geometric(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = positive(args)?;
    let logs = list.iter().fold(0.0, |sum, x| sum + libm::log(*x));
    Ok(Value::Number(libm::exp(logs / list.len() as f64)))
}

fn harmonic(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = positive(args)?;
    Ok(Value::Number(list.len() as f64 / list.iter().fold(0.0, |sum, x| sum + 1.0 / x)))
}

/// The sum of a power of the distances from the mean in standard deviations of a sample, and the count.
fn moment(args: &[Arg<'_>], power: i32) -> Result<(f64, f64), ErrorValue> {
    let list = numbers(args)?;
    let n = list.len() as f64;
    let middle = mean(&list)?;
    let squares = list.iter().fold(0.0, |sum, x| sum + (x - middle) * (x - middle));
    let deviation = sample_deviation(squares, n)?;
    if deviation == 0.0 {
        return Err(ErrorValue::Div0);
    }
    let term = |x: &f64| {
        let z = (x - middle) / deviation;
        if power == 3 { z * z * z } else { z * z * z * z }
    };
    Ok((list.iter().fold(0.0, |sum, x| sum + term(x)), n))
}

fn skewness(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (sum, n) = moment(args, 3)?;
    if n < 3.0 {
        return Err(ErrorValue::Div0);
    }
    Ok(Value::Number(n / ((n - 1.0) * (n - 2.0)) * sum))
}

fn population_skewness(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers(args)?;
    let n = list.len() as f64;
    if n < 3.0 {
        return Err(ErrorValue::Div0);
    }
    let middle = mean(&list)?;
    let (squares, cubes) = list.iter().fold((0.0, 0.0), |(squares, cubes), x| {
        let d = x - middle;
        (squares + d * d, cubes + d * d * d)
    });
    let variance = squares / n;
    Ok(Value::Number(ratio(cubes / n, variance * variance.sqrt())?))
}

fn kurtosis(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (sum, n) = moment(args, 4)?;
    if n < 4.0 {
        return Err(ErrorValue::Div0);
    }
    let scale = n * (n + 1.0) / ((n - 1.0) * (n - 2.0) * (n - 3.0));
    Ok(Value::Number(scale * sum - 3.0 * (n - 1.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0))))
}

/// Sums over points: the first array has the y, the second the x.
struct Line {
    n: f64,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Line {
    fn new(ys: &Arg<'_>, xs: &Arg<'_>) -> Result<Self, ErrorValue> {
        let (ys, xs) = (ys.grid(), xs.grid());
        if ys.items.len() != xs.items.len() {
            return Err(ErrorValue::NA);
        }
        let mut points = Vec::new();
        for pair in xs.items.iter().zip(ys.items) {
            match pair {
                (Value::Error(e), _) | (_, Value::Error(e)) => return Err(*e),
                (Value::Number(x), Value::Number(y)) => points.push((*x, *y)),
                _ => {}
            }
        }
        let n = points.len() as f64;
        if points.is_empty() {
            return Err(ErrorValue::Div0);
        }
        let sum = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().fold(0.0, |sum, p| sum + f(p));
        let (mean_x, mean_y) = (sum(&|p| p.0) / n, sum(&|p| p.1) / n);
        Ok(Self {
            n,
            mean_x,
            mean_y,
            xx: sum(&|p| (p.0 - mean_x) * (p.0 - mean_x)),
            yy: sum(&|p| (p.1 - mean_y) * (p.1 - mean_y)),
            xy: sum(&|p| (p.0 - mean_x) * (p.1 - mean_y)),
        })
    }

    fn error(&self) -> Outcome {
        if self.n < 3.0 {
            return Err(ErrorValue::Div0);
        }
        Ok(((self.yy - self.xy * ratio(self.xy, self.xx)?) / (self.n - 2.0)).max(0.0).sqrt())
    }

    fn correlation(&self) -> Outcome {
        ratio(self.xy, (self.xx * self.yy).sqrt())
    }
}

fn line(args: &[Arg<'_>], f: fn(&Line) -> Outcome) -> Answer {
    Ok(Value::Number(f(&Line::new(&args[0], &args[1])?)?))
}

fn forecast(_: &Env, args: &[Arg<'_>]) -> Answer {
    let x = args[0].number()?;
    let line = Line::new(&args[1], &args[2])?;
    let slope = ratio(line.xy, line.xx)?;
    Ok(Value::Number(line.mean_y - slope * line.mean_x + slope * x))
}
