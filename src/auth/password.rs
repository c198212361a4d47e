//! Password hashes in RabbitMQ's form: base64 of a salt of four octets and the hash of salt and password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;

/// The algorithms RabbitMQ knows, by the names it has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha512,
    Md5,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512, Self::Md5].into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn hash(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha2::Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            Self::Sha512 => sha2::Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            Self::Md5 => md5::Md5::new().chain_update(salt).chain_update(password).finalize().to_vec(),
        }
    }
}

const SALT: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash {
    pub algorithm: Algorithm,
    salted: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password with the default algorithm and a random salt.
    pub fn new(password: &[u8], salt: [u8; SALT]) -> Self {
        let algorithm = Algorithm::Sha256;
        Self { algorithm, salted: [salt.to_vec(), algorithm.hash(&salt, password)].concat() }
    }

    /// Reads a hash as definitions and the HTTP API have it; `None` if it is not base64.
    pub fn from_base64(text: &str, algorithm: Algorithm) -> Option<Self> {
        Some(Self { algorithm, salted: STANDARD.decode(text).ok()? })
    }

    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.salted)
    }

    pub fn verify(&self, password: &[u8]) -> bool {
        let Some((salt, hash)) = self.salted.split_at_checked(SALT) else { return false };
        let wanted = self.algorithm.hash(salt, password);
        // Every octet is looked at, so that the time taken tells nothing.
        hash.len() == wanted.len() && hash.iter().zip(&wanted).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_from_rabbitmqs_documentation() {
        let text = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        let hash = PasswordHash::from_base64(text, Algorithm::Sha256).expect("base64");
        assert!(hash.verify(b"test12") && !hash.verify(b"test13"));
        assert_eq!(hash.to_base64(), text);
    }

    #[test]
    fn every_algorithm_verifies_its_own() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5] {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            let salted = [vec![1, 2, 3, 4], algorithm.hash(&[1, 2, 3, 4], b"pw")].concat();
            let hash = PasswordHash::from_base64(&STANDARD.encode(salted), algorithm).expect("base64");
            assert!(hash.verify(b"pw") && !hash.verify(b"Pw"));
        }
        assert!(!PasswordHash::from_base64("AAA=", Algorithm::Md5).expect("base64").verify(b""));
    }
}
