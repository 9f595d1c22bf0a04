//! What a process shows at `/metrics`.

use anyhow::{Result, ensure};

use crate::client::http;

/// The text of one look at `/metrics`.
#[derive(Debug, Clone)]
pub struct Scrape(String);

impl Scrape {
    /// Asks a server, with the token of operators where one is set.
    ///
    /// # Errors
    ///
    /// When it refuses or does not answer.
    pub async fn of(url: &str, token: Option<&str>) -> Result<Self> {
        let request = http()?.no_proxy().build()?.get(format!("{url}/metrics"));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await?;
        ensure!(response.status().is_success(), "/metrics was answered {}", response.status());
        Ok(Self(response.text().await?))
    }

    /// Whether the metric is there, with any labels.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&format!("# TYPE {name} "))
    }

    /// The value of one series, written as it is shown: `name` or `name{label="value"}`; 0 when it is not there.
    pub fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0
    }
}
