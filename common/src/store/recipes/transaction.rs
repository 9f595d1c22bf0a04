//! Transactions whose statements depend on each other (data plane).

use crate::failpoint;
use crate::store::StoreError;
use crate::store::data::DataClient;

/// Runs `work` between BEGIN and COMMIT, or ROLLBACK when it fails. When the caller stops waiting in the middle, the
/// connection does not go back to the pool. `point` is the failpoint before the COMMIT, if there is one.
pub(super) async fn transaction<T>(
    client: &DataClient,
    point: impl Into<Option<&'static str>>,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    // On the heap: such work is large, and would be moved over the stack at every layer.
    let work = Box::pin(work);
    let point = point.into();
    client.abandon();
    let done = client
        .in_time(async {
            client.batch_execute("BEGIN").await?;
            match work.await {
                Ok(done) => {
                    if let Some(point) = point {
                        failpoint::reach(point, "");
                    }
                    client.batch_execute("COMMIT").await?;
                    Ok(Ok(done))
                }
                Err(error) => {
                    client.batch_execute("ROLLBACK").await?;
                    Ok(Err(error))
                }
            }
        })
        .await?;
    client.keep();
    done
}
