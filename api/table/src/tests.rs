#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Cursor, Seek, Write};

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A file with these bytes.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn read_with(bytes: &[u8], format: Format, options: Options) -> Result<Vec<Record>, TableError> {
    let source = match format {
        Format::Parquet => Source::File(file(bytes)),
        _ => Source::Stream(Box::new(Cursor::new(bytes.to_vec()))),
    };
    let mut reader = Reader::open(source, format, options)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok(records)
}

fn read(bytes: &[u8], format: Format) -> Result<Vec<Record>, TableError> {
    read_with(bytes, format, Options::default())
}

fn columns(names: &[&str]) -> Columns {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Rows written in a format.
fn written(names: &Columns, rows: &[Vec<Value>], format: Format) -> Vec<u8> {
    let texts = |row: &Vec<Value>| row.iter().map(Value::to_string).collect::<Vec<_>>();
    let mut out = Vec::new();
    let encoder = match format {
        Format::Csv => Encoder::csv(Arc::clone(names), b','),
        Format::JsonLines => Encoder::json_lines(Arc::clone(names)),
        Format::Parquet => {
            let mut all = ParquetRows::new(Arc::clone(names), &std::env::temp_dir(), u64::MAX).unwrap();
            for row in rows {
                all.push(texts(row).iter().map(String::as_str)).unwrap();
            }
            all.write_to(&mut out).unwrap();
            return out;
        }
    };
    encoder.heading(&mut out);
    for row in rows {
        encoder.record(&mut out, texts(row).iter().map(String::as_str));
    }
    out
}

fn values(records: &[Record]) -> Vec<Vec<Value>> {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => Value::from(text.as_str()),
        Cell::Value(value) => value.clone(),
    };
    records.iter().map(|record| record.cells.iter().map(value).collect()).collect()
}

/// What CSV keeps of a value: its text.
fn text(value: &Value) -> Value {
    Value::from(text_of(&value.to_string()).into_owned())
}

/// A value of a column of one kind, or nothing.
fn cell(kind: usize) -> BoxedStrategy<Value> {
    let some: BoxedStrategy<Value> = match kind {
        0 => any::<bool>().prop_map(Value::from).boxed(),
        1 => any::<i64>().prop_map(Value::from).boxed(),
        2 => any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|n| json!(n)).boxed(),
        _ => "[a-zäß漢🙂 ,;\"'\\\\\n\t=]{0,12}".prop_map(Value::from).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => some].boxed()
}

fn table() -> impl Strategy<Value = (Columns, Vec<Vec<Value>>)> {
    proptest::collection::vec(0_usize..4, 1..6).prop_flat_map(|kinds| {
        let names: Columns = (0..kinds.len()).map(|at| format!("c {at} \"ü\"")).collect();
        let row: Vec<BoxedStrategy<Value>> = kinds.iter().map(|kind| cell(*kind)).collect();
        (Just(names), proptest::collection::vec(row, 0..40))
    })
}

proptest! {
    #![proptest_config(crate::properties::config(128))]

    #[test]
    fn json_lines_come_back_as_they_went((names, rows) in table()) {
        let records = read(&written(&names, &rows, Format::JsonLines), Format::JsonLines).unwrap();
        prop_assert!(records.iter().all(|record| record.columns == names));
        prop_assert_eq!(values(&records), rows);
    }

    #[test]
    fn parquet_comes_back_as_it_went((names, rows) in table()) {
        let bytes = written(&names, &rows, Format::Parquet);
        let records = read(&bytes, Format::Parquet).unwrap();
        prop_assert!(records.iter().all(|record| record.columns == names));
        prop_assert_eq!(values(&records), rows);
    }

    #[test]
    fn csv_keeps_every_text((names, rows) in table()) {
        let records = read(&written(&names, &rows, Format::Csv), Format::Csv).unwrap();
        let texts: Vec<Vec<Value>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
        prop_assert_eq!(values(&records), texts);
    }

    #[test]
    fn damaged_parquet_is_refused_or_read((names, rows) in table(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = written(&names, &rows, Format::Parquet);
        let at = at.index(bytes.len());
        bytes[at] ^= byte;
        let _ = read(&bytes, Format::Parquet);
        let _ = read(&bytes[..at], Format::Parquet);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Csv, Format::JsonLines, Format::Parquet] {
            let _ = read(&bytes, format);
        }
        let _ = read(&[b"PAR1", &bytes[..], &(bytes.len() as u32).to_le_bytes(), b"PAR1"].concat(), Format::Parquet);
    }
}

#[test]
fn columns_of_parquet_get_the_type_that_holds_all_values() {
    let names = columns(&["flag", "whole", "number", "mixed", "errors", "list", "nothing", "only errors"]);
    let rows = [
        json!([true, 1, 1, 1, 2.5, [1, 2], null, "#N/A"]),
        json!([null, -7, 0.1, "x", "#DIV/0!", {"a": null}, null, null]),
        json!([false, null, 1e300, true, 3, null, null, "#N/A"]),
    ];
    let rows: Vec<Vec<Value>> = rows.iter().map(|row| row.as_array().unwrap().clone()).collect();
    let records = read(&written(&names, &rows, Format::Parquet), Format::Parquet).unwrap();
    let wanted = [
        json!([true, 1, 1.0, "1", 2.5, "[1,2]", null, "#N/A"]),
        json!([null, -7, 0.1, "x", null, "{\"a\":null}", null, null]),
        json!([false, null, 1e300, "true", 3.0, null, null, "#N/A"]),
    ];
    assert_eq!(json!(values(&records)), json!(wanted));
    assert_eq!(records[2].place.to_string(), "row 3");
}

#[test]
fn groups_of_rows_are_written_one_after_the_other() {
    let names = columns(&["n", "t"]);
    let rows: Vec<Vec<Value>> = (0..120_000).map(|n| vec![json!(n), json!(format!("text {n}"))]).collect();
    let bytes = written(&names, &rows, Format::Parquet);
    assert_eq!(values(&read(&bytes, Format::Parquet).unwrap()), rows);
    // The same file, where less memory is allowed than its pages take.
    let options = Options { page_bytes: 10_000, ..Options::default() };
    let refused = read_with(&bytes, Format::Parquet, options).unwrap_err().to_string();
    assert!(refused.contains("more than 10000 bytes"), "{refused}");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (format, bytes, start) in [
        (Format::Csv, &b""[..], "line 1: the file has no heading"),
        (Format::Csv, b"i,i\n", "line 1, column \"i\": the heading stands twice"),
        (Format::Csv, b"i,n\n1\n", "line 2: the row has 1 values, the heading 2"),
        (Format::Csv, b"i\n\"a\nb\"\n\xff\n", "line 4: the row is not UTF-8"),
        (Format::JsonLines, b"{\"i\": 1}\n[1]\n", "line 2: is no JSON object"),
        (Format::JsonLines, b"{\"i\": 1, \"i\": 2}\n", "line 1: is no JSON object: \"i\" stands twice"),
        (Format::JsonLines, b"{\"i\": 1}\n{", "line 2: is no JSON object"),
        (Format::Parquet, b"a,b\n1,2\n", "this is no Parquet file"),
        (Format::Parquet, b"PAR1\0\0\0\0PAR1", "the Parquet file is damaged"),
        (Format::Parquet, b"PAR1\xff\xff\xff\xffPAR1", "the description of the Parquet file has more than"),
    ] {
        let error = read(bytes, format).unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_row_without_end_is_refused() {
    let long = "x".repeat(ROW_BYTES + 10);
    for (text, format) in [
        (format!("i,s\n1,\"{long}"), Format::Csv),
        (format!("{{\"i\": 1}}\n{{\"s\": \"{long}"), Format::JsonLines),
    ] {
        let refused = read(text.as_bytes(), format)
            .is_err_and(|error| error.to_string().contains("a row has more than"));
        assert!(refused, "{format:?}");
    }
    // Many rows may be longer than one together.
    let many = format!("i,s\n{}", "1,abcdefghij\n".repeat(200_000));
    assert_eq!(read(many.as_bytes(), Format::Csv).unwrap().len(), 200_000);
}

#[test]
fn formats_have_names_endings_and_media_types() {
    for format in [Format::Csv, Format::JsonLines, Format::Parquet] {
        assert_eq!(Format::named(format.as_str()), Some(format));
        assert_eq!(Format::named(format.media()), Some(format));
        assert_eq!(Format::of_path(Path::new(&format!("a.b.{}", format.as_str()))), Some(format));
    }
    assert_eq!(Format::named("xml"), None);
    assert_eq!(Format::of_path(Path::new("csv")), None);
}

/// A Parquet file of this schema, whose only columns are of integers or texts, as others write it.
fn foreign(schema: &str, compression: ::parquet::basic::Compression, second_kind: bool) -> Vec<u8> {
    use ::parquet::column::writer::ColumnWriter;
    use ::parquet::data_type::ByteArray;
    use ::parquet::file::properties::{WriterProperties, WriterVersion};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    let version = if second_kind { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_dictionary_enabled(true);
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, schema, Arc::new(properties.build())).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    while let Some(mut column) = rows.next_column().unwrap() {
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer.write_batch(&[1_500_000_000_123_456_789, 2], None, None).unwrap();
            }
            ColumnWriter::Int32ColumnWriter(writer) => {
                writer.write_batch(&[20_000, -1], None, None).unwrap();
            }
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                writer.write_batch(&[ByteArray::from("ü")], Some(&[0, 1]), None).unwrap();
            }
            _ => unreachable!(),
        }
        column.close().unwrap();
    }
    rows.close().unwrap();
    writer.close().unwrap();
    out
}

const FLAT: &str = "message m { required int64 n; required int32 d (DATE); optional binary t (UTF8); }";

#[test]
fn files_of_others_are_read() {
    use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let found = values(&read(&foreign(FLAT, compression, false), Format::Parquet).unwrap());
        let wanted = json!([[1_500_000_000_123_456_789_i64, "2024-10-04", null], [2, "1969-12-31", "ü"]]);
        assert_eq!(json!(found), wanted, "{compression}");
    }
    let times =
        "message m { required int64 t (TIMESTAMP(NANOS,true)); required int64 u (TIMESTAMP(MICROS,true)); }";
    let found = values(&read(&foreign(times, Compression::SNAPPY, false), Format::Parquet).unwrap());
    assert_eq!(found[0][0], json!("2017-07-14T02:40:00.123456789Z"));
    assert_eq!(found[1][1], json!("1970-01-01T00:00:00.000002Z"));
}

#[test]
fn what_cannot_be_read_in_bounded_memory_is_refused() {
    use ::parquet::basic::{Compression, GzipLevel};
    let gzip = Compression::GZIP(GzipLevel::default());
    // Texts are written by their differences there.
    let refused = read(&foreign(FLAT.trim_end(), gzip, true), Format::Parquet);
    match refused {
        Ok(records) => assert_eq!(records.len(), 2, "all in dictionaries"),
        Err(error) => assert!(error.to_string().contains("encoding of texts by differences"), "{error}"),
    }
    for (schema, text) in [
        ("message m { required group g { required int64 n; } }", "has lists, maps or groups"),
        (
            "message m { required int64 n (TIME(NANOS,true)); }",
            "has the column \"n\" of a type that is not read",
        ),
    ] {
        let error = read(&foreign(schema, Compression::UNCOMPRESSED, false), Format::Parquet).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Gives these pieces, and then ends or breaks off.
struct Pieces {
    pieces: Vec<&'static [u8]>,
    breaks: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pieces.is_empty() {
            return if self.breaks { Err(io::Error::other("cut")) } else { Ok(0) };
        }
        let piece = self.pieces.remove(0);
        buffer[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

#[test]
fn a_byte_order_mark_that_comes_alone_is_not_the_end_of_a_csv_file() {
    let pieces = |pieces: &[&'static [u8]], breaks: bool| {
        let source = Source::Stream(Box::new(Pieces { pieces: pieces.to_vec(), breaks }));
        let mut reader = Reader::open(source, Format::Csv, Options::default()).unwrap();
        let mut records = 0;
        loop {
            match reader.next_record() {
                Ok(Some(_)) => records += 1,
                Ok(None) => return (records, None),
                Err(error) => return (records, Some(error)),
            }
        }
    };
    let mark: &[u8] = b"\xef\xbb\xbf";
    assert_eq!(pieces(&[mark, b"i\n1\n", b"2\n3"], false), (3, None));
    // What came before a file broke off is read, and then it is said.
    assert_eq!(pieces(&[mark, b"i\n1\n2\n3"], true), (2, Some(TableError::Broken("cut".to_owned()))));
}

#[test]
fn columns_are_told_apart() {
    let names = ["a", "b", "a", "a_2", "a"].map(str::to_owned);
    assert_eq!(*distinct(names), ["a", "b", "a_2", "a_2_2", "a_3"]);
}
