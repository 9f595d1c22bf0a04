//! What can go wrong in the store.

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or every connection stayed busy. Try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Another transaction was in the way (deadlock, serialisation failure), so this one was rolled back. The same call may
    /// succeed at once; the store has made it several times where that matters.
    #[error("the database is contended: {0}")]
    Contended(String),
    /// A unique name or id is taken; the text names the constraint.
    #[error("already there: {0}")]
    Conflict(String),
    /// The row does not exist, or belongs to somebody else.
    #[error("not found: {0}")]
    NotFound(&'static str),
    /// A text holds a character that the database cannot store: NUL. The caller's fault.
    #[error("a text holds a character that cannot be stored (NUL)")]
    Text,
    /// The schema is missing or of another version than this binary's.
    #[error("the database schema does not fit this version: {0}")]
    Schema(String),
    /// A stored value cannot be read back.
    #[error("a stored value is broken: {0}")]
    Corrupt(String),
    /// Any other answer of the database: a bug.
    #[error("database error: {0}")]
    Database(String),
}

impl StoreError {
    /// Its kind in one word, for traces.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Contended(_) => "contended",
            Self::Conflict(_) => "conflict",
            Self::NotFound(_) => "not_found",
            Self::Text => "text",
            Self::Schema(_) => "schema",
            Self::Corrupt(_) => "corrupt",
            Self::Database(_) => "database",
        }
    }
}

/// SQLSTATE of a unique violation.
const UNIQUE_VIOLATION: &str = "23505";

/// SQLSTATEs of texts with a NUL: as text, and inside JSON.
const NUL_CHARACTER: [&str; 2] = ["22021", "22P05"];

/// SQLSTATEs of a transaction that was rolled back for the sake of another: serialisation failure, deadlock.
const CONTENTION: [&str; 2] = ["40001", "40P01"];

/// Classes and codes that mean "not now": connection trouble, shutdown, a lack of connections, memory or disk, a standby that
/// is not promoted yet, trouble of its system, lock and statement timeouts.
fn is_transient(code: &str) -> bool {
    ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class))
        || matches!(code, "25006" | "55P03" | "57014")
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some(UNIQUE_VIOLATION) => {
                    Self::Conflict(database.constraint().unwrap_or("unique").to_owned())
                }
                Some(code) if CONTENTION.contains(&code) => Self::Contended(database.message().to_owned()),
                Some(code) if is_transient(code) => Self::Unavailable(database.message().to_owned()),
                Some(code) if NUL_CHARACTER.contains(&code) => Self::Text,
                _ => Self::Database(error.to_string()),
            },
            // A server that goes down in the middle of the greeting answers nothing, which sqlx takes for a wrong answer.
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            sqlx::Error::RowNotFound => Self::NotFound("row"),
            sqlx::Error::ColumnDecode { .. } => Self::Corrupt(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(database) => match database.code().code() {
                UNIQUE_VIOLATION => Self::Conflict(database.constraint().unwrap_or("unique").to_owned()),
                code if CONTENTION.contains(&code) => Self::Contended(database.message().to_owned()),
                code if is_transient(code) => Self::Unavailable(database.message().to_owned()),
                code if NUL_CHARACTER.contains(&code) => Self::Text,
                _ => Self::Database(database.to_string()),
            },
            None if error.is_closed() || is_io(&error) => Self::Unavailable(error.to_string()),
            // The client could not write a parameter or read a column: waiting cannot mend that.
            None => Self::Database(error.to_string()),
        }
    }
}

/// Whether the connection itself failed.
fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Schema(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{DatabaseConfig, Secret};
    use crate::store::Store;

    #[tokio::test]
    async fn a_server_that_hangs_up_in_the_greeting_is_unavailable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                // The request for TLS, and then nothing.
                let _ = connection.read(&mut [0; 8]).await;
            }
        });
        let url = Secret::new(format!("postgres://millrace@{address}/millrace"));
        let store = Store::open(&DatabaseConfig { url, ..DatabaseConfig::default() }, "test").unwrap();
        assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))), "control plane");
        assert!(matches!(store.ping_data_plane().await, Err(StoreError::Unavailable(_))), "data plane");
    }
}
