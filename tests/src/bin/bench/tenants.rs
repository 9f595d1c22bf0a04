//! What a tenant that floods costs the others.

use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use millrace_tests::{Client, Fleet, FleetOptions, SALES, sales_workbook};

use crate::cpu::Used;
use crate::latency;
use crate::load::{self, Amount, Load};
use crate::payload::Payload;
use crate::rate::Times;

/// Tenants that are measured, beside the one that floods.
pub const OTHERS: usize = 9;

/// The flood is under way for this long before anything is measured.
const RISING: Duration = Duration::from_secs(2);

/// How long one small chunk of the others takes.
#[derive(Debug)]
pub struct Waits {
    /// While nobody floods.
    pub idle: Times,
    /// While one tenant floods.
    pub flooded: Times,
    /// Who used the processors while nobody floods.
    pub idle_cpu: String,
    /// Who used the processors while one tenant floods.
    pub flooded_cpu: String,
}

/// Has nine tenants push one chunk after the other, each when the result of the one before was seen, all at once; first alone and
/// then beside a tenant that pushes as much as it can.
///
/// # Errors
///
/// When a call fails, a result is missing or wrong, or the flood ends too early.
pub async fn waits(
    options: FleetOptions,
    small: &Payload,
    large: &Payload,
    flood: Load,
    chunks: u64,
) -> Result<Waits> {
    let fleet = Fleet::sales(options).await?;
    let mut others = Vec::with_capacity(OTHERS);
    for number in 0..OTHERS {
        others.push(tenant(&fleet, &format!("other-{number}")).await?);
    }
    let (idle, idle_cpu) = measure(&others, small, chunks).await?;
    let flood = Load { amount: Amount::Time(Duration::from_secs(3_600)), ..flood };
    let flooded = async {
        tokio::time::sleep(RISING).await;
        measure(&others, small, chunks).await
    };
    tokio::select! {
        ended = load::run(fleet.client(), large, flood) => {
            ended?;
            bail!("the flood ended before the others did");
        }
        flooded = flooded => {
            let (flooded, flooded_cpu) = flooded?;
            Ok(Waits { idle, flooded, idle_cpu, flooded_cpu })
        }
    }
}

/// A tenant with the sales example.
async fn tenant(fleet: &Fleet, name: &str) -> Result<Client> {
    let key = fleet.create_tenant(name).await?;
    let client = fleet.client().as_tenant(name, &key);
    if let Some((folder, service)) = SALES.split_once('/') {
        client.create_folder(folder).await?.success()?;
        client.upload_and_publish(folder, service, "sales.xlsx", &sales_workbook()?).await?;
    }
    Ok(client)
}

/// The times of all tenants together, and who used the processors meanwhile.
async fn measure(tenants: &[Client], payload: &Payload, chunks: u64) -> Result<(Times, String)> {
    let before = Used::now();
    let each = try_join_all(tenants.iter().map(|client| latency::idle(client, payload, chunks))).await?;
    let mut all = Times::default();
    for times in each {
        all.extend(times);
    }
    Ok((all, Used::now().since(&before)))
}
