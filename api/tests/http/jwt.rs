//! Tokens of other issuers, signed here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use millrace_common::config::{Config, IssuerConfig};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

use crate::server::{Answer, Server};

const PATH: &str = "/acme/api/v4/batch/status";
const ISSUER: &str = "https://issuer.test/realms/acme";

/// An issuer with a key of each kind.
struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    id: String,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap(),
            // Made for this test: ring cannot make one.
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("issuer_rsa.pk8")).unwrap(),
            id: id.to_owned(),
        }
    }

    fn keys(&self) -> Vec<Value> {
        let id = &self.id;
        let point = self.ec.public_key().as_ref();
        let rsa = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        vec![
            json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("{id}-ed"), "x": encode(self.ed.public_key())}),
            json!({"kty": "EC", "crv": "P-256", "kid": format!("{id}-ec"), "use": "sig", "alg": "ES256",
                   "x": encode(&point[1..33]), "y": encode(&point[33..])}),
            json!({"kty": "RSA", "kid": format!("{id}-rsa"), "n": encode(rsa.n), "e": encode(rsa.e)}),
        ]
    }

    fn sign(&self, algorithm: &str, claims: &Value) -> String {
        let kind = match algorithm {
            "EdDSA" => "ed",
            "ES256" => "ec",
            _ => "rsa",
        };
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": format!("{}-{kind}", self.id)});
        self.sign_as(algorithm, &header, claims)
    }

    fn sign_as(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let random = SystemRandom::new();
        let rsa = |padding: &'static dyn ring::signature::RsaEncoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match algorithm {
            "EdDSA" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            "ES256" => self.ec.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            // With the public key as the secret.
            "HS256" => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.ed.public_key().as_ref());
                ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{message}.{}", encode(signature))
    }
}

/// Claims of ann at acme, changed.
fn claims(change: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "product-factory", "exp": Utc::now().timestamp() + 300, "sub": "u-1", "realm": "acme",
        "preferred_username": "ann.jwt", "groups": ["people"], "scope": "openid profile",
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn with_file(config: &mut Config, path: &std::path::Path) {
    let issuer = IssuerConfig {
        issuer: ISSUER.to_owned(),
        jwks_file: path.display().to_string(),
        ..IssuerConfig::default()
    };
    config.auth.issuers.insert("main".to_owned(), issuer);
}

async fn call(server: &Server, method: Method, path: &str, token: &str) -> Answer {
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    server.send(request.body(Body::empty()).unwrap()).await
}

async fn started(issuer: &Issuer) -> Option<(Server, tempfile::NamedTempFile)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": issuer.keys()}).to_string()).unwrap();
    let server = Server::start_with(|config| with_file(config, file.path())).await?;
    Some((server, file))
}

#[tokio::test(flavor = "multi_thread")]
async fn public_key_signatures_are_accepted_and_nothing_else() {
    let issuer = Issuer::new("k1");
    let Some((server, _file)) = started(&issuer).await else { return };
    for algorithm in ["EdDSA", "ES256", "RS256", "PS256"] {
        let answer = call(&server, Method::GET, PATH, &issuer.sign(algorithm, &claims(&json!({})))).await;
        assert_eq!(answer.status, 200, "{algorithm}: {answer:?}");
    }
    let good = issuer.sign("EdDSA", &claims(&json!({})));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = body.split_once('.').unwrap();
    let other = encode(claims(&json!({"preferred_username": "root"})).to_string());
    let header_with = |algorithm: &str, id: &str| json!({"alg": algorithm, "typ": "JWT", "kid": id});
    let ann = claims(&json!({}));
    for (what, token) in [
        ("no algorithm", issuer.sign_as("none", &header_with("none", "k1-ed"), &ann)),
        ("a shared secret", issuer.sign_as("HS256", &header_with("HS256", "k1-ed"), &ann)),
        ("another family's key", issuer.sign_as("EdDSA", &header_with("EdDSA", "k1-rsa"), &ann)),
        ("another algorithm than the key's", issuer.sign_as("ES256", &header_with("ES384", "k1-ec"), &ann)),
        ("a key of its own", issuer.sign_as("EdDSA", &header_with("EdDSA", "unknown"), &ann)),
        ("another issuer's key", Issuer::new("k1").sign("EdDSA", &ann)),
        ("no signature", format!("{body}.")),
        ("other claims", format!("{header}.{other}.{signature}")),
        ("expired", issuer.sign("EdDSA", &claims(&json!({"exp": Utc::now().timestamp() - 61})))),
        ("no end", issuer.sign("EdDSA", &claims(&json!({"exp": null})))),
        ("not yet", issuer.sign("EdDSA", &claims(&json!({"nbf": Utc::now().timestamp() + 120})))),
        ("another audience", issuer.sign("EdDSA", &claims(&json!({"aud": ["account"]})))),
        ("no audience", issuer.sign("EdDSA", &claims(&json!({"aud": null})))),
        ("another issuer", issuer.sign("EdDSA", &claims(&json!({"iss": "https://evil.test"})))),
        ("three dots", "a.b.c".to_owned()),
        ("nothing", "..".to_owned()),
    ] {
        let answer = call(&server, Method::GET, PATH, &token).await;
        assert_eq!(answer.status, 401, "{what}: {}", String::from_utf8_lossy(&answer.bytes));
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(signature), "{what}");
        // And when it is remembered.
        assert_eq!(call(&server, Method::GET, PATH, &token).await.status, 401, "{what}");
    }
    // Clocks may be a minute off.
    let just_expired = issuer.sign("EdDSA", &claims(&json!({"exp": Utc::now().timestamp() - 20})));
    assert_eq!(call(&server, Method::GET, PATH, &just_expired).await.status, 200);
    // In the key's header, too.
    let request = Request::get(PATH).header("x-synthetic-key", &good).body(Body::empty()).unwrap();
    assert_eq!(server.send(request).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_say_who_calls_and_what_for() {
    let issuer = Issuer::new("k1");
    let Some((server, _file)) = started(&issuer).await else { return };
    let token = |change: Value| issuer.sign("ES256", &claims(&change));
    const KEYS: &str = "/acme/api/v4/keys";
    const EXISTS: &str = "/acme/api/v3/folders/f/services/s/exists";
    for (what, change, path, status) in [
        ("its tenant", json!({"realm": "ACME"}), PATH, 200),
        ("another tenant", json!({"realm": "other"}), PATH, 403),
        ("no such tenant", json!({"realm": "nowhere"}), PATH, 403),
        ("no tenant", json!({"realm": null}), PATH, 403),
        ("no name, but a subject", json!({"preferred_username": null}), PATH, 200),
        ("neither", json!({"preferred_username": null, "sub": null}), PATH, 403),
        ("scopes of others", json!({}), EXISTS, 200),
        ("scopes of ours", json!({"scope": "openid batch"}), EXISTS, 403),
        ("a list of scopes", json!({"scope": ["services:read"]}), EXISTS, 200),
        ("no administrator", json!({}), KEYS, 403),
        ("a scope for it", json!({"scope": "tenant:admin"}), KEYS, 200),
        ("a group for it", json!({"groups": ["tenant-admin"], "scope": "batch"}), KEYS, 200),
    ] {
        assert_eq!(call(&server, Method::GET, path, &token(change)).await.status, status, "{what}");
    }
    // What it makes is the user's, and says so.
    let form =
        "Name=tokens&Description=&Category=Other&StartDate=2026-01-01&LaunchDate=2026-01-02&Status=Design";
    let request = Request::post("/api/v1/product/create")
        .header("authorization", format!("Bearer {}", token(json!({"scope": "services:write"}))))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    server.send(request).await.ok();
    let folder = server.get("/api/v1/product/getproduct/tokens").await.ok();
    assert_eq!(folder["data"]["createdBy"], "ann.jwt");
    let trail = server.get("/acme/api/v4/audit?action=folder.create").await.ok();
    let entry = &trail["data"][0];
    assert_eq!((&entry["actor"], &entry["credential"]), (&json!("ann.jwt"), &json!("issuer main")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_may_be_bound_to_one_tenant() {
    let issuer = Issuer::new("k1");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": issuer.keys()}).to_string()).unwrap();
    let server = Server::start_with(|config| {
        with_file(config, file.path());
        config.auth.issuers.get_mut("main").unwrap().tenant = "acme".to_owned();
        config.auth.default_scopes = String::new();
    });
    let Some(server) = server.await else { return };
    let token = issuer.sign("EdDSA", &claims(&json!({"realm": "other", "scope": "batch"})));
    assert_eq!(call(&server, Method::GET, PATH, &token).await.status, 200);
    assert_eq!(call(&server, Method::GET, "/other/api/v4/batch/status", &token).await.status, 403);
    let none = issuer.sign("EdDSA", &claims(&json!({})));
    assert_eq!(call(&server, Method::GET, PATH, &none).await.refusal().1, "MISSING_SCOPE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_again_when_they_rotate_and_kept_while_the_issuer_is_away() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let keys = Arc::new(Mutex::new(Some(old.keys())));
    let asked = Arc::new(AtomicUsize::new(0));
    let routes = {
        let (keys, asked) = (Arc::clone(&keys), Arc::clone(&asked));
        let serve = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let keys = keys.lock().clone();
            async move { keys.map(|keys| Json(json!({"keys": keys}))).ok_or(axum::http::StatusCode::BAD_GATEWAY) }
        };
        #[expect(clippy::disallowed_methods, reason = "these routes are the test's own")]
        Router::new().route("/certs", get(serve))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/certs", listener.local_addr().unwrap());
    let issuing = tokio::spawn(async move { axum::serve(listener, routes).await });
    let server = Server::start_with(|config| {
        let issuer = IssuerConfig { issuer: ISSUER.to_owned(), jwks_url: url, ..IssuerConfig::default() };
        config.auth.issuers.insert("main".to_owned(), issuer);
    });
    let Some(server) = server.await else { return };
    let good = async |token: &str| call(&server, Method::GET, PATH, token).await.status == 200;
    assert!(good(&old.sign("EdDSA", &claims(&json!({})))).await);
    // A new key is found when a token names it, without waiting for the next refresh (five minutes).
    *keys.lock() = Some([old.keys(), new.keys()].concat());
    let rotated = Instant::now();
    for attempt in 0.. {
        // Another token each time: a refusal is remembered for a while.
        if good(&new.sign("EdDSA", &claims(&json!({"jti": attempt})))).await {
            break;
        }
        assert!(rotated.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Made-up keys do not make us call the issuer each time.
    let before = asked.load(Ordering::SeqCst);
    for index in 0..50 {
        let header = json!({"alg": "EdDSA", "kid": format!("made-up-{index}")});
        assert!(!good(&old.sign_as("EdDSA", &header, &claims(&json!({})))).await);
    }
    assert!(asked.load(Ordering::SeqCst) - before <= 3, "at most once in five seconds");
    // The issuer is away.
    *keys.lock() = None;
    assert!(good(&old.sign("ES256", &claims(&json!({"jti": "away"})))).await);
    issuing.abort();
    assert!(good(&old.sign("RS256", &claims(&json!({"jti": "gone"})))).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_was_never_reached_is_no_reason_to_refuse_for_good() {
    let server = Server::start_with(|config| {
        let issuer = IssuerConfig {
            issuer: ISSUER.to_owned(),
            jwks_url: "http://127.0.0.1:1/certs".to_owned(),
            ..IssuerConfig::default()
        };
        config.auth.issuers.insert("main".to_owned(), issuer);
    });
    let Some(server) = server.await else { return };
    let token = Issuer::new("k1").sign("EdDSA", &claims(&json!({})));
    let answer = call(&server, Method::GET, PATH, &token).await;
    assert_eq!((answer.status, answer.refusal().1), (503, "ISSUER_UNAVAILABLE".into()));
    assert_eq!(server.get(PATH).await.status, 200, "keys work without the issuer");
    server.stop().await;
}
