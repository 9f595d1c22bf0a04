//! A typed program: the steps of a schedule for columns of known kinds.

use super::graph::{Op, Search, Src};
use super::lanes::Num;
use crate::formula::Binary;
use crate::number::Rounding;
use crate::value::Value;

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Lanes: numbers, with errors as NaN payloads.
    Number,
    /// Lanes: 0 and 1, with errors as NaN payloads.
    Boolean,
    /// Values of any type.
    Value,
}

impl Kind {
    /// The narrowest kind that holds a value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Number(_) | Value::Error(_) => Self::Number,
            Value::Boolean(_) => Self::Boolean,
            Value::Blank | Value::Text(_) => Self::Value,
        }
    }

    /// Whether lanes of this kind can hold a value.
    pub fn holds(self, value: &Value) -> bool {
        match self {
            Self::Number => matches!(value, Value::Number(_) | Value::Error(_)),
            Self::Boolean => matches!(value, Value::Boolean(_) | Value::Error(_)),
            Self::Value => true,
        }
    }
}

/// Two numbers to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Two {
    Add,
    Subtract,
    Multiply,
    Divide,
    Min,
    Max,
}

/// A number to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum One {
    Copy,
    Negate,
    Abs,
    Sqrt,
    Floor,
    Not,
}

/// Many columns to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Many {
    Sum,
    Min,
    Max,
    And,
    Or,
    /// The sum of the products of each pair.
    Products,
}

/// The registers of a series of powers: the last one in double length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub high: u32,
    pub low: u32,
}

/// Where values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// A register of values.
    Register(u32),
    /// An input column of values, read where it is.
    Input(u32),
}

/// An argument of an operation that goes record by record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument {
    Omitted,
    /// A register of lanes.
    Lanes(u32, Kind),
    /// Values.
    Values(Values),
    /// A constant of the graph.
    Constant(u32),
    /// A constant array of the schedule.
    Table(u32),
    /// An array whose items are the next of these arguments.
    Items {
        rows: u32,
        columns: u32,
    },
}

/// A piece of a list of the typed program.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub start: u32,
    pub length: u32,
}

impl Span {
    /// The piece.
    pub fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.start as usize..(self.start + self.length) as usize]
    }
}

/// An operation record by record, with its arguments among [`Typed::arguments`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub op: Op,
    pub arguments: Span,
}

/// One step. `target` is the register that it writes; no step reads its own target.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The lanes of an input column, by its place.
    Load {
        input: u32,
        kind: Kind,
        target: u32,
    },
    /// The numbers of values, as arithmetic coerces them.
    ToNumber {
        values: Values,
        target: u32,
    },
    Two {
        op: Two,
        a: Num,
        b: Num,
        target: u32,
    },
    One {
        op: One,
        a: Num,
        target: u32,
    },
    Power {
        a: Num,
        b: Num,
        target: u32,
    },
    /// A whole power; with `next`, the previous of the series times the base.
    WholePower {
        base: u32,
        exponent: i32,
        series: Series,
        next: bool,
        target: u32,
    },
    Compare {
        op: Binary,
        a: Num,
        b: Num,
        target: u32,
    },
    Select {
        condition: Num,
        yes: Num,
        no: Num,
        target: u32,
    },
    CompareSelect {
        op: Binary,
        a: Num,
        b: Num,
        yes: Num,
        no: Num,
        target: u32,
    },
    IfError {
        a: Num,
        otherwise: Num,
        only_na: bool,
        target: u32,
    },
    Round {
        a: Num,
        digits: f64,
        rounding: Rounding,
        target: u32,
    },
    Many {
        op: Many,
        items: Span,
        call: u32,
        target: u32,
    },
    /// The place of a key in a table of whole numbers that rise by one.
    PlaceInSeries {
        key: u32,
        first: f64,
        count: f64,
        target: u32,
    },
    /// The place of a number in a table.
    Place {
        search: Search,
        key: u32,
        table: u32,
        target: u32,
    },
    /// Places as slots of lines of `count` values.
    Slots {
        places: u32,
        count: u8,
        slots: u32,
    },
    /// A number of a short line of numbers.
    PickSlot {
        table: u32,
        places: u32,
        slots: u32,
        target: u32,
    },
    /// How many numbers of a table stand so to a number.
    CountWhere {
        relation: Binary,
        key: u32,
        table: u32,
        target: u32,
    },
    /// A number of a table of numbers.
    Pick {
        table: u32,
        row: Num,
        column: Num,
        target: u32,
    },
    Call1 {
        f: fn(f64) -> f64,
        a: Num,
        target: u32,
    },
    Call2 {
        f: fn(f64, f64) -> f64,
        a: Num,
        b: Num,
        target: u32,
    },
    Calls {
        f: fn(&[f64]) -> f64,
        items: Span,
        target: u32,
    },
    Random {
        site: u32,
        target: u32,
    },
    /// Record by record; what does not fit `kind` is left to the scalar execution.
    Record {
        call: u32,
        kind: Kind,
        target: u32,
    },
    /// Texts one after the other: a chain of `&`, whose arguments are among [`Typed::arguments`].
    Join {
        items: Span,
        target: u32,
    },
    /// `IF` on values.
    SelectValues {
        condition: Num,
        yes: Argument,
        no: Argument,
        target: u32,
    },
    /// Comparison of text with a text for equality.
    SameText {
        values: Values,
        text: u32,
        equal: bool,
        target: u32,
    },
    /// The place of a text in a table.
    PlaceText {
        search: Search,
        values: Values,
        table: u32,
        target: u32,
    },
    /// Values of a line of a table at places.
    PickValues {
        table: u32,
        places: u32,
        target: u32,
    },
}

/// Where an output comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Out {
    Lanes(u32, Kind),
    /// Values; whether no later output is the same.
    Values(Values, bool),
    Constant(Src),
}

/// A schedule for columns of known kinds.
#[derive(Debug)]
pub(super) struct Typed {
    /// The schedule that it was made of.
    pub schedule: u64,
    /// The kinds of the inputs that it is made for, in the order of the schedule's inputs.
    pub inputs: Box<[Kind]>,
    /// What the result of each instruction that goes record by record is taken for.
    pub expected: Box<[Kind]>,
    pub steps: Vec<Step>,
    pub items: Vec<Num>,
    pub arguments: Vec<Argument>,
    pub calls: Vec<Call>,
    pub outputs: Vec<Out>,
    pub registers: usize,
    /// Columns of slots.
    pub slots: usize,
    /// Records that are evaluated at once.
    pub lanes: usize,
}
