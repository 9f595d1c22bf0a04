//! Functions that the compiler expands into other operations (see [`Form`]).

use super::{Form, FunctionInfo};

pub(super) fn logic() -> Vec<FunctionInfo> {
    let form = FunctionInfo::form;
    vec![
        form("IF", 1, 3, Form::If, "One of two values, by a condition."),
        form("IFERROR", 2, 2, Form::IfError, "A value, or another one instead of an error."),
        form("IFNA", 2, 2, Form::IfNa, "A value, or another one instead of #N/A."),
        form("IFS", 2, 255, Form::Ifs, "The value of the first condition that is true, or #N/A."),
        form("LET", 3, 255, Form::Let, "A result in which names stand for values.").note("no LAMBDA"),
        form(
            "SWITCH",
            3,
            255,
            Form::Switch,
            "The result beside the first value that is equal, or the last one alone.",
        ),
    ]
}

pub(super) fn lookup() -> Vec<FunctionInfo> {
    let form = FunctionInfo::form;
    vec![
        form("AREAS", 1, 1, Form::Areas, "The number of areas of a reference."),
        form("CHOOSE", 2, 255, Form::Choose, "One of several values, by its number."),
        form("COLUMN", 0, 1, Form::Column, "The number of a column."),
        form("COLUMNS", 1, 1, Form::Columns, "How many columns a range has."),
        form("HLOOKUP", 3, 4, Form::HLookup, "The value below a key that is found in the first row."),
        form("INDEX", 1, 4, Form::Index, "The value at a row and column of a range.")
            .note("one area; a computed place of 0 means the whole row or column, as a constant one does"),
        form("INDIRECT", 1, 2, Form::Indirect, "The cells that a constant text refers to.")
            .note("the text must be constant"),
        form("ISFORMULA", 1, 1, Form::IsFormula, "Whether a cell holds a formula."),
        form("ISREF", 1, 1, Form::IsRef, "Whether the argument is a reference."),
        form(
            "LOOKUP",
            2,
            3,
            Form::Lookup,
            "The value beside the last key that is not greater, in ascending keys.",
        ),
        form("MATCH", 2, 3, Form::Match, "The place of a key in a row or column."),
        form(
            "OFFSET",
            3,
            5,
            Form::Offset,
            "Cells at a distance from a reference; the size must not depend on inputs.",
        )
        .note("height and width must be constant"),
        form("ROW", 0, 1, Form::Row, "The number of a row."),
        form("ROWS", 1, 1, Form::Rows, "How many rows a range has."),
        form("SINGLE", 1, 1, Form::Single, "The value in the formula's own row or column."),
        form("TRANSPOSE", 1, 1, Form::Transpose, "Rows as columns and columns as rows."),
        form("VLOOKUP", 3, 4, Form::VLookup, "The value beside a key that is found in the first column."),
        form(
            "XLOOKUP",
            3,
            6,
            Form::XLookup,
            "The value beside a key, with a choice of direction and nearness.",
        )
        .note("the match mode and the search mode must be constant"),
        form("XMATCH", 2, 4, Form::XMatch, "The place of a key, with a choice of direction and nearness.")
            .note("the match mode and the search mode must be constant"),
    ]
}

pub(super) fn math() -> Vec<FunctionInfo> {
    let form = FunctionInfo::form;
    vec![
        form(
            "RAND",
            0,
            0,
            Form::Rand,
            "A random number from 0 to 1, fixed by the batch's seed and the record.",
        )
        .volatile(),
        form(
            "RANDBETWEEN",
            2,
            2,
            Form::RandBetween,
            "A random whole number between two bounds, fixed as RAND.",
        )
        .volatile(),
        form("SEQUENCE", 1, 4, Form::Sequence, "Numbers at equal distances, as an array."),
        FunctionInfo::general("SUM", 1, 255, super::aggregate::sum, "The sum of the numbers.")
            .all_arrays()
            .kernel(super::Kernel::Sum),
    ]
}

pub(super) fn arrays() -> Vec<FunctionInfo> {
    let form = FunctionInfo::form;
    vec![
        form("AGGREGATE", 3, 255, Form::Aggregate, "One of nineteen aggregations, without errors if wanted.")
            .note("the function and the options must be constant"),
        form("CHOOSECOLS", 2, 255, Form::ChooseColumns, "Some columns of an array."),
        form("CHOOSEROWS", 2, 255, Form::ChooseRows, "Some rows of an array."),
        form("DROP", 2, 3, Form::Drop, "An array without its first or last rows and columns."),
        form("HSTACK", 1, 255, Form::HStack, "Arrays beside each other."),
        form(
            "SUBTOTAL",
            2,
            255,
            Form::Subtotal,
            "One of eleven aggregations, without other subtotals and hidden rows.",
        )
        .note("the function must be constant"),
        form("TAKE", 2, 3, Form::Take, "The first or last rows and columns of an array."),
        form("TOCOL", 1, 3, Form::ToColumn, "An array as one column.")
            .note("takes every value, blanks and errors too"),
        form("TOROW", 1, 3, Form::ToRow, "An array as one row.")
            .note("takes every value, blanks and errors too"),
        form("VSTACK", 1, 255, Form::VStack, "Arrays below each other."),
        form("WRAPCOLS", 2, 3, Form::WrapColumns, "A row or column in columns of a length."),
        form("WRAPROWS", 2, 3, Form::WrapRows, "A row or column in rows of a length."),
    ]
}
