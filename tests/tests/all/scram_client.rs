//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), as a driver has it.
//!
//! Invariant: it is written from the standard alone and knows nothing of the server's code; a server that does not prove itself fails the test.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The client's first message without what stands before it. The nonce is the same each time: what keeps a proof from being sent again is the server's part of it.
const FIRST: &str = "n=,r=a nonce of the tests";
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A login that is under way.
pub(crate) struct ScramClient {
    password: String,
    /// Signature that the server has to send at the end.
    server_proof: Option<String>,
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut round = hmac(password.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    let mut sum = round;
    for _ in 1..iterations {
        round = hmac(password.as_bytes(), &round);
        for (sum, byte) in sum.iter_mut().zip(round) {
            *sum ^= byte;
        }
    }
    sum
}

/// Base 64.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |place: usize| usize::from(group.get(place).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            match place <= group.len() {
                true => text.push(char::from(DIGITS[bits >> (18 - 6 * place) & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_usize, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        bits = (bits << 6 | value) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).unwrap());
        }
    }
    bytes
}

fn attribute<'a>(message: &'a str, name: &str) -> &'a str {
    let mut parts = message.split(',');
    parts
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {name} in {message}"))
}

impl ScramClient {
    pub(crate) fn new(password: &str) -> Self {
        Self {
            password: password.to_owned(),
            server_proof: None,
        }
    }

    /// The first message.
    pub(crate) fn first(&self) -> String {
        format!("n,,{FIRST}")
    }

    /// The last message, of what the server said.
    pub(crate) fn last(&mut self, challenge: &str) -> String {
        let salt = decoded(attribute(challenge, "s"));
        let iterations = attribute(challenge, "i").parse().unwrap();
        let salted = salted(&self.password, &salt, iterations);
        let client_key = hmac(&salted, b"Client Key");
        let stored: [u8; 32] = Sha256::digest(client_key).into();
        let without_proof = format!("c=biws,r={}", attribute(challenge, "r"));
        let signed = format!("{FIRST},{challenge},{without_proof}");
        let signature = hmac(&stored, signed.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, byte)| key ^ byte)
            .collect();
        let server_key = hmac(&salted, b"Server Key");
        self.server_proof = Some(encoded(&hmac(&server_key, signed.as_bytes())));
        format!("{without_proof},p={}", encoded(&proof))
    }

    /// Checks what the server says at the end.
    pub(crate) fn check_server(&self, said: &str) {
        let proof = self.server_proof.as_deref().expect("it was asked");
        assert_eq!(attribute(said, "v"), proof, "it is another server");
    }
}
