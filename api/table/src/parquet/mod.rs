//! Parquet with flat columns: what spreadsheets and data frames are.

mod check;
mod thrift;
pub(super) mod write;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, NaiveTime};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::data_type::Decimal;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::ColumnDescriptor;
use serde_json::{Number, Value};

use super::{Cell, Columns, Place, ROW_BYTES, Record, TableError, TooLong};

/// Memory for the pages that are read at the same time, in bytes, unless something else is said.
pub const DEFAULT_PAGE_BYTES: usize = 64_000_000;

/// The rows of a Parquet file.
pub(super) struct Rows {
    rows: RowIter<'static>,
    columns: Columns,
    /// Columns of nanoseconds, which look like integers.
    nanoseconds: Vec<bool>,
    row: u64,
}

impl Rows {
    /// Looks at the whole file, as far as is needed to know that it can be read in little memory.
    pub(super) fn open(file: File, page_bytes: usize) -> Result<Self, TableError> {
        guarded(|| Self::open_checked(file, page_bytes))
    }

    fn open_checked(file: File, page_bytes: usize) -> Result<Self, TableError> {
        check::footer(&file)?;
        let again = file.try_clone().map_err(|error| TableError::Broken(error.to_string()))?;
        let reader = SerializedFileReader::new(file).map_err(|error| unreadable(&error))?;
        check::pages(&again, reader.metadata(), page_bytes)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let mut names: Vec<String> = Vec::with_capacity(schema.num_columns());
        let mut nanoseconds = Vec::with_capacity(schema.num_columns());
        for column in schema.columns() {
            let name = column.name().to_owned();
            if names.contains(&name) {
                return Err(TableError::File(format!("the Parquet file has two columns {name:?}")));
            }
            let Some(is_nanoseconds) = known(column) else {
                let text = format!("the Parquet file has the column {name:?} of a type that is not read");
                return Err(TableError::File(text));
            };
            names.push(name);
            nanoseconds.push(is_nanoseconds);
        }
        Ok(Self { rows: reader.into_iter(), columns: Arc::from(names), nanoseconds, row: 0 })
    }

    pub(super) fn columns(&self) -> Columns {
        Arc::clone(&self.columns)
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, TableError> {
        guarded(|| self.read_row())
    }

    fn read_row(&mut self) -> Result<Option<Record>, TableError> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        self.row += 1;
        let place = Place::Row(self.row);
        let row = row.map_err(|error| TableError::at(place, unreadable(&error).to_string()))?;
        let mut cells = Vec::with_capacity(self.columns.len());
        let mut bytes = 0;
        for ((name, field), nanoseconds) in row.get_column_iter().zip(&self.nanoseconds) {
            let value =
                value_of(field, *nanoseconds).map_err(|text| TableError::in_column(place, name, text))?;
            bytes += value.as_str().map_or(8, str::len);
            cells.push(Cell::Value(value));
        }
        if bytes > ROW_BYTES {
            return Err(TableError::at(place, TooLong.to_string()));
        }
        Ok(Some(Record { place, columns: self.columns(), cells }))
    }
}

/// The library panics over some damaged files; these are refused as any other. After an error nothing is read any more.
fn guarded<T>(read: impl FnOnce() -> Result<T, TableError>) -> Result<T, TableError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(TableError::File("the Parquet file is damaged".to_owned())))
}

/// What the library says may quote values; it is cut short.
fn unreadable(error: &parquet::errors::ParquetError) -> TableError {
    let text: String = error.to_string().chars().take(120).collect();
    TableError::File(format!("the Parquet file cannot be read: {text}"))
}

/// Whether a column holds nanoseconds; `None` for types that are not read.
fn known(column: &ColumnDescriptor) -> Option<bool> {
    use ConvertedType as C;
    let converted = column.converted_type();
    let nanoseconds = match column.logical_type_ref() {
        Some(LogicalType::Timestamp(kind)) if kind.unit == TimeUnit::NANOS => true,
        Some(LogicalType::Time(kind)) if kind.unit == TimeUnit::NANOS => return None,
        _ => false,
    };
    let known = match column.physical_type() {
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => true,
        Physical::INT32 => matches!(
            converted,
            C::NONE
                | C::INT_8
                | C::INT_16
                | C::INT_32
                | C::UINT_8
                | C::UINT_16
                | C::UINT_32
                | C::DATE
                | C::TIME_MILLIS
                | C::DECIMAL
        ),
        Physical::INT64 => matches!(
            converted,
            C::NONE
                | C::INT_64
                | C::UINT_64
                | C::TIME_MICROS
                | C::TIMESTAMP_MILLIS
                | C::TIMESTAMP_MICROS
                | C::DECIMAL
        ),
        Physical::BYTE_ARRAY => matches!(converted, C::NONE | C::UTF8 | C::ENUM | C::JSON | C::DECIMAL),
        Physical::FIXED_LEN_BYTE_ARRAY => {
            converted == C::DECIMAL || column.logical_type_ref() == Some(&LogicalType::Float16)
        }
        Physical::INT96 => false,
    };
    known.then_some(nanoseconds)
}

/// A value as JSON. What is not a number (NaN) is how data frames write that there is nothing.
fn value_of(field: &Field, nanoseconds: bool) -> Result<Value, String> {
    let float = |number: f64| match Number::from_f64(number) {
        Some(number) => Ok(Value::Number(number)),
        None if number.is_nan() => Ok(Value::Null),
        None => Err("is infinite".to_owned()),
    };
    let range = || "is no date that can be written".to_owned();
    let time = |seconds: i64, nanoseconds: u32| {
        let seconds = u32::try_from(seconds).ok();
        let time =
            seconds.and_then(|seconds| NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanoseconds));
        time.map(|time| Value::from(time.format("%H:%M:%S%.f").to_string())).ok_or_else(range)
    };
    let moment = |moment: Option<DateTime<chrono::Utc>>| {
        moment.map(|moment| Value::from(moment.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string())).ok_or_else(range)
    };
    match field {
        Field::Null => Ok(Value::Null),
        Field::Bool(flag) => Ok(Value::from(*flag)),
        Field::Byte(number) => Ok(Value::from(*number)),
        Field::Short(number) => Ok(Value::from(*number)),
        Field::Int(number) => Ok(Value::from(*number)),
        Field::Long(number) if nanoseconds => moment(Some(DateTime::from_timestamp_nanos(*number))),
        Field::Long(number) => Ok(Value::from(*number)),
        Field::UByte(number) => Ok(Value::from(*number)),
        Field::UShort(number) => Ok(Value::from(*number)),
        Field::UInt(number) => Ok(Value::from(*number)),
        Field::ULong(number) => Ok(Value::from(*number)),
        Field::Float16(number) => float(number.to_f64()),
        // 0.1 in single precision is meant as 0.1.
        Field::Float(number) => float(number.to_string().parse().unwrap_or_else(|_| f64::from(*number))),
        Field::Double(number) => float(*number),
        Field::Decimal(decimal) => decimal_value(decimal),
        Field::Str(text) => Ok(Value::from(text.as_str())),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Ok(Value::from(text)),
            Err(_) => Err("is binary, and no text".to_owned()),
        },
        Field::Date(days) => {
            let date = DateTime::from_timestamp(i64::from(*days) * 86_400, 0);
            date.map(|date| Value::from(date.format("%Y-%m-%d").to_string())).ok_or_else(range)
        }
        Field::TimeMillis(number) => {
            let number = i64::from(*number);
            time(number.div_euclid(1_000), u32::try_from(number.rem_euclid(1_000)).unwrap_or(0) * 1_000_000)
        }
        Field::TimeMicros(number) => {
            let part = u32::try_from(number.rem_euclid(1_000_000)).unwrap_or(0);
            time(number.div_euclid(1_000_000), part * 1_000)
        }
        Field::TimestampMillis(number) => moment(DateTime::from_timestamp_millis(*number)),
        Field::TimestampMicros(number) => moment(DateTime::from_timestamp_micros(*number)),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => Err("is nested".to_owned()),
    }
}

/// A decimal number: an integer where it is one, else the nearest double.
fn decimal_value(decimal: &Decimal) -> Result<Value, String> {
    let bytes = decimal.data();
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    let start = wide.len().checked_sub(bytes.len()).ok_or("has more than 38 digits")?;
    wide[start..].copy_from_slice(bytes);
    let unscaled = i128::from_be_bytes(wide);
    let scale = decimal.scale();
    if scale == 0
        && let Ok(whole) = i64::try_from(unscaled)
    {
        return Ok(Value::from(whole));
    }
    let number = format!("{unscaled}e{}", -scale).parse().ok().and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| "is no number that can be held".to_owned())
}
