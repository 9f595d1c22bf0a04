//! Recipes: how fast they are created and run, and how fast batches are listed with a million jobs in the tables.
//!
//! A recipe has three job nodes of two services, one behind the other: a net amount, the gross amount of it, and a surcharge on
//! that. Each round uploads a dataset of its own, so that nothing is done again, and runs a batch over it.

mod floor;
mod lists;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace_tests::{Client, Fleet, FleetOptions, Services, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use self::floor::Floor;
use crate::cpu::Used;
use crate::rate::median;
use crate::table::{Row, Target};
use crate::{Options, say};

/// Jobs of a recipe.
const JOBS: u64 = 3;
/// A batch that is not at rest after this long has failed.
const STALLED: Duration = Duration::from_secs(170);
/// Time between two looks at a batch that runs.
const PAUSE: Duration = Duration::from_millis(20);

/// What a round gave.
#[derive(Debug)]
struct Round {
    /// Members a second of the upload.
    uploaded: f64,
    /// Recipes a second, from the first to the last row.
    created: f64,
    /// Jobs a second, from the call to the batch at rest.
    whole: f64,
    /// Jobs a second, from the first evaluation to the last stored result.
    running: f64,
    /// Who used the processors.
    cpu: String,
}

/// Members of a batch, and rounds: together a million jobs or more, unless it is a short run.
fn amounts(options: &Options) -> (u64, usize) {
    if options.quick { (34_000, 2) } else { (100_000, options.rounds.unwrap_or(4).max(1)) }
}

/// Batches over datasets, the floor with the same rows, and lists.
///
/// # Errors
///
/// When a call fails, or a batch does not come to rest with the outputs that it must have.
pub async fn measure(options: &Options, services: &Services) -> Result<Vec<Row>> {
    let (members, rounds) = amounts(options);
    let fleet = Fleet::start(FleetOptions::workers(options.workers)).await?;
    let client = fleet.client();
    let recipe_type = prepare(client).await?;
    let floor = Floor::prepare(services).await?;
    let (mut floors, mut outcomes) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let rate = floor.run(members, JOBS).await? * JOBS as f64;
        say(&format!("  floor     {rate:.0} jobs/s"));
        floors.push(rate);
        let dataset = Dataset { first: round as u64 * members, members };
        let outcome = run(&fleet, recipe_type, dataset).await?;
        say(&format!(
            "  Millrace  {:.0} jobs/s, {:.0} while they ran; {:.0} recipes/s created; {:.0} members/s uploaded",
            outcome.whole, outcome.running, outcome.created, outcome.uploaded
        ));
        say(&format!("  of one processor: {}", outcome.cpu));
        outcomes.push(outcome);
    }
    floor.remove().await?;
    let mut rows = rates(options, members, &floors, &outcomes);
    let last = Dataset { first: rounds as u64 * members, members };
    rows.extend(lists::measure(options, &fleet, recipe_type, last).await?);
    Ok(rows)
}

fn rates(options: &Options, members: u64, floors: &[f64], outcomes: &[Round]) -> Vec<Row> {
    let middle = |of: fn(&Round) -> f64| Some(median(outcomes.iter().map(of).collect()));
    let row = |measure: &str, unit, millrace, target, note: String| Row {
        measure: measure.to_owned(),
        unit,
        floor: None,
        millrace,
        target,
        note,
    };
    let cpu = outcomes.last().map(|round| round.cpu.clone()).unwrap_or_default();
    vec![
        Row {
            floor: Some(median(floors.to_vec())),
            ..row(
                "jobs of 3-node recipes, POST to rest",
                "jobs/s",
                middle(|round| round.whole),
                Target::AtLeast(50_000.0),
                format!(
                    "{members} members, median of {} batches, {} workers; of one processor: {cpu}",
                    outcomes.len(),
                    options.workers
                ),
            )
        },
        row(
            "first evaluation to last result",
            "jobs/s",
            middle(|round| round.running),
            Target::None,
            String::new(),
        ),
        row(
            "creation, first to last recipe",
            "recipes/s",
            middle(|round| round.created),
            Target::AtLeast(20_000.0),
            "while the jobs of those that exist already run".to_owned(),
        ),
        row(
            "upload of a dataset, CSV",
            "members/s",
            middle(|round| round.uploaded),
            Target::None,
            String::new(),
        ),
    ]
}

/// Members whose values follow from their numbers.
#[derive(Debug, Clone, Copy)]
struct Dataset {
    first: u64,
    members: u64,
}

impl Dataset {
    fn csv(self) -> String {
        let mut text = String::with_capacity(40 + self.members as usize * 20);
        text.push_str("quantity,price,rate\n");
        for number in self.first..self.first + self.members {
            let (quantity, price, rate) = values(number);
            text.push_str(&format!("{quantity},{price},{rate}\n"));
        }
        text
    }

    /// What the last jobs of all its recipes give together.
    fn total(self) -> f64 {
        (self.first..self.first + self.members)
            .map(|number| {
                let (quantity, price, rate) = values(number);
                quantity * price * (1.0 + rate) * (1.0 + rate)
            })
            .sum()
    }
}

fn values(number: u64) -> (f64, f64, f64) {
    ((number % 1_000) as f64 + 1.0, (number / 1_000) as f64 + 0.25, (number % 4) as f64 * 0.25)
}

async fn post(client: &Client, path: &str, body: &Value) -> Result<Value> {
    Ok(client.post(path, body).await?.success()?.body)
}

fn id(answer: &Value) -> Result<i64> {
    answer["id"].as_i64().with_context(|| format!("no id in {answer}"))
}

/// Publishes the services, and makes the job types and the recipe type; gives its id.
async fn prepare(client: &Client) -> Result<i64> {
    client.create_folder("recipes").await?.success()?;
    for (name, inputs, output, formula) in [
        ("net", ["quantity", "price"], "amount", "quantity * price"),
        ("gross", ["amount", "rate"], "total", "amount * (1 + rate)"),
    ] {
        let fields: Vec<Value> =
            inputs.iter().map(|name| json!({"name": name, "type": "number", "default": 0})).collect();
        let document = json!({
            "millrace": "formula-document/1", "name": name, "inputs": fields,
            "outputs": [{"name": output, "formula": formula}],
        });
        let content = serde_json::to_vec(&document)?;
        client.upload_and_publish("recipes", name, &format!("{name}.json"), &content).await?;
        let taken: Vec<Value> = inputs.iter().map(|name| json!({"name": name, "type": "number"})).collect();
        let manifest = json!({"seedVersion": "1.0.0", "job": {
            "name": name, "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": name, "description": name,
            "timeout": 60,
            "interface": {"inputs": {"json": taken}, "outputs": {"json": [{"name": output, "type": "number"}]}},
        }});
        let model = json!({"service": format!("recipes/{name}")});
        post(client, "/v6/job-types/", &json!({"manifest": manifest, "model": model, "configuration": {}}))
            .await?;
    }
    let job = |name: &str, after: &[&str], input: Value| {
        let dependencies: Vec<Value> = after.iter().map(|name| json!({"name": name})).collect();
        json!({"dependencies": dependencies, "input": input, "node_type": {
            "node_type": "job", "job_type_name": name, "job_type_version": "1.0.0", "job_type_revision": 1,
        }})
    };
    let given = |input: &str| json!({"type": "recipe", "input": input});
    let made = |node: &str, output: &str| json!({"type": "dependency", "node": node, "output": output});
    let parameters: Vec<Value> =
        ["quantity", "price", "rate"].iter().map(|name| json!({"name": name, "type": "number"})).collect();
    let definition = json!({
        "input": {"json": parameters},
        "nodes": {
            "net": job("net", &[], json!({"quantity": given("quantity"), "price": given("price")})),
            "gross": job("gross", &["net"], json!({"amount": made("net", "amount"), "rate": given("rate")})),
            "surcharge": job("gross", &["gross"], json!({"amount": made("gross", "total"), "rate": given("rate")})),
        },
    });
    id(&post(client, "/v6/recipe-types/", &json!({"title": "Amounts", "definition": definition})).await?)
}

/// Uploads a dataset; gives its id.
async fn upload(client: &Client, dataset: Dataset) -> Result<i64> {
    let parameters: Vec<Value> =
        ["quantity", "price", "rate"].iter().map(|name| json!({"name": name, "type": "number"})).collect();
    let definition = json!({"parameters": {"json": parameters}});
    let made =
        id(&post(client, "/v6/datasets/", &json!({"title": "Orders", "definition": definition})).await?)?;
    let request = client
        .request(Method::POST, &format!("/v6/datasets/{made}/upload/"))
        .header("content-type", "text/csv")
        .body(dataset.csv());
    client.send(request).await?.success()?;
    Ok(made)
}

/// Creates a batch; gives its id.
async fn create(client: &Client, recipe_type: i64, dataset: i64) -> Result<i64> {
    let batch = json!({"title": "Orders", "recipe_type_id": recipe_type, "definition": {"dataset": dataset}});
    id(&post(client, "/v6/batches/", &batch).await?)
}

/// Whether every recipe of a batch exists and is completed.
async fn at_rest(client: &Client, batch: i64, members: u64) -> Result<bool> {
    let batch = client.get(&format!("/v6/batches/{batch}/")).await?.success()?.body;
    let count = |name: &str| batch[name].as_u64().unwrap_or(0);
    ensure!(count("jobs_failed") == 0, "jobs failed: {batch}");
    Ok(batch["is_creation_done"] == json!(true)
        && count("recipes_completed") == members
        && count("jobs_completed") == members * JOBS)
}

/// Uploads a dataset, and runs a batch over it.
async fn run(fleet: &Fleet, recipe_type: i64, dataset: Dataset) -> Result<Round> {
    let (client, members) = (fleet.client(), dataset.members);
    let began = Instant::now();
    let id = upload(client, dataset).await?;
    let uploaded = members as f64 / began.elapsed().as_secs_f64();

    let (before, began) = (Used::now(), Instant::now());
    let batch = create(client, recipe_type, id).await?;
    while !at_rest(client, batch, members).await? {
        ensure!(began.elapsed() < STALLED, "batch {batch} is not at rest after {STALLED:?}");
        tokio::time::sleep(PAUSE).await;
    }
    let took = began.elapsed().as_secs_f64();
    let cpu = Used::now().since(&before);

    let database = fleet.database().connect().await?;
    let row = database
        .query_one(
            "SELECT count(*), extract(epoch FROM max(ended) - min(started))::float8,
                 sum((output #>> '{json,total}')::float8) FILTER (WHERE node = 2)
             FROM jobs WHERE batch_id = $1 AND status = 'COMPLETED'",
            &[&batch],
        )
        .await?;
    let (jobs, ran, total): (i64, f64, f64) = (row.get(0), row.get(1), row.get(2));
    ensure!(jobs.unsigned_abs() == members * JOBS, "{jobs} jobs of {members} recipes completed");
    let expected = dataset.total();
    ensure!((total - expected).abs() <= expected * 1e-9, "the outputs sum up to {total}, not {expected}");
    let row = database
        .query_one(
            "SELECT count(*), extract(epoch FROM max(created) - min(created))::float8 FROM recipes WHERE batch_id = $1",
            &[&batch],
        )
        .await?;
    let (recipes, creation): (i64, f64) = (row.get(0), row.get(1));
    ensure!(recipes.unsigned_abs() == members, "{recipes} recipes of {members} members");
    Ok(Round {
        uploaded,
        created: members as f64 / creation,
        whole: jobs as f64 / took,
        running: jobs as f64 / ran,
        cpu,
    })
}

/// Until a batch is at rest.
async fn wait_for_rest(client: &Client, batch: i64, members: u64) -> Result<()> {
    wait_until("the batch is at rest", STALLED, || async {
        Ok(at_rest(client, batch, members).await?.then_some(()))
    })
    .await
}
