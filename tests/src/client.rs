//! The contract's calls, one method each; nothing is retried or hidden, so that tests see what a caller sees.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::wait::wait_until;

/// A caller of one tenant with one key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    tenant: String,
    key: String,
}

/// HTTP without TLS, which every server of a fleet speaks; no authorities of the system are needed.
///
/// # Errors
///
/// When TLS cannot be set up at all.
pub fn http() -> Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder().tls_backend_preconfigured(millrace_common::tls::untrusting_config()?))
}

impl Client {
    /// A caller of `http://address`.
    ///
    /// # Errors
    ///
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, tenant: &str, key: &str) -> Result<Self> {
        let http = http()?
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(120))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            tenant: tenant.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The same caller, asking another server.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    /// The same server, asked for another tenant with another key.
    #[must_use]
    pub fn as_tenant(&self, tenant: &str, key: &str) -> Self {
        Self { tenant: tenant.to_owned(), key: key.to_owned(), ..self.clone() }
    }

    /// A request with this caller's credentials; `path` begins with a slash, and `{tenant}` stands for the tenant.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let path = path.replace("{tenant}", &self.tenant);
        self.http
            .request(method, format!("{}{path}", self.base))
            .header("x-synthetic-key", &self.key)
            .header("x-tenant-name", &self.tenant)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// When no complete answer comes; any status is an answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let request = request.build()?;
        let asked = format!("{} {}", request.method(), request.url().path());
        let response = self.http.execute(request).await.with_context(|| asked.clone())?;
        Answer::read(asked, response).await
    }

    /// `GET path`.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    // Folders and services (contract 4.2, 4.3) --------------------------------------------------------------------------

    /// Creates a folder, in the form encoding of the Python SDK.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn create_folder(&self, name: &str) -> Result<Answer> {
        let fields = [("Name", name), ("Description", name), ("Category", "Other"), ("Status", "Design")];
        let form = Url::parse_with_params("http://form/", fields)?.query().unwrap_or_default().to_owned();
        let request = self.request(Method::POST, "/api/v1/product/create");
        self.send(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await
    }

    /// Uploads a workbook or formula document: step 1 of contract 4.3.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn upload(&self, folder: &str, service: &str, file: &str, content: &[u8]) -> Result<Answer> {
        let about = json!({"request_data": {"version_difference": "minor"}}).to_string();
        let form = Form::new()
            .text("engineUploadRequestEntity", about)
            .part("serviceFile", Part::bytes(content.to_vec()).file_name(file.to_owned()));
        let path = format!("/{{tenant}}/api/v3/folders/{folder}/services/{service}/upload");
        self.send(self.request(Method::POST, &path).multipart(form)).await
    }

    /// Uploads, waits for the compilation and publishes, as the SDKs do; gives the version's id.
    ///
    /// # Errors
    ///
    /// When a step is refused, or the compilation fails.
    pub async fn upload_and_publish(
        &self,
        folder: &str,
        service: &str,
        file: &str,
        content: &[u8],
    ) -> Result<String> {
        let uploaded = self.upload(folder, service, file, content).await?.success()?;
        let job = uploaded.text("/response_data/nodegen_compilation_jobid")?;
        let path =
            format!("/{{tenant}}/api/v3/folders/{folder}/services/{service}/getcompilationprogess/{job}");
        let compiled = wait_until("the service is compiled", Duration::from_secs(30), || async {
            let answer = self.get(&path).await?.success()?;
            Ok((answer.integer("/response_data/progress")? == 100).then_some(answer))
        })
        .await?;
        if compiled.text("/response_data/status")? != "Success" {
            bail!("{}", compiled.describe());
        }
        let document = |name: &str| uploaded.text(&format!("/response_data/{name}")).map(str::to_owned);
        let publication = json!({"request_data": {
            "draft_service_name": service,
            "original_file_documentid": document("original_file_documentid")?,
            "engine_file_documentid": document("engine_file_documentid")?,
            "version_difference": "minor",
        }});
        let path = format!("/{{tenant}}/api/v3/folders/{folder}/services/{service}/publish");
        let published = self.post(&path, &publication).await?.success()?;
        Ok(published.text("/response_data/version_id")?.to_owned())
    }

    // Synchronous execution (contract 4.4) ------------------------------------------------------------------------------

    /// Execute, v4.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn execute_v4(&self, body: &Value) -> Result<Answer> {
        self.post("/{tenant}/api/v4/execute", body).await
    }

    /// Execute, v3.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn execute_v3(&self, folder: &str, service: &str, body: &Value) -> Result<Answer> {
        self.post(&format!("/{{tenant}}/api/v3/folders/{folder}/services/{service}/execute"), body).await
    }

    // Batches (contract 1) ----------------------------------------------------------------------------------------------

    /// Creates a batch.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn create_batch(&self, body: &Value) -> Result<Answer> {
        self.post("/{tenant}/api/v4/batch", body).await
    }

    /// Creates a batch that must be accepted; gives its id.
    ///
    /// # Errors
    ///
    /// When the batch is refused.
    pub async fn open_batch(&self, body: &Value) -> Result<String> {
        Ok(self.create_batch(body).await?.success()?.text("/id")?.to_owned())
    }

    /// Pushes chunks as JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn push(&self, batch: &str, body: &Value) -> Result<Answer> {
        self.post(&format!("/{{tenant}}/api/v4/batch/{batch}/chunks"), body).await
    }

    /// Pushes a body as it is: another type, a compressed one, a broken one.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn push_bytes(
        &self,
        batch: &str,
        content_type: &str,
        content_encoding: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let path = format!("/{{tenant}}/api/v4/batch/{batch}/chunks");
        let mut request = self.request(Method::POST, &path).header("content-type", content_type);
        if let Some(encoding) = content_encoding {
            request = request.header("content-encoding", encoding);
        }
        self.send(request.body(body.into())).await
    }

    /// Pulls up to `max` results.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn pull(&self, batch: &str, max: usize) -> Result<Answer> {
        self.get(&format!("/{{tenant}}/api/v4/batch/{batch}/chunkresults?max={max}")).await
    }

    /// Pulls until `chunks` results are there. Returns more when more come, so that doubled results show.
    ///
    /// # Errors
    ///
    /// When a pull is refused, or the results are not there within `deadline`.
    pub async fn pull_all(&self, batch: &str, chunks: usize, deadline: Duration) -> Result<Vec<Value>> {
        let mut results = Vec::with_capacity(chunks);
        let pulling = async {
            while results.len() < chunks {
                let answer = self.pull(batch, 100).await?.success()?;
                let came = answer.list("/data")?;
                if came.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                results.extend_from_slice(came);
            }
            anyhow::Ok(())
        };
        let outcome = tokio::time::timeout(deadline, pulling).await;
        let what =
            || format!("{} of {chunks} results of batch {batch} came within {deadline:?}", results.len());
        outcome.with_context(what)?.with_context(what)?;
        Ok(results)
    }

    /// The batch's status.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn status(&self, batch: &str) -> Result<Answer> {
        self.get(&format!("/{{tenant}}/api/v4/batch/{batch}/status")).await
    }

    /// Waits until the batch has this `batch_status`; gives the status answer.
    ///
    /// # Errors
    ///
    /// When it has another one at the deadline.
    pub async fn wait_for_status(&self, batch: &str, wanted: &str, deadline: Duration) -> Result<Answer> {
        wait_until(&format!("batch {batch} is {wanted}"), deadline, || async {
            let answer = self.status(batch).await?.success()?;
            let now = answer.text("/batch_status")?.to_owned();
            if now == wanted { Ok(Some(answer)) } else { bail!("it is {now}") }
        })
        .await
    }

    /// The batch's information.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn info(&self, batch: &str) -> Result<Answer> {
        self.get(&format!("/{{tenant}}/api/v4/batch/{batch}")).await
    }

    /// The tenant's overview.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn overview(&self) -> Result<Answer> {
        self.get("/{tenant}/api/v4/batch/status").await
    }

    /// Closes (`closed`) or cancels (`cancelled`) a batch.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn patch(&self, batch: &str, status: &str) -> Result<Answer> {
        let request = self.request(Method::PATCH, &format!("/{{tenant}}/api/v4/batch/{batch}"));
        self.send(request.json(&json!({"batch_status": status}))).await
    }

    /// Pauses a batch, or resumes it.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn pause(&self, batch: &str, paused: bool) -> Result<Answer> {
        let request = self.request(Method::PATCH, &format!("/{{tenant}}/api/v4/batch/{batch}"));
        self.send(request.json(&json!({"paused": paused}))).await
    }
}
