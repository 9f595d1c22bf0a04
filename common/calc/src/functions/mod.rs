//! The functions that formulas may use: each defined once, and evaluated the same way in columns and for single records.

mod aggregate;
pub(crate) mod argument;
mod bond;
mod complex;
mod convert;
pub(crate) mod criteria;
mod date;
mod depreciation;
mod discrete;
mod distribution;
mod engineering;
mod finance;
mod forms;
mod information;
mod logic;
pub(crate) mod lookup;
mod math;
pub(crate) mod matrix;
mod normal;
mod rank;
mod regression;
pub(crate) mod selection;
pub(crate) mod serial;
mod special;
mod statistics;
mod text;
mod text_format;
mod text_fraction;
mod workday;

use std::sync::LazyLock;

pub(crate) use argument::{Arg, Env, Grid};
pub(crate) use matrix::{Extent, Known};

use crate::value::{ErrorValue, Value};

/// What a general function answers: a value, or the error value that stopped it.
pub(crate) type Answer = Result<Value, ErrorValue>;

/// One function: its name, how many arguments it takes, and how it is evaluated.
#[derive(Debug)]
pub struct FunctionInfo {
    /// The name, upper case.
    pub name: &'static str,
    /// The subject, such as "text" or "date".
    pub category: &'static str,
    /// What it computes, in one sentence.
    pub summary: &'static str,
    /// Fewest arguments.
    pub min: u8,
    /// Most arguments; 255 for any number.
    pub max: u8,
    /// Whether the result changes without a change of the arguments; it is fixed for a batch.
    pub volatile: bool,
    /// Where it knowingly differs from Excel or takes less; empty for nothing.
    pub note: &'static str,
    pub(crate) kind: Kind,
    /// Which arguments take a whole array: bit i for argument i, the highest bit for all from the 31st on.
    pub(crate) arrays: u32,
    pub(crate) kernel: Kernel,
}

/// How a function is evaluated.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A number from a number. The caller coerces and passes errors on; a result that is not finite is `#NUM!`.
    Number1(fn(f64) -> f64),
    /// A number from two numbers, as above.
    Number2(fn(f64, f64) -> f64),
    /// A number from as many numbers as the formula gives (an empty argument is 0), as above.
    Numbers(fn(&[f64]) -> f64),
    /// Anything from anything.
    General(fn(&Env, &[Arg<'_>]) -> Answer),
    /// An array of a size that the compiler knows. Each item is a value of its own; its row and column follow the arguments.
    Matrix(fn(&[Known<'_>]) -> Extent, fn(&Env, &[Arg<'_>]) -> Answer),
    /// Written by the compiler as other instructions.
    Form(Form),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number1(_) => "Number1",
            Self::Number2(_) => "Number2",
            Self::Numbers(_) => "Numbers",
            Self::General(_) => "General",
            Self::Matrix(..) => "Matrix",
            Self::Form(_) => "Form",
        })
    }
}

/// Functions that the compiler expands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Aggregate,
    Areas,
    Choose,
    ChooseColumns,
    ChooseRows,
    Column,
    Columns,
    Drop,
    HLookup,
    HStack,
    If,
    IfError,
    IfNa,
    Ifs,
    Index,
    Indirect,
    IsFormula,
    IsRef,
    Let,
    Lookup,
    Match,
    Offset,
    Rand,
    RandBetween,
    Row,
    Rows,
    Sequence,
    Single,
    Subtotal,
    Switch,
    Take,
    ToColumn,
    ToRow,
    Transpose,
    VLookup,
    VStack,
    WrapColumns,
    WrapRows,
    XLookup,
    XMatch,
}

/// A columnar execution that some functions have besides their definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    None,
    Abs,
    And,
    Int,
    Max,
    Min,
    Not,
    Or,
    Round,
    RoundDown,
    RoundUp,
    Sqrt,
    Sum,
    SumProduct,
}

impl FunctionInfo {
    const fn new(name: &'static str, min: u8, max: u8, kind: Kind, summary: &'static str) -> Self {
        Self {
            name,
            category: "",
            summary,
            min,
            max,
            volatile: false,
            note: "",
            kind,
            arrays: 0,
            kernel: Kernel::None,
        }
    }

    pub(crate) const fn number1(name: &'static str, f: fn(f64) -> f64, summary: &'static str) -> Self {
        Self::new(name, 1, 1, Kind::Number1(f), summary)
    }

    pub(crate) const fn number2(name: &'static str, f: fn(f64, f64) -> f64, summary: &'static str) -> Self {
        Self::new(name, 2, 2, Kind::Number2(f), summary)
    }

    pub(crate) const fn numbers(
        name: &'static str,
        min: u8,
        max: u8,
        f: fn(&[f64]) -> f64,
        summary: &'static str,
    ) -> Self {
        Self::new(name, min, max, Kind::Numbers(f), summary)
    }

    pub(crate) const fn general(
        name: &'static str,
        min: u8,
        max: u8,
        f: fn(&Env, &[Arg<'_>]) -> Answer,
        summary: &'static str,
    ) -> Self {
        Self::new(name, min, max, Kind::General(f), summary)
    }

    pub(crate) const fn form(
        name: &'static str,
        min: u8,
        max: u8,
        form: Form,
        summary: &'static str,
    ) -> Self {
        Self::new(name, min, max, Kind::Form(form), summary)
    }

    pub(crate) const fn matrix(
        name: &'static str,
        min: u8,
        max: u8,
        size: fn(&[Known<'_>]) -> Extent,
        item: fn(&Env, &[Arg<'_>]) -> Answer,
        summary: &'static str,
    ) -> Self {
        Self::new(name, min, max, Kind::Matrix(size, item), summary)
    }

    /// How it runs: over whole columns where the columns' types allow, or record by record.
    pub const fn path(&self) -> &'static str {
        match (self.kind, self.kernel) {
            (Kind::General(_), Kernel::None) | (Kind::Matrix(..), _) => "record by record",
            (Kind::Form(_), _) => "columns, by other operations",
            _ => "columns",
        }
    }

    pub(crate) const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// Take whole arrays in the arguments whose bits are set.
    pub(crate) const fn arrays(mut self, bits: u32) -> Self {
        self.arrays = bits;
        self
    }

    /// Take whole arrays in every argument.
    pub(crate) const fn all_arrays(self) -> Self {
        self.arrays(u32::MAX)
    }

    pub(crate) const fn kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = kernel;
        self
    }

    pub(crate) const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Whether an argument takes a whole array.
    pub(crate) const fn takes_array(&self, argument: usize) -> bool {
        let bit = if argument > 31 { 31 } else { argument };
        self.arrays >> bit & 1 == 1
    }
}

static FUNCTIONS: LazyLock<Vec<FunctionInfo>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (category, list) in [
        ("aggregation", aggregate::functions()),
        ("conditional aggregation", criteria::functions()),
        ("finance", bond::functions()),
        ("engineering", complex::functions()),
        ("engineering", convert::functions()),
        ("date", date::functions()),
        ("finance", depreciation::functions()),
        ("statistics", discrete::functions()),
        ("statistics", distribution::functions()),
        ("engineering", engineering::functions()),
        ("date", workday::functions()),
        ("finance", finance::functions()),
        ("information", information::functions()),
        ("logic", logic::functions()),
        ("lookup", forms::lookup()),
        ("logic", forms::logic()),
        ("mathematics", forms::math()),
        ("lookup", lookup::functions()),
        ("mathematics", math::functions()),
        ("arrays", matrix::functions()),
        ("arrays", forms::arrays()),
        ("statistics", normal::functions()),
        ("statistics", rank::functions()),
        ("arrays", regression::functions()),
        ("arrays", selection::functions()),
        ("statistics", statistics::functions()),
        ("text", text::functions()),
        ("text", text_format::functions()),
    ] {
        all.extend(list.into_iter().map(|function| FunctionInfo { category, ..function }));
    }
    all.sort_by_key(|function| function.name);
    all
});

/// Every function, sorted by name.
pub fn functions() -> &'static [FunctionInfo] {
    &FUNCTIONS
}

/// The function of a name, without regard to case and to the prefixes that files write before newer functions.
pub(crate) fn find(name: &str) -> Option<(u16, &'static FunctionInfo)> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.trim_start_matches("_XLFN.").trim_start_matches("_XLWS.");
    let index = FUNCTIONS.binary_search_by_key(&bare, |function| function.name).ok()?;
    Some((u16::try_from(index).ok()?, &FUNCTIONS[index]))
}

/// The function of an index that [`find`] gave.
pub(crate) fn by_index(index: u16) -> &'static FunctionInfo {
    &FUNCTIONS[usize::from(index)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_upper_case() {
        let list = functions();
        assert!(list.len() > 150, "only {}", list.len());
        for pair in list.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} appears twice", pair[0].name);
        }
        for function in list {
            assert_eq!(function.name, function.name.to_uppercase());
            assert!(function.min <= function.max, "{}", function.name);
            assert!(function.summary.ends_with('.'), "{}", function.name);
        }
    }
}
