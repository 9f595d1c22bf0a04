//! Job types on the wire.

use millrace_common::model::recipe::echo;
use millrace_common::store::recipes::{JobType, JobTypeRevisionRow};
use serde_json::{Value, json};

use crate::v6::http::datetime;

/// A job type in lists and inside of others.
pub(in crate::v6) fn summary(job_type: &JobType) -> Value {
    json!({
        "id": job_type.id, "name": job_type.name, "version": job_type.version, "title": job_type.title,
        "description": job_type.description, "icon_code": job_type.icon_code, "is_published": job_type.is_published,
        "is_active": job_type.is_active, "is_paused": job_type.is_paused, "is_system": job_type.is_system,
        "max_scheduled": job_type.max_scheduled, "max_tries": job_type.max_tries, "revision_num": job_type.revision_num,
        "docker_image": job_type.docker_image, "unmet_resources": null, "created": datetime(job_type.created),
        "deprecated": job_type.deprecated.map(datetime), "paused": job_type.paused.map(datetime),
        "last_modified": datetime(job_type.last_modified),
    })
}

/// A job type with its documents. Its recipe types are put in by those who know them.
pub(in crate::v6) fn details(job_type: &JobType) -> Value {
    let mut body = summary(job_type);
    body["manifest"] = job_type.manifest.clone();
    body["configuration"] = echo::flat(&job_type.configuration);
    body["model"] = job_type.model.clone();
    body["recipe_types"] = json!([]);
    body
}

/// A revision in lists.
pub(super) fn revision(job_type: &JobType, row: &JobTypeRevisionRow) -> Value {
    json!({
        "id": row.id, "job_type": summary(job_type), "revision_num": row.revision_num,
        "docker_image": row.docker_image, "created": datetime(row.created),
    })
}
