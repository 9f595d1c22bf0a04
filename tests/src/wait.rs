//! Waiting for something to become true, without guessing how long that takes.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for things that ought to take a moment: generous, since it only shows when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN: Duration = Duration::from_millis(20);

/// Asks again and again until `ask` gives a value; what it gives is returned.
///
/// `ask` answers `Ok(None)` for "not yet". An error means "not yet" as well, and is shown when time is up.
///
/// # Errors
///
/// When `deadline` has passed; the text names `what` and the last error of `ask`.
pub async fn wait_until<T, F>(what: &str, deadline: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let began = Instant::now();
    let mut last = None;
    loop {
        let left = deadline.saturating_sub(began.elapsed());
        match tokio::time::timeout(left.max(BETWEEN), ask()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if began.elapsed() >= deadline {
            match last {
                Some(error) => {
                    return Err(error.context(format!("after {deadline:?} still waiting until {what}")));
                }
                None => bail!("after {deadline:?} still waiting until {what}"),
            }
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[tokio::test]
    async fn gives_the_first_value() {
        let mut asked = 0;
        let value = wait_until("it is the third time", PATIENCE, || {
            asked += 1;
            let asked = asked;
            async move { Ok((asked == 3).then_some(asked)) }
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn says_what_it_waited_for_and_why_in_vain() {
        let never = || async { Err::<Option<()>, _>(anyhow::anyhow!("nobody is home")) };
        let error = wait_until("the door opens", Duration::from_millis(50), never).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("the door opens") && text.contains("nobody is home"), "{text}");
    }

    #[tokio::test]
    async fn a_question_without_an_answer_ends_at_the_deadline() {
        let hang = std::future::pending::<Result<Option<()>>>;
        let began = Instant::now();
        assert!(wait_until("the end of time", Duration::from_millis(50), hang).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
