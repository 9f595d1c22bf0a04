//! `/v6/datasets/{id}/upload/`: members from a file, streamed; all of them, or none. An addition of our own.
//!
//! Bytes go to a thread that reads rows, members come back in small groups and go into a transaction that shows at the end:
//! memory holds a few frames and a few groups, whatever the size of the file.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use futures_util::StreamExt;
use millrace_common::store::Store;
use millrace_common::store::recipes::{DatasetUpload, OpenUpload};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::ToSchema;

use super::members::Member;
use super::rows::{self, Format, RowError};
use super::{find, not_found, read_definition};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;
use crate::v6::http::{Query, V6Page, created, datetime, id};
use crate::v6::wire::Id;

/// Members that are stored together.
const GROUP: usize = 2_000;
/// Bytes of members that are stored together.
const GROUP_BYTES: usize = 1_000_000;
/// Frames of the body that wait to be read.
const FRAMES: usize = 16;
/// A sender that is silent for this long is given up.
const STALL: Duration = Duration::from_secs(30);

/// How far a file is on its way into a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetUploadAnswer {
    /// Its id.
    pub id: i64,
    /// The dataset.
    pub dataset: Id,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// Bytes read.
    pub bytes: i64,
    /// Members read; they show in the dataset when all are in.
    pub members: i64,
    /// When it began.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it ended.
    #[schema(format = DateTime)]
    pub finished: Option<String>,
}

impl From<&DatasetUpload> for DatasetUploadAnswer {
    fn from(upload: &DatasetUpload) -> Self {
        Self {
            id: upload.id,
            dataset: Id { id: upload.dataset_id },
            state: upload.state.clone(),
            reason: upload.reason.clone(),
            bytes: upload.bytes,
            members: upload.members,
            created: datetime(upload.created),
            finished: upload.finished.map(datetime),
        }
    }
}

/// Adds the rows of a file to a dataset, one member each: all of them, or none. CSV has a heading with the names of parameters;
/// JSON Lines has objects by these names. Other columns are ignored. While it runs, the list of uploads shows how far it is.
#[utoipa::path(post, path = "/v6/datasets/{id}/upload/", tag = "Datasets", operation_id = "uploadDatasetMembers",
    params(
        ("id" = i64, Path, description = "The dataset."),
        ("format" = Option<String>, Query, description = "`csv` or `jsonl`, where the content type does not say it."),
    ),
    request_body(content = String, content_type = "text/csv", description = "The file."),
    responses((status = 201, description = "All rows are members; `Location` says where this is kept.", body = DatasetUploadAnswer)))]
pub(super) async fn upload(
    State(state): State<AppState>,
    auth: Auth,
    Path(text): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let store = state.acting(&auth.0);
    let dataset = find(&state, &auth, &text).await?;
    let format = format_of(&query, &request)?;
    let definition = read_definition(&dataset.definition)?;
    let Ok(_permit) = state.uploads.try_acquire() else {
        return Err(ApiError::too_many(
            "TOO_MANY_UPLOADS",
            "other files are being read; try again later",
            None,
            5,
        ));
    };
    let open = store.begin_dataset_upload(auth.0.tenant_id, dataset.id).await?.ok_or_else(not_found)?;
    let mut unfinished =
        Unfinished { store: state.store.clone(), id: Some(open.id), reason: BROKEN_OFF.to_owned() };

    let bytes = Arc::new(AtomicI64::new(0));
    let (frames, rest) = channel(FRAMES);
    let (groups, taken) = channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        let mut collector = Collector { groups, members: Vec::new(), bytes: 0 };
        rows::read(Frames { frames: rest, current: Bytes::new() }, format, &definition, |member| {
            collector.take(member)
        })?;
        if collector.flush() { Ok(()) } else { Err(RowError::Stopped) }
    });
    let feeding = feed(request.into_body(), frames, Arc::clone(&bytes));
    let storing = take(open, taken, Arc::clone(&bytes));
    let (fed, stored) = tokio::join!(feeding, storing);
    let read = reader.await.map_err(|error| ApiError::internal(&error))?;
    let refused = match (read, stored, fed) {
        (Err(RowError::Stopped), Ok(_), Ok(())) => ApiError::internal(&"an upload lost its taker"),
        (Ok(()), Ok(open), Ok(())) => {
            let done = open.finish(bytes.load(Ordering::Relaxed)).await?;
            unfinished.id = None;
            let path = format!("/v6/datasets/{}/uploads/{}/", dataset.id, done.id);
            return Ok(created(&query, &path, DatasetUploadAnswer::from(&done)));
        }
        // The database, before what its failure led to.
        (_, Err(error), _) => error,
        (Err(error @ RowError::Row { .. }), ..) => {
            ApiError::bad_request("INVALID_ROW", error.to_string(), None)
        }
        (_, _, Err(error)) => error,
        (Err(error), ..) => ApiError::bad_request("BODY_INCOMPLETE", error.to_string(), None),
    };
    unfinished.reason = refused.message().to_owned();
    Err(refused)
}

/// What is said of an upload whose caller went away.
const BROKEN_OFF: &str = "the upload broke off";

/// Says of an upload that ends in any other way than well, that it failed.
struct Unfinished {
    store: Store,
    id: Option<i64>,
    reason: String,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let (store, reason) = (self.store.clone(), std::mem::take(&mut self.reason));
        tokio::spawn(async move {
            if let Err(error) = store.fail_dataset_upload(id, &reason).await {
                tracing::warn!(upload = id, %error, "an upload failed, and that could not be written down");
            }
        });
    }
}

fn format_of(query: &Query, request: &Request) -> Result<Format, ApiError> {
    if request.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ApiError::unsupported_media_type("uploads are taken without a content encoding"));
    }
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match (query.one("format"), media) {
        (Some(name), _) => Format::named(name)
            .ok_or_else(|| ApiError::bad_request("INVALID_PARAMETER", "format must be csv or jsonl", None)),
        (None, media) => media.and_then(Format::named).ok_or_else(|| {
            let text =
                "send text/csv or application/x-ndjson, or name the format: ?format=csv or ?format=jsonl";
            ApiError::unsupported_media_type(text)
        }),
    }
}

/// Hands the body's frames to the reader. That the reader has ended is no error here.
async fn feed(body: HttpBody, frames: Sender<Bytes>, bytes: Arc<AtomicI64>) -> Result<(), ApiError> {
    let mut body = body.into_data_stream();
    let refused = |text: String| Err(ApiError::bad_request("BODY_INCOMPLETE", text, None));
    loop {
        match tokio::time::timeout(STALL, body.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => {
                bytes.fetch_add(i64::try_from(frame.len()).unwrap_or(0), Ordering::Relaxed);
                if frames.send(frame).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Some(Err(error))) => return refused(format!("the body broke off: {error}")),
            Err(_) => return refused(format!("no byte of the body came for {} s", STALL.as_secs())),
        }
    }
}

/// Stores the groups as they come.
async fn take(
    mut open: OpenUpload,
    mut groups: Receiver<Vec<String>>,
    bytes: Arc<AtomicI64>,
) -> Result<OpenUpload, ApiError> {
    while let Some(group) = groups.recv().await {
        open.add(&group, bytes.load(Ordering::Relaxed)).await?;
    }
    Ok(open)
}

/// Members on their way to the database.
struct Collector {
    groups: Sender<Vec<String>>,
    members: Vec<String>,
    bytes: usize,
}

impl Collector {
    fn take(&mut self, member: Member) -> bool {
        self.bytes += member.text.len();
        self.members.push(member.text);
        (self.members.len() < GROUP && self.bytes < GROUP_BYTES) || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let group = std::mem::take(&mut self.members);
        group.is_empty() || self.groups.blocking_send(group).is_ok()
    }
}

/// A body's frames as a file.
struct Frames {
    frames: Receiver<Bytes>,
    current: Bytes,
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.frames.blocking_recv() {
                Some(frame) => self.current = frame,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// Uploads to a dataset, newest first, with how far they are.
#[utoipa::path(get, path = "/v6/datasets/{id}/uploads/", tag = "Datasets", operation_id = "listDatasetUploads",
    params(
        ("id" = i64, Path, description = "The dataset."),
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<DatasetUploadAnswer>)))]
pub(super) async fn list(
    State(state): State<AppState>,
    auth: Auth,
    Path(text): Path<String>,
    query: Query,
) -> Result<Json<V6Page<DatasetUploadAnswer>>, ApiError> {
    let dataset = find(&state, &auth, &text).await?;
    let page = query.page()?;
    let count = state.store.count_dataset_uploads(auth.0.tenant_id, dataset.id).await?;
    let found = state.store.dataset_uploads(auth.0.tenant_id, dataset.id, page.window(count)?).await?;
    page.envelope(count, found.iter().map(Into::into).collect())
}

/// How far an upload is.
#[utoipa::path(get, path = "/v6/datasets/{id}/uploads/{upload}/", tag = "Datasets", operation_id = "getDatasetUpload",
    params(("id" = i64, Path, description = "The dataset."), ("upload" = i64, Path, description = "The upload.")),
    responses((status = 200, description = "The upload.", body = DatasetUploadAnswer)))]
pub(super) async fn show(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((dataset, upload)): Path<(String, String)>,
) -> Result<Json<DatasetUploadAnswer>, ApiError> {
    let found = state.store.dataset_upload(caller.tenant_id, id(&dataset)?, id(&upload)?).await?;
    Ok(Json((&found.ok_or_else(not_found)?).into()))
}
