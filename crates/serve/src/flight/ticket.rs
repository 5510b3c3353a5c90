//! Tickets: what a client was told that it may fetch, and brings back to do so.
//!
//! Invariant: a ticket is a query with the values of its parameters, the run that it reads and the user who asked, signed with the project's key: every server of a project
//! reads what another gave, nobody else makes any, and one that was given to another user is refused. What its user may see is what that user may see when it is brought back.

use super::parameters::BoundValues;
use crate::problem::Problem;
use crate::signer::Signer;
use serde::{Deserialize, Serialize};
use tillhouse_model::PseudonymKey;
use tonic::Status;

/// Purpose of the key that tickets are signed with.
const PURPOSE: &str = "tickets of Flight SQL";
/// Bytes of the length before the question.
const LENGTH: usize = 4;

/// A query of one run, by one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// Its own, by which it is cancelled.
    pub(super) id: String,
    pub(super) sql: String,
    pub(super) run: String,
    /// None where there are no users.
    pub(super) user: Option<String>,
}

/// Maker and reader of tickets.
#[derive(Clone)]
pub(super) struct TicketSigner(Signer);

impl TicketSigner {
    pub(super) fn new(key: &PseudonymKey) -> Result<Self, Problem> {
        Ok(Self(Signer::new(key, PURPOSE)?))
    }

    /// The ticket of a question with the values of its parameters: the length of the question, the question, the values, the signature.
    pub(super) fn ticket(
        &self,
        question: &Question,
        values: Option<&BoundValues>,
    ) -> Result<Vec<u8>, Problem> {
        let unwritten =
            |error: &dyn std::fmt::Display| Problem::internal(format!("a ticket: {error}"));
        let json = serde_json::to_vec(question).map_err(|error| unwritten(&error))?;
        let length = u32::try_from(json.len()).map_err(|error| unwritten(&error))?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&json);
        if let Some(values) = values {
            bytes.extend_from_slice(values.bytes());
        }
        self.0.sign(&mut bytes);
        Ok(bytes)
    }

    /// The question of a ticket, with the values of its parameters, for the user whom it was given to.
    pub(super) fn read(
        &self,
        bytes: &[u8],
        user: Option<&str>,
    ) -> Result<(Question, Option<BoundValues>), Status> {
        let read = || {
            let signed = self.0.signed(bytes)?;
            let (length, rest) = signed.split_first_chunk::<LENGTH>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (json, values) = rest.split_at_checked(length)?;
            let question: Question = serde_json::from_slice(json).ok()?;
            Some((question, BoundValues::of_bytes(values)))
        };
        match read() {
            Some(found) if found.0.user.as_deref() == user => Ok(found),
            Some(_) => Err(Status::permission_denied(
                "the ticket was given to another user. Ask the query again.",
            )),
            None => Err(super::status::wrong(
                "the ticket cannot be read",
                "Bring back one that GetFlightInfo gave, as it is.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::Secret;
    use tonic::Code;

    fn signer(key: &str) -> TicketSigner {
        let secret = Secret::new(key.repeat(32));
        TicketSigner::new(&PseudonymKey::parse(&secret).unwrap()).unwrap()
    }

    #[test]
    fn a_ticket_is_good_for_its_user_as_it_was_given_and_no_other() {
        let question = Question {
            id: "1".to_owned(),
            sql: "SELECT 'é'".to_owned(),
            run: "r".to_owned(),
            user: Some("north".to_owned()),
        };
        let ticket = signer("ab").ticket(&question, None).unwrap();
        let (read, values) = signer("ab").read(&ticket, Some("north")).unwrap();
        assert!(read == question && values.is_none());
        for user in [Some("south"), None] {
            let refused = signer("ab").read(&ticket, user).unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            let refused = signer("ab").read(&changed, Some("north")).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{at}");
        }
        for short in [&ticket[..0], &ticket[..7], &ticket[..ticket.len() - 1]] {
            assert!(signer("ab").read(short, Some("north")).is_err());
        }
        assert!(signer("cd").read(&ticket, Some("north")).is_err());
    }
}
