//! Access tokens of Millrace's own (contract 4.1).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use millrace_common::store::{KeyOwner, Store, StoreError};
use uuid::Uuid;

/// What access tokens begin with; keys begin otherwise.
pub(super) const TOKEN_PREFIX: &str = "mrt_";
/// How long an access token is valid.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// An access token for the owner of a key, valid from `now` for [`TOKEN_LIFE`]. It names the key and the end of its life,
/// and is signed with the key's hash: no server keeps it, and revoking the key ends it.
pub fn issue_token(owner: &KeyOwner, now: DateTime<Utc>) -> String {
    let expires = now.timestamp() + i64::try_from(TOKEN_LIFE.as_secs()).unwrap_or(0);
    let mut token = signed_part(owner.key_id, expires).to_vec();
    let signature = blake3::keyed_hash(&owner.hash, &token);
    token.extend_from_slice(signature.as_bytes());
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(token))
}

fn signed_part(key_id: Uuid, expires: i64) -> [u8; 24] {
    let mut part = [0; 24];
    part[..16].copy_from_slice(key_id.as_bytes());
    part[16..].copy_from_slice(&expires.to_be_bytes());
    part
}

/// Key id, end of life (seconds of the epoch) and signature of a token.
fn read_token(token: &str) -> Option<(Uuid, i64, [u8; 32])> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (expires, signature) = rest.split_first_chunk::<8>()?;
    Some((Uuid::from_bytes(*id), i64::from_be_bytes(*expires), signature.try_into().ok()?))
}

/// Panics when a text that is read as a token is not the only text of that token.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_token_text(credential: &str) {
    let Some(token) = credential.strip_prefix(TOKEN_PREFIX) else { return };
    if let Some((key_id, expires, signature)) = read_token(token) {
        let bytes = [signed_part(key_id, expires).as_slice(), &signature].concat();
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes), token);
    }
}

/// The owner of the key that this token (without its prefix) was made with; `None` when it is useless.
pub(super) async fn verify_token(store: &Store, token: &str) -> Result<Option<KeyOwner>, StoreError> {
    let Some((key_id, expires, signature)) = read_token(token) else { return Ok(None) };
    if expires <= Utc::now().timestamp() {
        return Ok(None);
    }
    let owner = store.key_by_id(key_id).await?;
    Ok(owner.filter(|owner| is_signed(owner, expires, signature)))
}

fn is_signed(owner: &KeyOwner, expires: i64, signature: [u8; 32]) -> bool {
    // The comparison of these hashes takes the same time wherever they differ.
    blake3::keyed_hash(&owner.hash, &signed_part(owner.key_id, expires))
        == blake3::Hash::from_bytes(signature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use millrace_common::model::{Caller, Scopes};
    use millrace_common::store::TenantLimits;

    use super::*;

    #[test]
    fn tokens_are_bound_to_key_and_time() {
        let caller = Caller {
            tenant_id: Uuid::nil(),
            tenant: "acme".into(),
            name: "ann".into(),
            groups: vec![],
            credential: "key 7".into(),
        };
        let (scopes, limits) = (Scopes::DEFAULT, TenantLimits::default());
        let owner = KeyOwner { key_id: Uuid::from_u128(7), hash: [3; 32], caller, scopes, limits };
        let token = issue_token(&owner, DateTime::UNIX_EPOCH);
        let (key_id, expires, signature) = read_token(token.strip_prefix(TOKEN_PREFIX).unwrap()).unwrap();
        assert_eq!((key_id, expires), (owner.key_id, 3600));
        assert!(is_signed(&owner, expires, signature));
        assert!(!is_signed(&owner, expires + 1, signature));
        assert!(!is_signed(&KeyOwner { hash: [4; 32], ..owner.clone() }, expires, signature));
        assert!(!is_signed(&KeyOwner { key_id: Uuid::from_u128(8), ..owner }, expires, signature));
        assert_eq!(read_token("AAAA"), None);
        assert_eq!(read_token("?"), None);
    }
}
