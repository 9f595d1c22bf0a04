//! The files of the page, built into the program.

use std::sync::LazyLock;

use axum::http::HeaderValue;

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Its name, as it stands in the folder and in the address.
    pub name: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// What is sent.
    pub bytes: &'static [u8],
    /// Tells versions apart. Weak, because what is sent may be compressed.
    pub tag: HeaderValue,
}

macro_rules! files {
    ($($name:literal)+) => {
        &[$(($name, include_bytes!(concat!("assets/", $name)) as &[u8])),+]
    };
}

/// Names and contents.
const CONTENTS: &[(&str, &[u8])] = files![
    "api.js"
    "app.js"
    "base.css"
    "batch.js"
    "batches.js"
    "compare.js"
    "dom.js"
    "drawing.js"
    "failures.js"
    "fleet.js"
    "format.js"
    "graph.js"
    "icon.svg"
    "index.html"
    "model.js"
    "oidc.js"
    "parts.css"
    "quotas.js"
    "recipes-model.js"
    "recipes.js"
    "session.js"
    "shell.js"
    "sign-in.js"
    "sse.js"
    "stream.js"
    "table.js"
    "terms.js"
    "theme.js"
    "throughput.js"
];

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| load(CONTENTS));

/// Files of these names and contents.
pub fn load(contents: &[(&'static str, &'static [u8])]) -> Vec<File> {
    let file = |&(name, bytes): &(&'static str, &'static [u8])| {
        let hash: String = blake3::hash(bytes).to_hex().chars().take(20).collect();
        let tag = HeaderValue::from_str(&format!("W/\"{hash}\""));
        File { name, media: media(name), bytes, tag: tag.unwrap_or(HeaderValue::from_static("W/\"\"")) }
    };
    contents.iter().map(file).collect()
}

/// All of them.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = &'static File> {
    FILES.iter()
}

/// The file of this name.
pub fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

fn media(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
