//! What is the same for all operations: who may call them, the ways in which they are refused, the headers of their answers, and
//! the variables of their paths.

use axum::http::Method;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, Required, SecurityRequirement};

use super::operations;
use super::schemas::{ErrorAnswer, ErrorAnswerV1, ErrorAnswerV6};
use crate::auth::{Demand, demand};
use crate::middleware::Dialect;

const KEY: &str = "x-synthetic-key";
const BEARER: &str = "bearer";
const OPERATOR: &str = "operator";

const ABOUT: &str = "Millrace is a self-hosted batch calculation fleet: a caller publishes a calculation as a service, opens a \
batch, pushes records in chunks, and pulls the results while they are made.\n\nEvery answer carries `x-request-id`: the one of the \
request, or a new one. Request bodies may be compressed (`Content-Encoding: gzip`, `deflate`, `br`, `zstd`), answers are when \
`Accept-Encoding` allows. Unknown fields of requests are ignored unless a route says otherwise; numbers may be given as text where \
a number is expected. A trailing slash does no harm, and the words of `/api/v1` paths are matched in any case.";

/// Groups of operations, in the order in which a reader needs them.
const TAGS: [(&str, &str); 15] = [
    ("Batches", "Open a batch, push chunks of records, pull results, watch it, close or cancel it."),
    ("Calls", "Evaluate records while the caller waits."),
    ("Services", "Upload, compile, publish, find and describe calculations."),
    ("Folders", "Where services are kept."),
    ("Identity", "Keys, tokens, and the audit trail."),
    ("Server", "Whether it is up, what it allows, and this document."),
    ("Events", "Streams of server-sent events."),
    ("Dashboard", "The web page of operators and of those who watch batches."),
    ("Webhooks", "Messages to others when batches end."),
    ("Job types", "Scale v6: calculations with a manifest, in versions and revisions."),
    ("Recipe types", "Scale v6: graphs of job types, in revisions."),
    ("Datasets", "Scale v6: sets of inputs."),
    (
        "Recipe batches",
        "Scale v6: a recipe for each member of a dataset, or each recipe of the batch before.",
    ),
    ("Recipes", "Scale v6: one run of a recipe type."),
    ("Jobs", "Scale v6: one evaluation."),
];

/// The ways in which a request is refused: status, name of the answer, what it means.
const REFUSALS: [(&str, &str, &str); 10] = [
    ("400", "BadRequest", "The request cannot be read; `source_path` names the place where it is known."),
    ("401", "Unauthorized", "No credential, or an unknown one."),
    ("403", "Forbidden", "The credential may not do this, or belongs to another tenant."),
    ("404", "NotFound", "It does not exist, or not for this caller."),
    ("409", "Conflict", "The state of what is named forbids it."),
    ("415", "UnsupportedMediaType", "The media type or content encoding of the body is not taken here."),
    (
        "422",
        "Unprocessable",
        "Readable, and not acceptable as it is; `source_path` names the place where it is known.",
    ),
    ("429", "TooManyRequests", "A buffer is full or a rate limit is reached. Wait for `Retry-After`."),
    (
        "503",
        "Unavailable",
        "The database, the broker or the calculation engine is away. Wait for `Retry-After`.",
    ),
    ("504", "Timeout", "The calculation took longer than the server allows."),
];

/// Variables of paths that mean the same everywhere: name, meaning, an example. Others are described at their handlers.
const VARIABLES: [(&str, &str, &str); 4] = [
    ("tenant", "The tenant; the credential must belong to it.", "acme"),
    ("folder", "The name of the folder, in any case.", "sales"),
    ("service", "The name of the service, in any case.", "SalesExample"),
    ("chunk_id", "The id of the chunk, as it was pushed.", "c1"),
];

/// Completes a document that was collected from routes.
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Millrace")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let tag = |(name, about): (&str, &str)| TagBuilder::new().name(name).description(Some(about)).build();
    document.tags = Some(TAGS.into_iter().map(tag).collect());
    document.servers = None;
    for (path, item) in &mut document.paths.paths {
        let mut first = None;
        for (method, operation) in operations(item) {
            // One handler for several methods has one name, which must not stand twice in a document.
            let id = operation.operation_id.clone().unwrap_or_default();
            if first.as_ref() == Some(&id) {
                let method = method.to_ascii_lowercase();
                operation.operation_id =
                    Some(format!("{id}By{}{}", method[..1].to_uppercase(), &method[1..]));
            }
            first.get_or_insert(id);
            complete_operation(operation, method, path);
        }
    }
    complete_components(document.components.get_or_insert_with(Components::new));
    document
}

fn complete_operation(operation: &mut Operation, method: &str, path: &str) {
    let dialect = Dialect::of(path);
    let demand = Method::from_bytes(method.as_bytes()).ok().and_then(|method| demand(&method, path));
    let mut refusals = Vec::new();
    match demand {
        // Not behind credentials at all.
        None => operation.security = Some(Vec::new()),
        Some(Demand::Nothing) => {
            operation.security = Some(Vec::new());
            refusals.push("503");
        }
        Some(demand) => {
            let scopes: Vec<&str> = match demand {
                Demand::Scope(scope) => vec![scope.as_str()],
                _ => Vec::new(),
            };
            let by = |name| SecurityRequirement::new(name, scopes.clone());
            operation.security = Some(match demand {
                Demand::Operator => vec![by(OPERATOR)],
                Demand::OperatorOrCredential => vec![by(KEY), by(BEARER), by(OPERATOR)],
                _ => vec![by(KEY), by(BEARER)],
            });
            refusals.extend(["401", "503"]);
            if demand != Demand::Operator {
                refusals.extend(["403", "429"]);
            }
        }
    }
    // What is 422 elsewhere, is 400 in v6.
    let unprocessable = (dialect != Dialect::V6).then_some("422");
    if operation.request_body.is_some() {
        refusals.extend(["400", "415"]);
        refusals.extend(unprocessable);
    }
    let variables: Vec<&str> =
        path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    if !variables.is_empty() {
        // A name may be no text (400), or text that the database cannot hold (422).
        refusals.push("400");
        refusals.extend(unprocessable);
    }
    let paged = operation.parameters.iter().flatten().any(|parameter| is_query(parameter, Some("page")));
    // A page that does not exist, or something that does not.
    if variables.iter().any(|name| *name != "tenant") || (dialect == Dialect::V6 && paged) {
        refusals.push("404");
    }
    let tenant_in_header = dialect != Dialect::V3 && demand != Some(Demand::Nothing);
    complete_parameters(operation, &variables, tenant_in_header);
    if operation.parameters.iter().flatten().any(|parameter| is_query(parameter, None)) {
        refusals.push("400");
    }
    let responses = &mut operation.responses.responses;
    for status in refusals {
        let (_, _, meaning) = refusal(status);
        responses.entry(status.to_owned()).or_insert_with(|| Response::new(meaning).into());
    }
    for (status, response) in responses {
        let RefOr::T(given) = response else { continue };
        if status.starts_with(['2', '3']) || !given.content.is_empty() {
            given.headers.insert("x-request-id".to_owned(), header("RequestId"));
            continue;
        }
        let (_, name, meaning) = refusal(status);
        let suffix = match dialect {
            Dialect::V1 => "V1",
            Dialect::V3 => "",
            Dialect::V6 => "V6",
        };
        let location = format!("#/components/responses/{name}{suffix}");
        let mut reference = Ref::new(location);
        if !given.description.is_empty() && given.description != meaning {
            reference.description = std::mem::take(&mut given.description);
        }
        *response = RefOr::Ref(reference);
    }
}

fn refusal(status: &str) -> (&'static str, &'static str, &'static str) {
    let known = REFUSALS.iter().find(|(known, _, _)| *known == status);
    *known.unwrap_or(&("500", "Internal", "A fault of the server."))
}

/// Whether it is a parameter of the query; with a name, whether it is this one.
fn is_query(parameter: &RefOr<utoipa::openapi::path::Parameter>, name: Option<&str>) -> bool {
    matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query
        && name.is_none_or(|name| name == parameter.name))
}

/// Describes the variables that every path may have, and the header that names the tenant where no path does.
fn complete_parameters(operation: &mut Operation, variables: &[&str], tenant_in_header: bool) {
    let mut parameters = operation.parameters.take().unwrap_or_default();
    let described = |parameters: &[RefOr<utoipa::openapi::path::Parameter>], name: &str| {
        parameters.iter().any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == name))
    };
    for (position, name) in variables.iter().enumerate() {
        if described(&parameters, name) {
            continue;
        }
        let Some((name, meaning, example)) = VARIABLES.iter().find(|(known, _, _)| known == name) else {
            continue;
        };
        let parameter = ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(*meaning))
            .schema(Some(text()))
            .example(Some(json!(example)));
        parameters.insert(position.min(parameters.len()), parameter.build().into());
    }
    if tenant_in_header && !described(&parameters, "x-tenant-name") {
        let parameter = ParameterBuilder::new()
            .name("x-tenant-name")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The tenant; without it, or empty, the one of the credential."))
            .schema(Some(text()))
            .example(Some(json!("acme")));
        parameters.push(parameter.build().into());
    }
    operation.parameters = Some(parameters).filter(|parameters| !parameters.is_empty());
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn header(name: &str) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

fn complete_components(components: &mut Components) {
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(KEY, "An API key.")));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "An API key, an access token of `/auth/realms/{tenant}/protocol/openid-connect/token`, or a token of a configured issuer.",
    ));
    components.security_schemes.insert(KEY.to_owned(), key.into());
    components.security_schemes.insert(BEARER.to_owned(), SecurityScheme::Http(bearer.build()).into());
    let operator = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of operators: `telemetry.metrics_token`."));
    components.security_schemes.insert(OPERATOR.to_owned(), SecurityScheme::Http(operator.build()).into());

    let seconds = |about: &str| {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        HeaderBuilder::new().schema(Some(number)).description(Some(about)).build()
    };
    let id = HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some("Identifies the request in logs and in the audit trail: the `x-request-id` of the request, or a new one."))
        .build();
    let headers = [
        ("RequestId", id),
        ("RetryAfter", seconds("How many seconds to wait before the request is sent again.")),
        ("XRetryAfter", seconds("The same as `Retry-After`, where some clients look for it.")),
    ];
    components.headers.extend(headers.map(|(name, header)| (name.to_owned(), header.into())));

    let shapes = [
        ("", of::<ErrorAnswer>(components)),
        ("V1", of::<ErrorAnswerV1>(components)),
        ("V6", of::<ErrorAnswerV6>(components)),
    ];
    for (suffix, schema) in shapes {
        for (status, name, meaning) in REFUSALS {
            let content = Content::new(Some(schema.clone()));
            let mut response =
                ResponseBuilder::new().description(meaning).content("application/json", content).build();
            response.headers.insert("x-request-id".to_owned(), header("RequestId"));
            if matches!(status, "429" | "503") {
                response.headers.insert("retry-after".to_owned(), header("RetryAfter"));
                response.headers.insert("x-retry-after".to_owned(), header("XRetryAfter"));
            }
            components.responses.insert(format!("{name}{suffix}"), response.into());
        }
    }
}

/// A reference to a schema, which is added to the components with those that it needs.
fn of<T: ToSchema>(components: &mut Components) -> RefOr<utoipa::openapi::Schema> {
    let mut needed = Vec::new();
    T::schemas(&mut needed);
    components.schemas.extend(needed);
    components.schemas.insert(T::name().into_owned(), T::schema());
    RefOr::Ref(Ref::from_schema_name(T::name()))
}
