//! Tests of a provider's tokens, with keys made for them and a provider on loopback.
//!
//! Invariant: every token that is refused differs from one that is taken in the one thing that it is refused for.

use super::key_set::KeySet;
use super::*;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOW: i64 = 1_800_000_000;

/// A text as tokens have it.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let held = (at(0) << 16) | (at(1) << 8) | at(2);
        for digit in 0..=chunk.len() {
            let digit = (held >> (18 - 6 * digit)) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}

/// A private key of a provider.
enum SigningKey {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    fn p256() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap())
    }

    fn ed25519() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key, as a provider shows it.
    fn shown(&self, id: &str) -> Value {
        match self {
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y})
            }
            Self::Ed25519(pair) => {
                let x = base64url(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": x})
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |part: &Value| base64url(part.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match self {
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), signed.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", base64url(&signature))
    }

    fn header(&self, id: &str) -> Value {
        json!({"alg": self.algorithm(), "kid": id, "typ": "JWT"})
    }
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// True if a set of keys lets a token by.
fn has_signed(keys: &KeySet, token: &str) -> bool {
    SignedToken::parse(token).is_ok_and(|token| keys.has_signed(&token))
}

/// A provider on loopback.
struct TestProvider {
    issuer: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl TestProvider {
    /// Starts one; `issuer` is what its document says where it is another's.
    async fn start(issuer: Option<&str>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let issuer = issuer.map_or_else(|| own.clone(), str::to_owned);
        let document = json!({"issuer": issuer, "jwks_uri": format!("{own}/keys")}).to_string();
        let (keys, asked) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicUsize::new(0)),
        );
        let (shown, counted): (Arc<Mutex<Vec<Value>>>, _) = (Arc::clone(&keys), Arc::clone(&asked));
        let router: Router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let document = document.clone();
                    async move { document }
                }),
            )
            .route(
                "/keys",
                get(move || {
                    let keys = shown.lock().unwrap().clone();
                    async move { json!({ "keys": keys }).to_string() }
                }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            issuer: own,
            keys,
            asked,
        }
    }

    fn shows(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = keys.to_vec();
    }

    fn verifier(&self) -> OidcVerifier {
        verifier(&self.issuer)
    }
}

fn verifier(issuer: &str) -> OidcVerifier {
    OidcVerifier::new(&OidcOptions {
        issuer: issuer.to_owned(),
        audience: "till".to_owned(),
        claim: "sub".to_owned(),
    })
    .unwrap()
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": "till", "exp": NOW + 300, "sub": "north"})
}

/// The example of RFC 7515, appendix A.2.
#[test]
fn rsa_signatures_are_those_of_the_standard() {
    const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ\
                     S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2\
                     R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD\
                     TW9gb54h4FRWyuXpoQ";
    const SIGNED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb\
                             F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383\
                             LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy\
                             wlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let key = json!({"kty": "RSA", "n": N, "e": "AQAB"});
    let token = format!("{SIGNED}.{SIGNATURE}");
    assert!(has_signed(&key_set(std::slice::from_ref(&key)), &token));
    assert!(!has_signed(
        &key_set(std::slice::from_ref(&key)),
        &token.replace("cC4h", "cC4i")
    ));
    assert!(!has_signed(
        &key_set(std::slice::from_ref(&key)),
        &token.replace("cGxl", "cGxm")
    ));
    for (member, value) in [
        ("use", "enc"),
        ("alg", "RS512"),
        ("alg", "HS256"),
        ("alg", "ES256"),
    ] {
        let mut other = key.clone();
        other[member] = json!(value);
        assert!(
            KeySet::read(json!({"keys": [other]}).to_string().as_bytes()).is_none(),
            "{member} {value}"
        );
    }
}

#[test]
fn a_token_is_signed_by_its_own_key_with_the_keys_own_algorithm() {
    for (key, other) in [
        (SigningKey::p256(), SigningKey::ed25519()),
        (SigningKey::ed25519(), SigningKey::p256()),
    ] {
        let keys = key_set(&[
            json!({"kty": "OKP", "crv": "X448", "x": "AA", "kid": "1"}),
            json!("no key at all"),
            other.shown("2"),
            key.shown("1"),
        ]);
        let claims = claims("https://id.example.com");
        let good = key.token(&key.header("1"), &claims);
        assert!(has_signed(&keys, &good));
        let algorithm = key.algorithm();
        assert!(has_signed(
            &keys,
            &key.token(&json!({"alg": algorithm}), &claims)
        ));
        assert!(has_signed(
            &keys,
            &key.token(
                &json!({"alg": algorithm, "kid": "1", "typ": "at+JWT"}),
                &claims
            )
        ));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let others = base64url(claims.to_string().replace("north", "south").as_bytes());
        let fresh = match &key {
            SigningKey::P256(_) => SigningKey::p256(),
            SigningKey::Ed25519(_) => SigningKey::ed25519(),
        };
        for (why, wrong) in [
            (
                "another key of that name",
                fresh.token(&fresh.header("1"), &claims),
            ),
            (
                "another key without a name",
                fresh.token(&json!({"alg": algorithm}), &claims),
            ),
            ("the other key's name", key.token(&key.header("2"), &claims)),
            ("a name of no key", key.token(&key.header("3"), &claims)),
            (
                "the other key's algorithm",
                key.token(&json!({"alg": other.algorithm(), "kid": "1"}), &claims),
            ),
            (
                "no algorithm",
                key.token(&json!({"alg": "none", "kid": "1"}), &claims),
            ),
            (
                "a secret's algorithm",
                key.token(&json!({"alg": "HS256", "kid": "1"}), &claims),
            ),
            (
                "a longer hash",
                key.token(&json!({"alg": "RS512", "kid": "1"}), &claims),
            ),
            (
                "an extension",
                key.token(
                    &json!({"alg": algorithm, "kid": "1", "crit": ["b64"], "b64": true}),
                    &claims,
                ),
            ),
            (
                "a token to log out with",
                key.token(
                    &json!({"alg": algorithm, "kid": "1", "typ": "logout+jwt"}),
                    &claims,
                ),
            ),
            ("other claims", format!("{header}.{others}.{signature}")),
            ("no signature", format!("{signed}.")),
            ("half a signature", format!("{signed}.{}", &signature[..40])),
            ("no claims", format!("{header}..{signature}")),
            ("two parts", signed.to_owned()),
            ("four parts", format!("{good}.{payload}")),
            ("padding", format!("{good}=")),
            (
                "a token that is too long",
                format!("{good}{}", "A".repeat(16 << 10)),
            ),
        ] {
            assert!(!has_signed(&keys, &wrong), "{algorithm}: {why}");
        }
    }
}

#[test]
fn claims_are_for_this_server_and_this_moment() {
    const ISSUER: &str = "https://id.example.com";
    let verifier = verifier(ISSUER);
    let named = |changes: &[(&str, Value)]| {
        let mut claims = claims(ISSUER);
        for (name, value) in changes {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        verifier.name_in(claims.to_string().as_bytes(), NOW)
    };
    for right in [
        &[][..],
        &[("aud", json!(["other", "till"]))],
        &[("exp", json!(NOW - 59))],
        &[("exp", json!(1_800_000_000.5))],
        &[("nbf", json!(NOW + 60))],
    ] {
        assert_eq!(named(right).as_deref(), Ok("north"), "{right:?}");
    }
    for (name, value, word) in [
        ("iss", json!("https://id.example.com/"), "issuer"),
        ("iss", json!([ISSUER]), "issuer"),
        ("iss", Value::Null, "issuer"),
        ("aud", json!("tills"), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!({"till": true}), "audience"),
        ("aud", Value::Null, "audience"),
        ("exp", json!(NOW - 60), "expired"),
        ("exp", json!(0), "expired"),
        ("exp", json!("2100000000"), "until when"),
        ("exp", json!(1e300), "until when"),
        ("exp", Value::Null, "until when"),
        ("nbf", json!(NOW + 61), "not good yet"),
        ("nbf", json!("soon"), "cannot be read"),
        ("sub", json!(""), "names its user"),
        ("sub", json!(7), "names its user"),
        ("sub", Value::Null, "names its user"),
    ] {
        let refused = named(&[(name, value.clone())]).unwrap_err();
        assert!(refused.contains(word), "{name} {value}: {refused}");
    }
    assert!(verifier.name_in(b"[]", NOW).is_err());
    let by_address = OidcVerifier::new(&OidcOptions {
        claim: "email".to_owned(),
        ..verifier.options.clone()
    })
    .unwrap();
    for (verified, is_good) in [
        (json!(true), true),
        (json!(false), false),
        (json!("true"), false),
        (Value::Null, false),
    ] {
        let mut claims = claims(ISSUER);
        claims["email"] = json!("north@example.org");
        claims["email_verified"] = verified;
        let name = by_address.name_in(claims.to_string().as_bytes(), NOW);
        assert_eq!(name.is_ok(), is_good, "{name:?}");
    }
}

#[test]
fn an_issuer_that_others_can_answer_for_is_refused() {
    for (issuer, is_good) in [
        ("https://id.example.com", true),
        ("https://id.example.com/realms/north/", true),
        ("http://127.0.0.1:9400", true),
        ("http://localhost:9400", true),
        ("http://[::1]:9400", true),
        ("http://id.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("ftp://id.example.com", false),
        ("id.example.com", false),
        ("", false),
    ] {
        assert_eq!(Provider::new(issuer).is_ok(), is_good, "{issuer}");
    }
}

#[tokio::test]
async fn keys_are_read_anew_when_they_change_and_the_provider_is_asked_seldom() {
    let provider = TestProvider::start(None).await;
    let (before, after) = (SigningKey::p256(), SigningKey::p256());
    provider.shows(&[before.shown("1")]);
    let verifier = provider.verifier();
    let claims = claims(&provider.issuer);
    let (of_before, of_after) = (
        before.token(&before.header("1"), &claims),
        after.token(&after.header("2"), &claims),
    );
    let asked = || provider.asked.load(Ordering::Relaxed);
    assert_eq!(asked(), 0, "nobody has come yet");
    let many = (0..8).map(|_| verifier.name(&of_before, NOW));
    for name in futures::future::join_all(many).await {
        assert_eq!(name.as_deref(), Ok("north"));
    }
    assert_eq!(asked(), 1);
    // The key changes; the provider is asked once the pause is over, and not for each token that nobody has signed.
    provider.shows(&[after.shown("2")]);
    let unknown = verifier.name(&of_after, NOW).await;
    assert!(matches!(unknown, Err(OidcFault::Refused(_))), "{unknown:?}");
    assert_eq!(asked(), 1);
    verifier.provider.after_the_pause();
    let forged = SigningKey::p256().token(&after.header("2"), &claims);
    for _ in 0..5 {
        assert!(verifier.name(&forged, NOW).await.is_err());
    }
    assert_eq!(verifier.name(&of_after, NOW).await.as_deref(), Ok("north"));
    assert_eq!(asked(), 2);
    let withdrawn = verifier.name(&of_before, NOW).await;
    assert!(
        matches!(withdrawn, Err(OidcFault::Refused(_))),
        "{withdrawn:?}"
    );
    // A provider that shows no keys any more takes none away: that is a fault of its own.
    provider.shows(&[]);
    verifier.provider.after_the_pause();
    assert!(verifier.name(&forged, NOW).await.is_err());
    assert_eq!(verifier.name(&of_after, NOW).await.as_deref(), Ok("north"));
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn a_provider_that_is_not_the_issuer_is_not_believed() {
    let key = SigningKey::ed25519();
    let provider = TestProvider::start(Some("https://id.example.com")).await;
    provider.shows(&[key.shown("1")]);
    let token = key.token(&key.header("1"), &claims(&provider.issuer));
    let name = provider.verifier().name(&token, NOW).await;
    assert_eq!(name, Err(OidcFault::Unavailable));
    // One that nobody is, that leads elsewhere, and that never ends.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let moved: Router =
        Router::new().fallback(|| async { (StatusCode::FOUND, [(header::LOCATION, "/keys")]) });
    let endless: Router = Router::new().fallback(|| async { " ".repeat(1 << 20) });
    let mut issuers = vec![closed];
    for router in [moved, endless] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        issuers.push(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    for issuer in issuers {
        let token = key.token(&key.header("1"), &claims(&issuer));
        let name = verifier(&issuer).name(&token, NOW).await;
        assert_eq!(name, Err(OidcFault::Unavailable), "{issuer}");
    }
}
