// SPDX-License-Identifier: GPL-2.0
//! The challenge and response exchange (wire-protocol.md section 5). The HMAC is computed by the caller.
//!
//! Send P_AUTH_CHALLENGE with the own challenge, then feed every packet that arrives to [`Auth::received`]. Nothing else the peer
//! says is believed before [`AuthStep::Verify`] was answered with a match.

use crate::wire::Command;

/// Bytes of a challenge this driver sends, and the least it accepts.
pub const CHALLENGE_BYTES: usize = 64;
/// Most bytes of a challenge that are accepted.
pub const MAX_CHALLENGE_BYTES: usize = 128;

/// What a packet asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthStep<'a> {
    /// Answer with P_AUTH_RESPONSE: HMAC over these bytes. Failure to compute it ends in StandAlone.
    Respond {
        /// The whole challenge of the peer.
        challenge: &'a [u8],
    },
    /// Compare with HMAC over the own challenge ([`digests_equal`]); a difference ends in StandAlone.
    Verify {
        /// The response of the peer.
        response: &'a [u8],
    },
}

/// Why the peer is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthProblem {
    /// Another command came; the peer may have no secret configured.
    UnexpectedCommand {
        /// Its number.
        got: u16,
        /// What was expected.
        expected: Command,
    },
    /// A challenge outside 64 to 128 bytes.
    ChallengeLength {
        /// Its length.
        got: usize,
    },
    /// The peer sent the own challenge back.
    Reflection,
    /// A response of another length than the digest.
    ResponseLength {
        /// Its length.
        got: usize,
        /// Length of the digest.
        expected: usize,
    },
}

/// A problem and what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthFailure {
    /// What is wrong.
    pub problem: AuthProblem,
    /// Drop the connection and try again; otherwise StandAlone.
    pub retry: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Challenge,
    Response,
}

/// One exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth {
    own: [u8; CHALLENGE_BYTES],
    digest_bytes: usize,
    expected: Expected,
}

impl Auth {
    /// Begins: `own` are fresh random bytes, to be sent as P_AUTH_CHALLENGE; `digest_bytes` is the size of the digest.
    pub const fn new(own: [u8; CHALLENGE_BYTES], digest_bytes: usize) -> Self {
        Self { own, digest_bytes, expected: Expected::Challenge }
    }

    /// The own challenge.
    pub const fn challenge(&self) -> &[u8; CHALLENGE_BYTES] {
        &self.own
    }

    /// The packet that has to come next.
    pub const fn expects(&self) -> Command {
        match self.expected {
            Expected::Challenge => Command::AuthChallenge,
            Expected::Response => Command::AuthResponse,
        }
    }

    /// Longest payload worth reading now; a longer one is refused unread.
    pub const fn max_payload_bytes(&self) -> usize {
        match self.expected {
            Expected::Challenge => MAX_CHALLENGE_BYTES,
            Expected::Response => self.digest_bytes,
        }
    }

    /// Checks what a header announces, before the payload is read.
    pub fn announced(&self, command: u16, length: usize) -> Result<(), AuthFailure> {
        let retry = self.expected == Expected::Response;
        let expected = self.expects();
        if command != expected.number() {
            return Err(AuthFailure { problem: AuthProblem::UnexpectedCommand { got: command, expected }, retry });
        }
        if self.expected == Expected::Challenge {
            if !(CHALLENGE_BYTES..=MAX_CHALLENGE_BYTES).contains(&length) {
                return Err(AuthFailure { problem: AuthProblem::ChallengeLength { got: length }, retry });
            }
        } else if length != self.digest_bytes {
            return Err(AuthFailure { problem: AuthProblem::ResponseLength { got: length, expected: self.digest_bytes }, retry });
        }
        Ok(())
    }

    /// A packet arrived.
    pub fn received<'a>(&mut self, command: u16, payload: &'a [u8]) -> Result<AuthStep<'a>, AuthFailure> {
        self.announced(command, payload.len())?;
        if self.expected == Expected::Response {
            return Ok(AuthStep::Verify { response: payload });
        }
        if payload.starts_with(&self.own) {
            return Err(AuthFailure { problem: AuthProblem::Reflection, retry: false });
        }
        self.expected = Expected::Response;
        Ok(AuthStep::Respond { challenge: payload })
    }
}

/// Compares two digests in a time that does not depend on where they differ.
pub fn digests_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        Auth::new([7; CHALLENGE_BYTES], 20)
    }

    const CHALLENGE: u16 = Command::AuthChallenge.number();
    const RESPONSE: u16 = Command::AuthResponse.number();

    #[test]
    fn challenge_then_response() {
        let mut auth = auth();
        let challenge = [9; 100];
        assert_eq!(auth.received(CHALLENGE, &challenge), Ok(AuthStep::Respond { challenge: &challenge }));
        assert_eq!(auth.received(RESPONSE, &[1; 20]), Ok(AuthStep::Verify { response: &[1; 20] }));
    }

    #[test]
    fn a_reflected_challenge_is_refused_for_good_even_when_longer() {
        let mut longer = [0; 80];
        longer[..CHALLENGE_BYTES].copy_from_slice(&[7; CHALLENGE_BYTES]);
        assert_eq!(auth().received(CHALLENGE, &longer), Err(AuthFailure { problem: AuthProblem::Reflection, retry: false }));
    }

    #[test]
    fn wrong_sizes_of_a_challenge_end_in_standalone_and_of_a_response_in_a_retry() {
        for length in [0, 63, 129] {
            let failure = auth().received(CHALLENGE, &[1; 200][..length]).unwrap_err();
            assert_eq!(failure, AuthFailure { problem: AuthProblem::ChallengeLength { got: length }, retry: false });
        }
        let mut auth = auth();
        auth.received(CHALLENGE, &[1; 64]).unwrap();
        let failure = auth.received(RESPONSE, &[1; 19]).unwrap_err();
        assert_eq!(failure, AuthFailure { problem: AuthProblem::ResponseLength { got: 19, expected: 20 }, retry: true });
    }

    #[test]
    fn another_command_ends_in_standalone_at_first_and_in_a_retry_later() {
        let mut auth = auth();
        let protocol = Command::Protocol.number();
        assert!(!auth.received(protocol, &[0; 25]).unwrap_err().retry);
        auth.received(CHALLENGE, &[1; 64]).unwrap();
        assert!(auth.received(protocol, &[0; 25]).unwrap_err().retry);
    }

    #[test]
    fn digests_are_compared_as_a_whole() {
        assert!(digests_equal(b"abc", b"abc"));
        assert!(!digests_equal(b"abc", b"abd"));
        assert!(!digests_equal(b"abc", b"ab"));
    }
}
