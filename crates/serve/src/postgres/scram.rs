//! SCRAM-SHA-256 (RFC 5802, RFC 7677) from the server's side, without channel binding.
//!
//! Invariant: no password is known here, and none is sent; a proof is compared in a time that says nothing of it. For a name that nobody has the exchange goes on to its end
//! as for any other, with the same salt each time, and fails there.

use crate::base64::from_base64;
use crate::users::ScramVerifier;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Name of the mechanism.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// An exchange that has begun.
pub(super) struct Exchange {
    verifier: ScramVerifier,
    /// The client's first message without what stands before it.
    client_first: String,
    /// Header that stood before it, which the last message repeats.
    binding: String,
    nonce: String,
    server_first: String,
}

fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length is taken.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            mac.finalize().into_bytes().into()
        }
        Err(_) => [0; 32],
    }
}

/// Attribute of a message: `r=...`.
fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = message.split(',');
    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

impl Exchange {
    /// Takes the client's first message; none where it is none, or wants what is not there.
    pub(super) fn begin(verifier: ScramVerifier, message: &[u8], random: [u8; 18]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let (flag, rest) = message.split_once(',')?;
        let (authorized, client_first) = rest.split_once(',')?;
        // `p=` is channel binding, which was not offered.
        let is_known = matches!(flag, "n" | "y") && authorized.is_empty();
        let client_nonce = attribute(client_first, "r").filter(|nonce| !nonce.is_empty())?;
        if !is_known || attribute(client_first, "m").is_some() {
            return None;
        }
        let nonce = format!("{client_nonce}{}", encode(&random));
        let server_first = format!(
            "r={nonce},s={},i={}",
            encode(&verifier.salt),
            verifier.iterations
        );
        Some(Self {
            client_first: client_first.to_owned(),
            binding: format!("{flag},,"),
            nonce,
            server_first,
            verifier,
        })
    }

    /// The server's first message.
    pub(super) fn challenge(&self) -> &str {
        &self.server_first
    }

    /// Takes the client's last message, and gives the server's; none where the password was another.
    pub(super) fn finish(&self, message: &[u8]) -> Option<String> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let is_bound = attribute(without_proof, "c")? == encode(self.binding.as_bytes());
        let is_same = attribute(without_proof, "r")? == self.nonce;
        let proof: [u8; 32] = from_base64(proof)?.try_into().ok()?;
        let asked = format!(
            "{},{},{without_proof}",
            self.client_first, self.server_first
        );
        let signature = keyed(&self.verifier.stored_key, asked.as_bytes());
        let mut client_key = [0; 32];
        for ((key, proof), signature) in client_key.iter_mut().zip(proof).zip(signature) {
            *key = proof ^ signature;
        }
        let stored: [u8; 32] = Sha256::digest(client_key).into();
        let difference = stored.iter().zip(&self.verifier.stored_key);
        let difference = difference.fold(0, |so_far, (ours, theirs)| so_far | (ours ^ theirs));
        let is_right = difference == 0 && is_bound && is_same;
        let signature = keyed(&self.verifier.server_key, asked.as_bytes());
        is_right.then(|| format!("v={}", encode(&signature)))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4_usize {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let digit = DIGITS.get(digit).filter(|_| place <= group.len());
            text.push(char::from(digit.copied().unwrap_or(b'=')));
        }
    }
    text
}

/// The other side of the exchange, for tests.
#[cfg(test)]
pub(super) mod client {
    use super::*;

    fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
        let mut round = keyed(password.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
        let mut salted = round;
        for _ in 1..iterations {
            round = keyed(password.as_bytes(), &round);
            for (sum, round) in salted.iter_mut().zip(round) {
                *sum ^= round;
            }
        }
        salted
    }

    /// The verifier of a password, as whoever makes users makes it.
    pub(in crate::postgres) fn verifier(
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> ScramVerifier {
        let salted = salted(password, salt, iterations);
        ScramVerifier {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(keyed(&salted, b"Client Key")).into(),
            server_key: keyed(&salted, b"Server Key"),
        }
    }

    /// The client's last message, of its first one, what the server said, and a password.
    pub(in crate::postgres) fn last(first: &str, challenge: &str, password: &str) -> String {
        let salt = from_base64(attribute(challenge, "s").unwrap()).unwrap();
        let iterations = attribute(challenge, "i").unwrap().parse().unwrap();
        let key = keyed(&salted(password, &salt, iterations), b"Client Key");
        let stored: [u8; 32] = Sha256::digest(key).into();
        let without_proof = format!("c=biws,r={}", attribute(challenge, "r").unwrap());
        let asked = format!("{first},{challenge},{without_proof}");
        let signature = keyed(&stored, asked.as_bytes());
        let proof: Vec<u8> = key
            .iter()
            .zip(signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        format!("{without_proof},p={}", encode(&proof))
    }
}

#[cfg(test)]
mod tests {
    use super::client::{self, verifier};
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_answered() {
        // RFC 7677, section 3, with the server's part of the nonce put in place.
        let salt = from_base64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let mut exchange =
            Exchange::begin(verifier("pencil", &salt, 4096), first, [0; 18]).unwrap();
        exchange.nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        exchange.server_first = format!("r={},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", exchange.nonce);
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(
            exchange.finish(last).as_deref(),
            Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
        let other = String::from_utf8_lossy(last).replace("dHzb", "aHzb");
        assert_eq!(exchange.finish(other.as_bytes()), None);
        let unbound = String::from_utf8_lossy(last).replace("biws", "eSws");
        assert_eq!(exchange.finish(unbound.as_bytes()), None);
    }

    #[test]
    fn a_last_message_of_another_exchange_is_refused() {
        let begun = |random| {
            Exchange::begin(verifier("pencil", b"salt", 2), b"n,,n=,r=abc", random).unwrap()
        };
        let exchange = begun([7; 18]);
        let right = client::last("n=,r=abc", exchange.challenge(), "pencil");
        let server = exchange.finish(right.as_bytes());
        assert!(server.is_some_and(|said| said.starts_with("v=")));
        let (said, proof) = right.split_once(",p=").unwrap();
        for wrong in [
            String::new(),
            said.to_owned(),
            format!("{said},p="),
            format!("{said},p=!{}", &proof[1..]),
            format!("{said},p={}", &proof[4..]),
            format!("{said},p={proof}===="),
            format!("{said},x=1,p={proof}"),
            // Other flags of channel binding than the first message had.
            right.replace("c=biws", "c=eSws"),
            right.replace("c=biws", "c=cD10bHMtdW5pcXVlLCw="),
            right.replace("c=biws,", ""),
            right.replace("r=abc", "r=abd"),
        ] {
            assert_eq!(exchange.finish(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(exchange.finish(b"\xff,p=AAAA"), None);
        // The server's part of the nonce is another each time.
        assert_eq!(begun([8; 18]).finish(right.as_bytes()), None);
        let other = client::last("n=,r=abc", exchange.challenge(), "pencils");
        assert_eq!(exchange.finish(other.as_bytes()), None);
    }

    #[test]
    fn what_is_no_exchange_is_refused() {
        let begin =
            |message: &[u8]| Exchange::begin(verifier("x", b"salt", 1), message, [7; 18]).is_some();
        assert!(begin(b"n,,n=,r=abc"));
        assert!(begin(b"y,,n=,r=abc"));
        for message in [
            b"".as_slice(),
            b"n,,n=",
            b"n,,n=,r=",
            b"p=tls-unique,,n=,r=abc",
            b"n,a=other,n=,r=abc",
            b"n,,m=x,n=,r=abc",
            b"\xff,,r=abc",
        ] {
            assert!(!begin(message), "{message:?}");
        }
    }

    #[test]
    fn base_64_is_written_as_it_is_read() {
        for (bytes, text) in [
            (b"".as_slice(), ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes));
        }
    }
}
