//! The reader of push bodies: what the scan lets pass evaluates, and the result is JSON.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millrace_calc::chunk::scan;
use millrace_calc::limits::Limits;
use millrace_calc::service::{Options, Prepared, Scratch, Service, SourceKind};

static PREPARED: LazyLock<Prepared> = LazyLock::new(|| {
    let document = br#"{"inputs":[{"name":"a","type":"number","default":3},{"name":"b","type":"text","default":"x"},{"name":"z","type":"number"}],
        "outputs":[{"name":"sum","formula":"a+z"},{"name":"text","formula":"b&a"},{"name":"ratio","formula":"IF(z>a,a/z,b)"}]}"#;
    let service = Service::load(SourceKind::FormulaDocument, document, &Limits::default()).expect("a sound document");
    service.prepare(&Options { unique_record_key: vec!["k".into()], ..Options::default() })
});

fuzz_target!(|data: &[u8]| {
    let scanned = scan(data);
    let result = PREPARED.evaluate(data, None, &mut Scratch::default());
    if let (Ok(scanned), Ok(result)) = (&scanned, &result) {
        assert_eq!(scanned.records, result.records);
        let mut out = Vec::new();
        result.write_json("c", &mut out);
        assert!(std::str::from_utf8(&out).is_ok());
    }
});
