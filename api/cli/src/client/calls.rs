//! The calls themselves: one function each.

use bytes::Bytes;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{
    BatchStatusAnswer, Call, Client, ClientError, Created, NewBatch, Overview, Payload, Published, Uploaded,
    parse, segment,
};

/// The most chunks that one pull may ask for (contract 1.3).
const PULL_CHUNKS: u32 = 100;

/// A workbook or formula document on its way to the server.
#[derive(Debug, Clone)]
pub struct Upload {
    /// JSON of the text part.
    pub entity: String,
    /// Name of the file.
    pub file_name: String,
    /// Its media type.
    pub media: &'static str,
    /// Its content.
    pub content: Bytes,
}

impl Upload {
    pub(super) fn form(&self) -> Result<Form, reqwest::Error> {
        let length = self.content.len() as u64;
        let file = Part::stream_with_length(self.content.clone(), length)
            .file_name(self.file_name.clone())
            .mime_str(self.media)?;
        Ok(Form::new().text("engineUploadRequestEntity", self.entity.clone()).part("serviceFile", file))
    }
}

impl Client {
    pub(super) fn batch_path(&self, rest: &str) -> String {
        format!("/{}/api/v4/batch{rest}", segment(self.tenant()))
    }

    fn service_path(&self, folder: &str, service: &str, rest: &str) -> String {
        format!(
            "/{}/api/v3/folders/{}/services/{}/{rest}",
            segment(self.tenant()),
            segment(folder),
            segment(service)
        )
    }

    /// Opens a batch. Not repeated when the answer is lost: that could open two.
    pub async fn create_batch(&self, batch: &NewBatch) -> Result<Created, ClientError> {
        self.send_for(&Call::json(Method::POST, self.batch_path(""), batch)?.once()).await
    }

    /// Pushes one chunk, given as the complete JSON body. The server counts the same id with the same content once, so
    /// this may be repeated.
    pub async fn push(&self, batch: &str, body: Bytes) -> Result<BatchStatusAnswer, ClientError> {
        let path = self.batch_path(&format!("/{}/chunks", segment(batch)));
        self.send_for(&Call { method: Method::POST, path, payload: Payload::Json(body), repeatable: true })
            .await
    }

    /// Reads finished chunks behind a cursor and leaves them in the output buffer; read the body as [`super::ReadAnswer`].
    pub async fn results(&self, batch: &str, after: Option<&str>) -> Result<Bytes, ClientError> {
        let after = after.map(|cursor| format!("&after={}", segment(cursor))).unwrap_or_default();
        let rest = format!("/{}/results?max={PULL_CHUNKS}{after}", segment(batch));
        self.send(&Call::get(self.batch_path(&rest))).await
    }

    /// Takes everything up to a cursor out of the output buffer. May be repeated.
    pub async fn acknowledge(&self, batch: &str, cursor: &str) -> Result<(), ClientError> {
        let path = self.batch_path(&format!("/{}/results/ack", segment(batch)));
        self.send_for::<Value>(&Call::json(Method::POST, path, &json!({ "cursor": cursor }))?).await?;
        Ok(())
    }

    /// Status of a batch.
    pub async fn batch_status(&self, batch: &str) -> Result<BatchStatusAnswer, ClientError> {
        parse_value(&self.batch_status_json(batch).await?)
    }

    /// Status of a batch, every field as the server sends it.
    pub async fn batch_status_json(&self, batch: &str) -> Result<Value, ClientError> {
        self.send_for(&Call::get(self.batch_path(&format!("/{}/status", segment(batch))))).await
    }

    /// Closes or cancels a batch.
    pub async fn change_batch(&self, batch: &str, status: &str) -> Result<BatchStatusAnswer, ClientError> {
        let path = self.batch_path(&format!("/{}", segment(batch)));
        self.send_for(&Call::json(Method::PATCH, path, &json!({ "batch_status": status }))?).await
    }

    /// Pauses a batch, or resumes it.
    pub async fn pause_batch(&self, batch: &str, paused: bool) -> Result<BatchStatusAnswer, ClientError> {
        let path = self.batch_path(&format!("/{}", segment(batch)));
        self.send_for(&Call::json(Method::PATCH, path, &json!({ "paused": paused }))?).await
    }

    /// The results of a batch as JSON Lines, to be read as they come; with `partial` what is still there.
    pub async fn export(&self, batch: &str, partial: bool) -> Result<reqwest::Response, ClientError> {
        let rest = format!("/{}/export?format=jsonl&partial={partial}", segment(batch));
        self.send_streamed(&Call::get(self.batch_path(&rest))).await
    }

    /// One page of a batch's failures behind the cursor `after`, which is empty for the first.
    pub async fn failures(
        &self,
        batch: &str,
        kind: &str,
        max: usize,
        after: &str,
    ) -> Result<Value, ClientError> {
        let after = segment(after);
        let rest = format!("/{}/failures?kind={kind}&max={max}&after={after}", segment(batch));
        self.send_for(&Call::get(self.batch_path(&rest))).await
    }

    /// Begins a redrive. The body names the new batch (`batch_id`), so it may be repeated when the answer is lost.
    pub async fn redrive(&self, batch: &str, body: &Value) -> Result<Value, ClientError> {
        let path = self.batch_path(&format!("/{}/redrive", segment(batch)));
        self.send_for(&Call::json(Method::POST, path, body)?).await
    }

    /// Whether everything in a batch is accounted for.
    pub async fn reconciliation(&self, batch: &str, digests: bool) -> Result<Value, ClientError> {
        let rest = format!("/{}/reconciliation?digests={digests}", segment(batch));
        self.send_for(&Call::get(self.batch_path(&rest))).await
    }

    /// The tenant's live and recent batches, as the server sends them.
    pub async fn overview_json(&self) -> Result<Value, ClientError> {
        self.send_for(&Call::get(self.batch_path("/status"))).await
    }

    /// Makes a folder; one that exists already is fine. `true` when it is new.
    pub async fn create_folder(&self, folder: &str) -> Result<bool, ClientError> {
        let form: String =
            [("Name", folder), ("Description", ""), ("Category", "Other"), ("Status", "Active")]
                .iter()
                .map(|(name, value)| format!("{name}={}", segment(value)))
                .collect::<Vec<_>>()
                .join("&");
        let call = Call {
            method: Method::POST,
            path: "/api/v1/product/create".to_owned(),
            payload: Payload::Form("application/x-www-form-urlencoded", form.into()),
            repeatable: true,
        };
        let exists = |code: Option<&str>| code == Some("PRODUCT_ALREADY_EXISTS");
        match self.send_for::<Value>(&call).await {
            Ok(answer) => Ok(!exists(answer["errorCode"].as_str())),
            Err(error) if exists(error.refusal().map(|refusal| refusal.code.as_str())) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a workbook or formula document, to be compiled.
    pub async fn upload(&self, folder: &str, service: &str, upload: Upload) -> Result<Uploaded, ClientError> {
        let path = self.service_path(folder, service, "upload");
        self.send_for(&Call {
            method: Method::POST,
            path,
            payload: Payload::Upload(upload),
            repeatable: true,
        })
        .await
    }

    /// How far a compilation is.
    pub async fn compilation(
        &self,
        folder: &str,
        service: &str,
        job: &str,
    ) -> Result<Compilation, ClientError> {
        let path = self.service_path(folder, service, &format!("getcompilationprogess/{}", segment(job)));
        let answer: Value = self.send_for(&Call::get(path)).await?;
        let data = &answer["response_data"];
        Ok(match data["status"].as_str() {
            Some("Success") => Compilation::Done,
            Some("Failed") => Compilation::Failed(
                data["last_error_message"].as_str().unwrap_or("no reason given").to_owned(),
            ),
            _ => Compilation::Running,
        })
    }

    /// Publishes what was uploaded as a new version.
    pub async fn publish(
        &self,
        folder: &str,
        service: &str,
        request: &Value,
    ) -> Result<Published, ClientError> {
        let path = self.service_path(folder, service, "publish");
        self.send_for(&Call::json(Method::POST, path, &json!({ "request_data": request }))?.once()).await
    }

    /// Everything known about the latest version of a service (contract 4.5 `get_schema`).
    pub async fn schema(&self, folder: &str, service: &str) -> Result<Value, ClientError> {
        let path = format!("/api/v1/product/{}/engines/get/{}", segment(folder), segment(service));
        self.send_for(&Call::get(path)).await
    }

    /// The JSON Schema of one record of the latest version of a service.
    pub async fn record_schema(&self, folder: &str, service: &str) -> Result<Value, ClientError> {
        self.send_for(&Call::get(self.service_path(folder, service, "schema"))).await
    }

    /// Versions of a service, newest first.
    pub async fn versions(&self, folder: &str, service: &str) -> Result<Value, ClientError> {
        let path = format!("/api/v1/product/{}/engines/getversions/{}", segment(folder), segment(service));
        self.send_for(&Call::get(path)).await
    }

    /// One page of the tenant's folders.
    pub async fn folders(&self, page: u32, page_size: u32) -> Result<Value, ClientError> {
        let body = json!({ "search": [], "page": page, "pageSize": page_size, "sort": "name" });
        self.send_for(&Call::json(Method::POST, "/api/v1/product/list".to_owned(), &body)?).await
    }

    /// One page of a folder's services.
    pub async fn services(&self, folder: &str, page: u32, page_size: u32) -> Result<Value, ClientError> {
        let path = format!("/api/v1/product/{}/engines", segment(folder));
        let body = json!({ "search": [], "page": page, "pageSize": page_size, "sort": "name" });
        self.send_for(&Call::json(Method::POST, path, &body)?).await
    }
}

/// How far a compilation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compilation {
    /// Ask again.
    Running,
    /// It can be published.
    Done,
    /// The document was refused, for this reason.
    Failed(String),
}

fn parse_value(value: &Value) -> Result<BatchStatusAnswer, ClientError> {
    parse("status", value.to_string().as_bytes())
}

impl Overview {
    /// Reads an overview.
    pub fn read(value: &Value) -> Result<Self, ClientError> {
        parse("status", value.to_string().as_bytes())
    }
}
