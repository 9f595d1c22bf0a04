//! How long one chunk takes on an idle installation, and how soon results come again after an outage of the broker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use millrace_tests::proxy::Proxy;
use millrace_tests::{Client, Fleet, FleetOptions, Services};

use crate::load;
use crate::payload::{Checker, Payload};
use crate::rate::Times;

/// A chunk that takes longer than this is lost.
const LOST: Duration = Duration::from_secs(60);
/// The broker is out of reach for this long.
const OUTAGE: Duration = Duration::from_secs(2);

/// Pushes chunks one after the other, each when the result of the one before was seen; gives the times from sending the
/// push to having the result.
///
/// # Errors
///
/// When a call fails or a result is missing or wrong.
pub async fn idle(client: &Client, payload: &Payload, chunks: u64) -> Result<Times> {
    /// Chunks that warm connections and caches up; not counted.
    const WARM_UP: u64 = 20;
    let batch = load::open_batches(client, 1, 10).await?.pop().context("one batch")?;
    let mut checker = Checker::new();
    let mut times = Times::default();
    for number in 0..WARM_UP + chunks {
        let body = payload.push_body(std::iter::once(number));
        let began = Instant::now();
        load::push_taken(client, &batch, body).await?;
        while checker.take(payload, number + 1, &load::pull(client, &batch, 1).await?)? == 0 {
            if began.elapsed() > LOST {
                bail!("no result for {LOST:?}");
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        if number >= WARM_UP {
            times.add(began.elapsed());
        }
    }
    client.patch(&batch, "closed").await?.success()?;
    Ok(times)
}

/// Cuts every process from the broker for two seconds while chunks are pushed and pulled; gives the time from the broker's
/// return to the result of a chunk that was pushed, with success, after the outage had begun.
///
/// # Errors
///
/// When the fleet does not start, a call fails, or a result is missing, doubled or wrong.
pub async fn after_outage(services: &Services, payload: &Payload, rounds: u32) -> Result<Times> {
    let proxy = Proxy::start(services.broker_address()?).await?;
    let fleet = Fleet::sales(FleetOptions::workers(2).broker_at(proxy.address())).await?;
    let client = fleet.client();
    let batch = load::open_batches(client, 1, 10).await?.pop().context("one batch")?;
    let mut checker = Checker::new();
    let mut times = Times::default();
    let mut number = 0;
    for _ in 0..rounds {
        exchange(client, payload, &batch, &mut checker, &mut number, LOST).await?;
        proxy.down();
        let down = Instant::now();
        // A caller that goes on during the outage: what it pushes is refused, or waits for the broker.
        let during = exchange(client, payload, &batch, &mut checker, &mut number, OUTAGE).await;
        tokio::time::sleep(OUTAGE.saturating_sub(down.elapsed())).await;
        if during.is_ok() {
            bail!("a chunk went through a broker that is out of reach");
        }
        proxy.pass();
        let back = Instant::now();
        exchange(client, payload, &batch, &mut checker, &mut number, LOST).await?;
        times.add(back.elapsed());
    }
    if !checker.is_complete(number) {
        bail!("{} of {number} chunks came", checker.chunks);
    }
    Ok(times)
}

/// Pushes the next chunk until it is taken, and pulls until its result is there.
async fn exchange(
    client: &Client,
    payload: &Payload,
    batch: &str,
    checker: &mut Checker,
    number: &mut u64,
    patience: Duration,
) -> Result<()> {
    let pause = Duration::from_millis(10);
    let body = payload.push_body(std::iter::once(*number));
    let work = async {
        // Pushing the same chunk again is safe, whatever became of the call before.
        while !load::push(client, batch, body.clone()).await? {
            tokio::time::sleep(pause).await;
        }
        loop {
            checker.take(payload, *number + 1, &load::pull(client, batch, 100).await?)?;
            if checker.is_complete(*number + 1) {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
    };
    let outcome = tokio::time::timeout(patience, work).await.context("no result in time").flatten();
    if outcome.is_ok() {
        *number += 1;
    }
    outcome
}
