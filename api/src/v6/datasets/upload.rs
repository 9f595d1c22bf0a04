//! `/v6/datasets/{id}/upload/`: members from a file, streamed; all of them, or none. An addition of our own.
//!
//! Bytes go to a thread that reads rows, members come back in small groups and go into a transaction that shows at the end:
//! memory holds a few frames and a few groups, whatever the size of the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use millrace_common::store::Store;
use millrace_common::store::recipes::{DatasetUpload, OpenUpload};
use millrace_table::{Reader, TableError};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::ToSchema;

use super::members::Member;
use super::rows;
use super::{find, not_found, read_definition};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::files::arrival::{self, Arrival, Arriving};
use crate::state::AppState;
use crate::v6::http::{Query, V6Page, created, datetime, id};
use crate::v6::wire::Id;

/// Members that are stored together.
const GROUP: usize = 2_000;
/// Bytes of members that are stored together.
const GROUP_BYTES: usize = 1_000_000;
/// The database ends transactions in which nothing happens for a minute: a slow sender's is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

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
/// JSON Lines has objects by these names, Parquet flat columns. Other columns are ignored. While it runs, the list of uploads shows how far it is.
#[utoipa::path(post, path = "/v6/datasets/{id}/upload/", tag = "Datasets", operation_id = "uploadDatasetMembers",
    params(
        ("id" = i64, Path, description = "The dataset."),
        ("format" = Option<String>, Query, description = "`csv`, `jsonl` or `parquet`, where the content type does not say it."),
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
    let format = arrival::format_of(query.one("format"), request.headers())?;
    let definition = read_definition(&dataset.definition)?;
    let Ok(_permit) = state.uploads.try_acquire() else {
        let text = "other files are being read; try again later";
        return Err(ApiError::too_many("TOO_MANY_UPLOADS", text, None, 5));
    };
    let bytes = Arc::new(AtomicI64::new(0));
    // Parquet has its description at the end: it is here as a whole before a transaction begins.
    let arrival = Arrival::of(&state, request.into_body(), format, Arc::clone(&bytes)).await?;
    let open = store.begin_dataset_upload(auth.0.tenant_id, dataset.id).await?.ok_or_else(not_found)?;
    let mut unfinished =
        Unfinished { store: state.store.clone(), id: Some(open.id), reason: BROKEN_OFF.to_owned() };

    let Arriving { source, feeding } = arrival.begin();
    let options = arrival::options(&state);
    let (groups, taken) = channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        let mut collector = Collector { groups, members: Vec::new(), bytes: 0 };
        rows::read(Reader::open(source, format, options)?, &definition, |member| collector.take(member))?;
        if collector.flush() { Ok(()) } else { Err(TableError::Stopped) }
    });
    let storing = take(open, taken, Arc::clone(&bytes));
    let (fed, stored) = tokio::join!(feeding, storing);
    let read = reader.await.map_err(|error| ApiError::internal(&error))?;
    let open = match stored {
        Ok(open) => open,
        // The database, before what its failure led to.
        Err(error) => {
            unfinished.reason = error.message().to_owned();
            return Err(error);
        }
    };
    let refused = match (read, fed) {
        (Ok(()), Ok(())) => {
            let done = open.finish(bytes.load(Ordering::Relaxed)).await?;
            unfinished.id = None;
            let path = format!("/v6/datasets/{}/uploads/{}/", dataset.id, done.id);
            return Ok(created(&query, &path, DatasetUploadAnswer::from(&done)));
        }
        (Err(TableError::Stopped), Ok(())) => ApiError::internal(&"an upload lost its taker"),
        (Err(error @ (TableError::Row { .. } | TableError::File(_))), _) => arrival::refused(error),
        (_, Err(error)) => error,
        (Err(error), Ok(())) => arrival::refused(error),
    };
    unfinished.reason = refused.message().to_owned();
    // Written down while its transaction holds the lock that says that it runs: nobody takes it for one that broke off.
    if state.store.fail_dataset_upload(open.id, &unfinished.reason).await.is_ok() {
        unfinished.id = None;
    }
    drop(open);
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

/// Stores the groups as they come.
async fn take(
    mut open: OpenUpload,
    mut groups: Receiver<Vec<String>>,
    bytes: Arc<AtomicI64>,
) -> Result<OpenUpload, ApiError> {
    loop {
        match tokio::time::timeout(KEEP_ALIVE, groups.recv()).await {
            Ok(Some(group)) => open.add(&group, bytes.load(Ordering::Relaxed)).await?,
            Ok(None) => return Ok(open),
            Err(_) => open.add(&[], bytes.load(Ordering::Relaxed)).await?,
        }
    }
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
