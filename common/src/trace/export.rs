//! OpenTelemetry's SDK as it is used here: from a bounded queue to the collector, in the background. Nobody waits for it: what it
//! cannot take or send is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanLimits,
};
use opentelemetry_semantic_conventions::SCHEMA_URL;

use super::TraceError;
use super::account::{Account, Bounded, Counted};
use super::attribute::{SERVICE_INSTANCE_ID, SERVICE_VERSION};
use super::collector::Collector;
use crate::config::OtlpConfig;

/// The most spans of one request.
const BATCH: usize = 512;
/// How long spans wait for company.
const GATHER: Duration = Duration::from_secs(1);
/// How often a batch is sent again before it is given up.
const RETRIES: u32 = 2;
/// The first pause between two tries, and the longest that a collector may ask for.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// The longest that the end of the process waits for the last spans.
const LAST: Duration = Duration::from_secs(4);

/// Whatever sends spans.
#[derive(Debug)]
pub struct Exporting {
    provider: SdkTracerProvider,
    account: Arc<Account>,
}

impl Exporting {
    /// Sends what has gathered, for four seconds at most.
    pub async fn end(self) {
        self.account.end();
        // It blocks until its thread has ended.
        let _ = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST)).await;
    }
}

/// Who is recorded: whoever's caller says so, and of those without a caller this part, by their ids.
pub(super) fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

/// Starts the SDK with its thread; to be called within a runtime, which the requests run on.
pub(super) fn start(config: &OtlpConfig, service: &str) -> Result<(SdkTracer, Exporting), TraceError> {
    let most = config.queue_spans.max(1);
    let account = Arc::new(Account::new(most));
    let timeout = Duration::from_millis(config.timeout_ms);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(config, timeout, Arc::clone(&account))?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", config.endpoint.trim_end_matches('/')))
        // Of all tries together; the client bounds each.
        .with_timeout(timeout.saturating_add(PAUSES[1]).saturating_mul(RETRIES + 1))
        .with_retry_policy(
            RetryPolicy::recommended()
                .with_max_retries(RETRIES as usize)
                .with_initial_delay(PAUSES[0])
                .with_max_delay(PAUSES[1]),
        )
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(most)
        .with_max_export_batch_size(BATCH.min(most))
        .with_scheduled_delay(GATHER)
        .build();
    let exporter = Counted::new(exporter, Arc::clone(&account));
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            KeyValue::new(SERVICE_INSTANCE_ID, uuid::Uuid::new_v4().to_string()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Bounded::new(processor, Arc::clone(&account)))
        .with_sampler(sampler(config.ratio))
        // Those of the specification, whatever `OTEL_SPAN_…` says.
        .with_span_limits(SpanLimits::default())
        .with_resource(resource)
        .build();
    let scope = InstrumentationScope::builder("millrace")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build();
    Ok((provider.tracer_with_scope(scope), Exporting { provider, account }))
}
