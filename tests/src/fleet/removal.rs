//! The end of an installation: its processes, queues, database and folder go.

use std::time::Duration;

use anyhow::{Context, Result};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

use super::Fleet;

impl Fleet {
    async fn remove_queues(&self) -> Result<()> {
        let connection =
            lapin::Connection::connect(&self.services.broker_url, lapin::ConnectionProperties::default())
                .await?;
        let channel = connection.create_channel().await?;
        let lanes = self.database.connect().await?.query("SELECT id FROM lanes", &[]).await?;
        let mut queues: Vec<String> =
            lanes.iter().map(|row| format!("{}.lane.{:04}", self.prefix, row.get::<_, i32>(0))).collect();
        queues.push(format!("{}.dead", self.prefix)); // last: the lanes' dead letters go there
        for queue in queues {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        let control = format!("{}.control", self.prefix);
        channel.exchange_delete(control.into(), ExchangeDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    #[expect(clippy::print_stderr, reason = "a failed test shows what its processes said")]
    fn show_logs(&self) {
        for process in self.api.iter().chain(self.workers.iter().flatten()) {
            eprintln!(
                "---- {} ({}):\n{}",
                process.name(),
                process.log_path().display(),
                process.last_lines(60)
            );
        }
    }

    #[expect(clippy::print_stderr, reason = "what stays behind must not stay unseen")]
    fn clean_up(&self) {
        let work = async {
            // Without its broker or database, a test has nothing to clean there.
            let queues = tokio::time::timeout(Duration::from_secs(20), self.remove_queues()).await;
            if let Err(error) = queues.context("time is up").flatten() {
                eprintln!("queues of {} stay in the broker: {error:#}", self.prefix);
            }
            let database = tokio::time::timeout(Duration::from_secs(20), self.database.remove()).await;
            if let Err(error) = database.context("time is up").flatten() {
                eprintln!("the database {} stays: {error:#}", self.database.name());
            }
        };
        // Drop is not async, and the test's own runtime may be the only thread: use another thread's.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    runtime.block_on(work);
                }
            });
        });
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let failed = std::thread::panicking() || !self.started;
        for process in self.api.iter_mut().chain(self.workers.iter_mut().flatten()) {
            process.kill();
        }
        if failed {
            self.show_logs();
        }
        self.clean_up();
        if !failed {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
