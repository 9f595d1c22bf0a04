//! The measures of design section 10, each as rows of the table.

use std::time::Duration;

use anyhow::Result;
use millrace_tests::{Fleet, FleetOptions, Services};

use crate::floor::Floor;
use crate::load::{Amount, Load, Outcome};
use crate::payload::Payload;
use crate::rate::{Rate, median};
use crate::table::{Row, Target};
use crate::{Options, latency, load, memory, say, tenants};

/// Different chunks of one size.
const DIFFERENT: usize = 64;

/// A size of chunks that is compared with the floor.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Records of a chunk.
    pub records: usize,
    /// Bytes of a stored result at the floor: about what Millrace stores for as many records.
    pub output_bytes: usize,
    /// The share of the floor to reach.
    pub share: f64,
    /// Chunks of one push.
    pub chunks_per_push: usize,
}

/// 200 records: 5 KB in, 4 KB out.
pub const LARGE: Size = Size { records: 200, output_bytes: 4_000, share: 0.5, chunks_per_push: 40 };
/// 10 records: 0.3 KB in, 0.4 KB out.
pub const SMALL: Size = Size { records: 10, output_bytes: 400, share: 0.4, chunks_per_push: 100 };

/// Settings of every fleet that is measured: quotas so large that they do not matter; all else as it comes.
fn fleet_options(options: &Options) -> FleetOptions {
    FleetOptions::workers(options.workers).set("tenants.capacity_bytes", 20_000_000_000_i64)
}

/// Starts the fleet that most measures use.
///
/// # Errors
///
/// When it does not start.
pub async fn start_fleet(options: &Options) -> Result<Fleet> {
    Fleet::sales(fleet_options(options)).await
}

fn load_of(options: &Options, chunks_per_push: usize, amount: Amount) -> Load {
    Load {
        batches: 1,
        pushers: options.pushers,
        chunks_per_push: options.chunks_per_push.unwrap_or(chunks_per_push),
        pullers: options.pullers,
        amount,
        watch_status: false,
    }
}

fn describe(rate: &Rate) -> String {
    format!(
        "{:.0} chunks/s, {:.0} records/s ({} chunks in {:.1} s)",
        rate.chunks_per_second(),
        rate.records_per_second(),
        rate.chunks,
        rate.elapsed.as_secs_f64()
    )
}

/// The floor and, with a fleet, Millrace with the same chunks, in turns; medians of the rounds.
///
/// # Errors
///
/// When either fails.
pub async fn throughput(
    options: &Options,
    services: &Services,
    fleet: Option<&Fleet>,
    size: Size,
) -> Result<Vec<Row>> {
    let payload = Payload::sales(size.records, DIFFERENT, options.seed);
    let time = options.time();
    let floor = Floor::prepare(services).await?;
    let outcome = rounds(options, &floor, fleet, size, &payload, time).await;
    floor.remove().await?;
    let (floors, outcomes) = outcome?;

    let middle = |rates: &[Rate], of: fn(&Rate) -> f64| median(rates.iter().map(of).collect());
    let rates: Vec<Rate> = outcomes.iter().map(|outcome| outcome.rate).collect();
    let millrace = |of: fn(&Rate) -> f64| (!rates.is_empty()).then(|| middle(&rates, of));
    let note = format!(
        "{} bytes in; floor {} bytes out; {} rounds of {} s; {} pushers x {} chunks, {} pullers, {} workers; {} pushes refused for now",
        payload.mean_bytes(),
        size.output_bytes,
        floors.len(),
        time.as_secs_f64(),
        options.pushers,
        options.chunks_per_push.unwrap_or(size.chunks_per_push),
        options.pullers,
        options.workers,
        outcomes.iter().map(|outcome| outcome.refused).sum::<u64>(),
    );
    let mut rows = vec![
        Row {
            measure: format!("throughput, {} records a chunk", size.records),
            unit: "chunks/s",
            floor: Some(middle(&floors, Rate::chunks_per_second)),
            millrace: millrace(Rate::chunks_per_second),
            target: if rates.is_empty() { Target::None } else { Target::Share(size.share) },
            note,
        },
        Row {
            measure: String::new(),
            unit: "records/s",
            floor: Some(middle(&floors, Rate::records_per_second)),
            millrace: millrace(Rate::records_per_second),
            target: Target::None,
            note: String::new(),
        },
    ];
    let p99 = outcomes.iter().map(|outcome| outcome.status.quantile_ms(0.99)).fold(f64::NAN, f64::max);
    if size.records == LARGE.records && !outcomes.is_empty() {
        rows.push(Row {
            measure: "GET status while saturated, p99".to_owned(),
            unit: "ms",
            floor: None,
            millrace: Some(p99),
            target: Target::AtMost(50.0),
            note: format!(
                "the worst of {} rounds, {} calls together",
                outcomes.len(),
                outcomes.iter().map(|outcome| outcome.status.count()).sum::<usize>()
            ),
        });
    }
    Ok(rows)
}

async fn rounds(
    options: &Options,
    floor: &Floor,
    fleet: Option<&Fleet>,
    size: Size,
    payload: &Payload,
    time: Duration,
) -> Result<(Vec<Rate>, Vec<Outcome>)> {
    let warm_up = Duration::from_secs(2).min(time);
    floor.run(payload, size.output_bytes, warm_up).await?;
    let load = Load {
        watch_status: size.records == LARGE.records,
        ..load_of(options, size.chunks_per_push, Amount::Time(time))
    };
    if let Some(fleet) = fleet {
        load::run(fleet.client(), payload, Load { amount: Amount::Time(warm_up), ..load }).await?;
    }
    let (mut floors, mut outcomes) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        let rate = floor.run(payload, size.output_bytes, time).await?;
        say(&format!("  floor     {}", describe(&rate)));
        floors.push(rate);
        if let Some(fleet) = fleet {
            let outcome = load::run(fleet.client(), payload, load).await?;
            say(&format!("  Millrace  {}", describe(&outcome.rate)));
            outcomes.push(outcome);
        }
    }
    Ok((floors, outcomes))
}

/// One small chunk after the other.
///
/// # Errors
///
/// As [`latency::idle`].
pub async fn idle_latency(options: &Options, fleet: &Fleet) -> Result<Vec<Row>> {
    let payload = Payload::sales(SMALL.records, DIFFERENT, options.seed);
    let chunks = if options.quick { 50 } else { 200 };
    let times = latency::idle(fleet.client(), &payload, chunks).await?;
    let row = |share: f64, most: f64, note: &str| Row {
        measure: format!("idle push -> result visible, p{:.0}", share * 100.0),
        unit: "ms",
        floor: None,
        millrace: Some(times.quantile_ms(share)),
        target: Target::AtMost(most),
        note: note.to_owned(),
    };
    let note = format!("{} chunks of 10 records, one after the other", times.count());
    Ok(vec![row(0.5, 10.0, &note), row(0.99, 40.0, "")])
}

/// Memory under a flood.
///
/// # Errors
///
/// As [`memory::flood`].
pub async fn memory(options: &Options) -> Result<Vec<Row>> {
    let time = Duration::from_secs(if options.quick { 8 } else { 20 });
    let flood = memory::flood(options.seed, time).await?;
    let note = format!(
        "{} pushes of {:.1} MB taken, {} refused for now, 8 callers",
        flood.taken,
        flood.push_bytes as f64 / 1e6,
        flood.refused
    );
    let row = |who: &str, what: &str, unit, value: f64, target, note: String| Row {
        measure: format!("{who}, {what}"),
        unit,
        floor: None,
        millrace: Some(value),
        target,
        note,
    };
    let most = Target::AtMost(150.0);
    let (api, worker) = ("API under 8 MB pushes", "worker under a full lane");
    Ok(vec![
        row(api, "most memory", "MB", flood.api.max, most, note),
        row(api, "growth in 2nd half", "MB/min", flood.api.growth, Target::None, String::new()),
        row(worker, "most memory", "MB", flood.worker.max, most, "the worse of two workers".to_owned()),
        row(worker, "growth in 2nd half", "MB/min", flood.worker.growth, Target::None, String::new()),
    ])
}

/// Results after an outage of the broker.
///
/// # Errors
///
/// As [`latency::after_outage`].
pub async fn outage(options: &Options, services: &Services) -> Result<Vec<Row>> {
    let payload = Payload::sales(SMALL.records, DIFFERENT, options.seed);
    let times = latency::after_outage(services, &payload, if options.quick { 1 } else { 3 }).await?;
    Ok(vec![Row {
        measure: "first result after a 2 s broker outage".to_owned(),
        unit: "ms",
        floor: None,
        millrace: Some(times.quantile_ms(1.0)),
        target: Target::AtMost(5_000.0),
        note: format!("from the broker's return; the worst of {}", times.count()),
    }])
}

/// What nine tenants wait for a result while a tenth floods, against what they wait without it.
///
/// # Errors
///
/// As [`tenants::waits`].
pub async fn tenants(options: &Options) -> Result<Vec<Row>> {
    /// So many times their idle value is the most that others may have to wait.
    const FACTOR: f64 = 3.0;
    let small = Payload::sales(SMALL.records, DIFFERENT, options.seed);
    let large = Payload::sales(LARGE.records, DIFFERENT, options.seed);
    let chunks = if options.quick { 50 } else { 300 };
    let flood = load_of(options, LARGE.chunks_per_push, Amount::Chunks(0));
    let waits = tenants::waits(fleet_options(options), &small, &large, flood, chunks).await?;
    let row = |share: f64| {
        let (idle, flooded) = (waits.idle.quantile_ms(share), waits.flooded.quantile_ms(share));
        Row {
            measure: format!("push -> result beside a flood, p{:.0}", share * 100.0),
            unit: "ms",
            floor: Some(idle),
            millrace: Some(flooded),
            target: if share > 0.9 { Target::AtMost((FACTOR * idle).round()) } else { Target::None },
            note: String::new(),
        }
    };
    let note = format!(
        "{} tenants, {chunks} chunks of 10 records each, one after the other; the base is the same without the flood of a tenth tenant",
        tenants::OTHERS
    );
    say(&format!("  of one processor, idle:    {}", waits.idle_cpu));
    say(&format!("  of one processor, flooded: {}", waits.flooded_cpu));
    let cpu =
        format!("of one processor, beside the flood: {}; without it: {}", waits.flooded_cpu, waits.idle_cpu);
    Ok(vec![Row { note: cpu, ..row(0.5) }, Row { note, ..row(0.99) }])
}

/// The share of the base's rate that counts as flat.
const FLAT: f64 = 0.8;

/// Records a second as the work of one batch grows.
///
/// # Errors
///
/// As [`load::run`].
pub async fn growth(options: &Options, fleet: &Fleet) -> Result<Vec<Row>> {
    let payload = Payload::sales(LARGE.records, DIFFERENT, options.seed);
    let sizes: &[u64] =
        if options.quick { &[100_000, 10_000] } else { &[1_000_000, 100_000, 10_000, 10_000_000] };
    let mut base = None;
    let mut rows = Vec::new();
    for records in sizes.iter().copied() {
        // Small batches are over in a moment: the median of several.
        let repeats = (1_000_000 / records).clamp(1, if options.quick { 3 } else { 10 });
        let amount = Amount::Chunks(records / LARGE.records as u64);
        let mut rates = Vec::new();
        for _ in 0..repeats {
            let outcome =
                load::run(fleet.client(), &payload, load_of(options, LARGE.chunks_per_push, amount)).await?;
            rates.push(outcome.rate.records_per_second());
        }
        let rate = median(rates);
        say(&format!("  {records} records: {rate:.0} records/s"));
        let (compared, target) = (base, if base.is_some() { Target::Share(FLAT) } else { Target::None });
        base.get_or_insert(rate);
        rows.push(Row {
            measure: format!("one batch of {records} records"),
            unit: "records/s",
            floor: compared,
            millrace: Some(rate),
            target,
            note: format!("median of {repeats}; the base is {} records", sizes[0]),
        });
    }
    Ok(rows)
}

/// Records a second as the same work is spread over more live batches.
///
/// # Errors
///
/// As [`load::run`].
pub async fn batches(options: &Options, fleet: &Fleet) -> Result<Vec<Row>> {
    let payload = Payload::sales(LARGE.records, DIFFERENT, options.seed);
    let records: u64 = if options.quick { 200_000 } else { 2_000_000 };
    let amount = Amount::Chunks(records / LARGE.records as u64);
    let mut base = None;
    let mut rows = Vec::new();
    for batches in [1, 20, 100] {
        let load = Load { batches, ..load_of(options, LARGE.chunks_per_push, amount) };
        let rate = load::run(fleet.client(), &payload, load).await?.rate.records_per_second();
        say(&format!("  {batches} batches: {rate:.0} records/s"));
        let (compared, target) = (base, if base.is_some() { Target::Share(FLAT) } else { Target::None });
        base.get_or_insert(rate);
        rows.push(Row {
            measure: format!("{records} records in {batches} live batches"),
            unit: "records/s",
            floor: compared,
            millrace: Some(rate),
            target,
            note: String::new(),
        });
    }
    Ok(rows)
}
