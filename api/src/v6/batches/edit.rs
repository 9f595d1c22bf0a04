//! What callers may change of a batch (scale-v6 2.4).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use millrace_common::broker::ControlEvent;
use millrace_common::store::recipes::{BatchEdit, EditedBatch};

use super::create::LONGEST_TITLE;
use super::{read_configuration, refusal};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::ChangeRecipeBatch;
use crate::state::AppState;
use crate::v6::http::{Body, id, refused};
use crate::v6::not_found;

/// Changes title, description or configuration, pauses or resumes: all that is wanted, or nothing. A priority applies to jobs that are queued
/// afterwards.
#[utoipa::path(patch, path = "/v6/batches/{id}/", tag = "Recipe batches", operation_id = "changeRecipeBatch",
    params(("id" = i64, Path, description = "The batch.")),
    request_body(content = ChangeRecipeBatch, example = json!({"title": "Prices of June", "configuration": {"priority": 10}})),
    responses((status = 204, description = "It is done.")))]
pub(super) async fn edit(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(batch): Path<String>,
    http: Request,
) -> Result<StatusCode, ApiError> {
    let batch = id(&batch)?;
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let (title, description) = (fields.text_within("title", LONGEST_TITLE)?, fields.text("description")?);
    let configuration = match fields.value("configuration")? {
        Some(document) => Some(read_configuration(Some(&document)).map_err(refusal)?),
        None => None,
    };
    // An empty one leaves what is stored.
    let configuration = configuration.filter(|(_, json)| json.as_object().is_none_or(|map| !map.is_empty()));
    let edit = BatchEdit { title, description, configuration, paused: fields.flag("is_paused")? };
    match state.acting(&caller).edit_recipe_batch(caller.tenant_id, batch, &edit).await? {
        None => Err(not_found()),
        Some(EditedBatch::Refused(findings)) => Err(refusal(findings)),
        Some(EditedBatch::Superseded) => Err(refused([(
            "SUPERSEDED_BATCH",
            "the batch has a successor, which does what is left of it: it can be neither paused nor resumed"
                .to_owned(),
        )])),
        Some(EditedBatch::Done) => {
            if edit.configuration.is_some() || edit.paused.is_some() {
                state.control.send(ControlEvent::PlanChanged);
            }
            Ok(StatusCode::NO_CONTENT)
        }
    }
}
