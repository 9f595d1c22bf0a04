//! Who may read metrics.

use crate::config::Secret;

/// What a caller of `/metrics` is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: a token is set, and the caller has not got it.
    Refused,
    /// What the process itself recorded: no tenant is named there.
    Process,
    /// That, and what is read of the whole installation.
    Everything,
}

/// What a caller with this `Authorization` header may see. While no token is set, everybody sees what names no tenant.
pub fn access(token: &Secret, authorization: Option<&[u8]>) -> Access {
    if token.expose().is_empty() {
        return Access::Process;
    }
    // Digests are compared in constant time.
    let expected = blake3::hash(format!("Bearer {}", token.expose()).as_bytes());
    match authorization {
        Some(given) if blake3::hash(given) == expected => Access::Everything,
        _ => Access::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_set_is_asked_for_and_nothing_names_tenants_without_one() {
        let (none, set) = (Secret::new(""), Secret::new("t0ken"));
        assert_eq!(access(&none, None), Access::Process);
        assert_eq!(access(&none, Some(b"Bearer ")), Access::Process);
        assert_eq!(access(&set, None), Access::Refused);
        assert_eq!(access(&set, Some(b"Bearer t0ke")), Access::Refused);
        assert_eq!(access(&set, Some(b"t0ken")), Access::Refused);
        assert_eq!(access(&set, Some(b"Bearer t0ken")), Access::Everything);
    }
}
