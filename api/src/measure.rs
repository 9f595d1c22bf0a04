//! What is measured around every request, and `/metrics`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use millrace_common::metrics::{self, Access, Sample};
use millrace_common::model::BacklogAge;
use millrace_common::store::{LaneGauges, StoreError, TenantGauges, WorkerGauges};
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::error::ApiError;
use crate::openapi::schemas::ErrorAnswer;
use crate::state::AppState;

/// Whoever asks within this time is told what was read for the one before.
const RELIED_ON: Duration = Duration::from_secs(5);

/// How long database and broker may take to be read.
const READING: Duration = Duration::from_secs(3);

/// The label of requests that match no route.
const NO_ROUTE: &str = "other";

/// What is measured of requests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Measured(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    routes: RwLock<HashMap<String, Arc<Route>>>,
    in_flight: AtomicU32,
    installation: tokio::sync::Mutex<Option<(Instant, Vec<Sample>)>>,
    ages: Mutex<HashMap<Uuid, BacklogAge>>,
}

/// The series of one route.
struct Route {
    path: String,
    seconds: ::metrics::Histogram,
    by_status: RwLock<HashMap<StatusCode, ::metrics::Counter>>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Route {
    fn answered(&self, status: StatusCode, seconds: f64) {
        self.seconds.record(seconds);
        if let Some(counter) = self.by_status.read().get(&status) {
            counter.increment(1);
            return;
        }
        let counter = metrics::HTTP_REQUESTS.of(&[&self.path, status.as_str()]);
        counter.increment(1);
        self.by_status.write().insert(status, counter);
    }
}

impl Measured {
    /// The series of a route; there are as many as there are routes.
    fn route(&self, path: &str) -> Arc<Route> {
        if let Some(route) = self.0.routes.read().get(path) {
            return Arc::clone(route);
        }
        let make = || {
            Arc::new(Route {
                path: path.to_owned(),
                seconds: metrics::HTTP_REQUEST_SECONDS.of(&[path]),
                by_status: RwLock::default(),
            })
        };
        Arc::clone(self.0.routes.write().entry(path.to_owned()).or_insert_with(make))
    }

    fn enter(&self) -> InFlight<'_> {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.0.in_flight)
    }
}

/// A request that is being answered, also when its caller goes away.
struct InFlight<'a>(&'a AtomicU32);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Measures one request.
pub async fn around(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
    let route = state.measured.route(path);
    let matched = millrace_common::trace::is_on().then(|| request.extensions().get::<MatchedPath>().cloned());
    let in_flight = state.measured.enter();
    let began = Instant::now();
    let mut response = next.run(request).await;
    if let Some(matched) = matched.flatten() {
        // Its span is named after the route.
        response.extensions_mut().insert(matched);
    }
    route.answered(response.status(), began.elapsed().as_secs_f64());
    drop(in_flight);
    response
}

/// What this process measured, in the text form of Prometheus; for whoever has the token of operators also what names tenants.
#[utoipa::path(get, path = "/metrics", tag = "Server", operation_id = "getMetrics", responses(
    (status = 200, description = "The metrics.", body = String, content_type = "text/plain"),
    (status = 401, description = "`telemetry.metrics_token` is set, and was not given.", body = ErrorAnswer)))]
pub async fn show(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let samples = match metrics::access(&state.config.telemetry.metrics_token, given) {
        Access::Refused => {
            return ApiError::unauthorized("metrics need the token of operators").into_response();
        }
        Access::Process => Vec::new(),
        Access::Everything => installation(&state).await,
    };
    metrics::HTTP_IN_FLIGHT.set(state.measured.0.in_flight.load(Ordering::Relaxed).into());
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
    metrics::HTTP_BODY_BYTES.set(state.memory.used_bytes() as f64);
    state.store.record_pools();
    ([(CONTENT_TYPE, metrics::TEXT)], metrics::render(&samples)).into_response()
}

/// What is measured of the whole installation; nothing while the database is away. However many ask, it is read once in
/// [`RELIED_ON`].
async fn installation(state: &AppState) -> Vec<Sample> {
    let mut known = state.measured.0.installation.lock().await;
    if let Some((_, samples)) = known.as_ref().filter(|(at, _)| at.elapsed() < RELIED_ON) {
        return samples.clone();
    }
    let samples = match tokio::time::timeout(READING, read(state)).await {
        Ok(Ok(samples)) => samples,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the installation cannot be measured");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!("the installation cannot be measured in time");
            Vec::new()
        }
    };
    *known = Some((Instant::now(), samples.clone()));
    samples
}

async fn read(state: &AppState) -> Result<Vec<Sample>, StoreError> {
    let silent = Duration::from_millis(state.config.worker.silent_after_ms).as_secs_f64();
    let lanes = state.store.lane_gauges().await?;
    let tenants = state.store.tenant_gauges().await?;
    let fleet = state.store.worker_gauges(silent).await?;
    let webhooks = state.store.webhook_gauges().await?;
    let mut samples = of_database(&state.measured, &lanes, &tenants, fleet);
    #[expect(clippy::cast_precision_loss, reason = "a count is far below 2^53")]
    samples.push(metrics::WEBHOOK_MESSAGES_WAITING.sample(&[], webhooks.waiting as f64));
    samples.push(metrics::WEBHOOK_OLDEST_MESSAGE.sample(&[], webhooks.oldest_seconds));
    match state.topology.dead_depth().await {
        Ok(depth) => samples.push(metrics::DEAD_LETTERS_WAITING.sample(&[], depth.ready.into())),
        Err(error) => tracing::warn!(%error, "dead letters cannot be counted"),
    }
    Ok(samples)
}

#[expect(clippy::cast_precision_loss, reason = "counts and amounts are far below 2^53")]
fn of_database(
    measured: &Measured,
    lanes: &[LaneGauges],
    tenants: &[TenantGauges],
    fleet: WorkerGauges,
) -> Vec<Sample> {
    let mut samples = vec![
        metrics::LIVE_WORKERS.sample(&[], fleet.workers as f64),
        metrics::LIVE_SLOTS.sample(&[], fleet.slots as f64),
    ];
    for tenant in tenants {
        let name = tenant.tenant.as_str();
        samples.push(metrics::TENANT_CAPACITY.sample(&[name], tenant.capacity as f64));
        samples.push(metrics::TENANT_RESERVED.sample(&[name], tenant.reserved as f64));
        for (buffer, used) in [("input", tenant.input_used), ("output", tenant.output_used)] {
            samples.push(metrics::TENANT_USED.sample(&[name, buffer], used as f64));
        }
    }
    let mut by_tenant: HashMap<&str, (u32, i64)> = HashMap::new();
    let mut ages = measured.0.ages.lock();
    let before = std::mem::take(&mut *ages);
    // Only differences count, so this process' clock will do.
    let now = Utc::now().timestamp_millis();
    for lane in lanes {
        let sums = by_tenant.entry(&lane.tenant).or_default();
        sums.0 += 1;
        sums.1 += lane.workers_in_use;
        // What a pause makes wait is no sign of a slow fleet, also afterwards.
        let known = before.get(&lane.batch_id).filter(|_| !lane.paused);
        let mut age = known.cloned().unwrap_or_default();
        let oldest = age.note(now, lane.chunks_submitted, lane.chunks_finished);
        ages.insert(lane.batch_id, age);
        let Some(number) = lane.lane_id else { continue };
        let number = format!("{number:04}");
        let labels = [lane.tenant.as_str(), number.as_str()];
        let backlog = lane.chunks_submitted - lane.chunks_finished;
        samples.push(metrics::LANE_BACKLOG.sample(&labels, backlog.max(0) as f64));
        samples.push(metrics::LANE_OLDEST.sample(&labels, oldest as f64 / 1_000.0));
        samples.push(metrics::LANE_HELD_BACK.sample(&labels, f64::from(u8::from(lane.held_back))));
        samples.push(metrics::LANE_PAUSED.sample(&labels, f64::from(u8::from(lane.paused))));
    }
    for (tenant, (batches, in_use)) in by_tenant {
        samples.push(metrics::LIVE_BATCHES.sample(&[tenant], batches.into()));
        samples.push(metrics::WORKERS_IN_USE.sample(&[tenant], in_use as f64));
    }
    samples
}
