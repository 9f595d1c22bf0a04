//! Graceful shutdown: SIGTERM or Ctrl-C cancels one token that every task watches.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGTERM or SIGINT. A second signal ends the process at once.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancel = token.clone();
    tokio::spawn(async move {
        for signals in 0.. {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if signals > 0 {
                tracing::warn!(signal = name, "second signal: ending now");
                std::process::exit(1);
            }
            tracing::info!(signal = name, "shutting down");
            cancel.cancel();
        }
    });
    Ok(token)
}
