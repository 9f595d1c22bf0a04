//! Secrets that messages are signed with, after the Standard Webhooks specification, and how they are stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// What every secret begins with when it is shown.
const PREFIX: &str = "whsec_";
/// The first byte of a stored secret: as it is, or sealed.
const PLAIN: u8 = 0;
const SEALED: u8 = 1;
/// Bytes of a nonce.
const NONCE: usize = 24;

/// A secret: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret([u8; 32]);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(<redacted>)")
    }
}

impl SigningSecret {
    /// A new one.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// As receivers need it: `whsec_` and base64.
    pub fn show(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0))
    }

    /// The signature of a message, `v1,…`: HMAC-SHA256 over its id, the time of the attempt (seconds of the epoch) and its body.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        // HMAC takes keys of any length: there is always one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        for part in [id, ".", &timestamp.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A secret cannot be sealed, or a stored one not be opened: it was sealed for somebody else, or `webhooks.secret_key` is not set
/// or another one than then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret cannot be read with webhooks.secret_key")]
pub struct SealError;

/// Seals secrets for the database when there is a key, and opens them.
#[derive(Clone)]
pub struct Sealer {
    cipher: Option<XChaCha20Poly1305>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("sealing", &self.cipher.is_some()).finish()
    }
}

impl Sealer {
    /// With a key; without one, secrets are stored as they are.
    pub fn new(key: Option<&[u8; 32]>) -> Self {
        Self { cipher: key.map(|key| XChaCha20Poly1305::new(&Key::from(*key))) }
    }

    /// The stored form of a secret, bound to its owner: a webhook or a tenant.
    pub fn seal(&self, secret: &SigningSecret, owner: Uuid) -> Result<Vec<u8>, SealError> {
        let Some(cipher) = &self.cipher else {
            return Ok([&[PLAIN], secret.0.as_slice()].concat());
        };
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: &secret.0, aad: owner.as_bytes() };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError)?;
        Ok([&[SEALED], nonce.as_slice(), &sealed].concat())
    }

    /// Reads a stored secret. One that was stored without a key stays readable when a key is set.
    pub fn open(&self, stored: &[u8], owner: Uuid) -> Result<SigningSecret, SealError> {
        let opened = match stored.split_first() {
            Some((&PLAIN, secret)) => secret.to_vec(),
            Some((&SEALED, rest)) => {
                let cipher = self.cipher.as_ref().ok_or(SealError)?;
                let (nonce, msg) = rest.split_first_chunk::<NONCE>().ok_or(SealError)?;
                let payload = Payload { msg, aad: owner.as_bytes() };
                cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError)?
            }
            _ => return Err(SealError),
        };
        Ok(SigningSecret(opened.try_into().map_err(|_| SealError)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(Some(&[byte; 32]))
    }

    #[test]
    fn signatures_are_those_of_the_specification() {
        // The example of the specification's reference implementations.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        assert_eq!(
            STANDARD.encode(mac.finalize().into_bytes()),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let text = SigningSecret([7; 32]).show();
        assert!(text.starts_with("whsec_"));
        assert!(!format!("{:?}", SigningSecret([7; 32])).contains('7'));
    }

    #[test]
    fn a_sealed_secret_opens_for_its_owner_and_key_alone() {
        let (secret, owner) = (SigningSecret::generate(), Uuid::from_u128(1));
        let sealed = sealer(1).seal(&secret, owner).unwrap();
        assert!(!sealed.windows(32).any(|window| window == secret.0));
        assert_eq!(sealer(1).open(&sealed, owner).unwrap(), secret);
        assert_eq!(sealer(1).open(&sealed, Uuid::nil()), Err(SealError));
        assert_eq!(sealer(2).open(&sealed, owner), Err(SealError));
        let none = Sealer::new(None);
        assert_eq!(none.open(&sealed, owner), Err(SealError));
        let plain = none.seal(&secret, owner).unwrap();
        assert_eq!(sealer(1).open(&plain, owner).unwrap(), secret, "set a key later, and go on");
        for broken in [&[][..], &[0, 1], &[1, 2, 3], &[9; 40]] {
            assert_eq!(sealer(1).open(broken, owner), Err(SealError));
        }
    }
}
