//! Values that are encrypted in configuration files, as RabbitMQ's tools make them: a key is derived from a passphrase
//! (PBKDF2), and what is encrypted with it (AES, CBC) is a term in its external form. No I/O.

use aes::{Aes128, Aes192, Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use md5::Md5;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use super::external::External;

/// Octets of chance before the value: of the key, and of the first block.
const SALT: usize = 16;
const BLOCK: usize = 16;
pub const CHANCE: usize = SALT + BLOCK;

/// How a value is encrypted, by Erlang's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub cipher: Cipher,
    pub hash: Hash,
    /// How often the passphrase is hashed.
    pub rounds: u32,
}

/// What RabbitMQ does unless somebody says something else, however little that is.
impl Default for Method {
    fn default() -> Self {
        Self { cipher: Cipher::Aes128, hash: Hash::Sha256, rounds: 1 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

/// The ciphers there are. One has two names.
pub const CIPHERS: [(&str, Cipher); 4] = [
    ("aes_256_cbc", Cipher::Aes256),
    ("aes_192_cbc", Cipher::Aes192),
    ("aes_128_cbc", Cipher::Aes128),
    ("aes_cbc", Cipher::Aes128),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha512,
    Sha384,
    Sha256,
    Sha224,
    Sha512Half,
    Sha512Part,
    Sha1,
    Md5,
}

/// The hashes there are.
pub const HASHES: [(&str, Hash); 8] = [
    ("sha512_256", Hash::Sha512Half),
    ("sha512_224", Hash::Sha512Part),
    ("sha512", Hash::Sha512),
    ("sha384", Hash::Sha384),
    ("sha256", Hash::Sha256),
    ("sha224", Hash::Sha224),
    ("sha", Hash::Sha1),
    ("md5", Hash::Md5),
];

impl Method {
    fn key(self, passphrase: &[u8], salt: &[u8]) -> Vec<u8> {
        let mut key = vec![
            0;
            match self.cipher {
                Cipher::Aes128 => 16,
                Cipher::Aes192 => 24,
                Cipher::Aes256 => 32,
            }
        ];
        let derive = match self.hash {
            Hash::Sha512 => pbkdf2_hmac::<Sha512>,
            Hash::Sha384 => pbkdf2_hmac::<Sha384>,
            Hash::Sha256 => pbkdf2_hmac::<Sha256>,
            Hash::Sha224 => pbkdf2_hmac::<Sha224>,
            Hash::Sha512Half => pbkdf2_hmac::<Sha512_256>,
            Hash::Sha512Part => pbkdf2_hmac::<Sha512_224>,
            Hash::Sha1 => pbkdf2_hmac::<Sha1>,
            Hash::Md5 => pbkdf2_hmac::<Md5>,
        };
        derive(passphrase, salt, self.rounds, &mut key);
        key
    }

    /// Encrypts a term. `chance` is to be new each time.
    pub fn seal(self, passphrase: &str, chance: &[u8; CHANCE], term: &External) -> Option<String> {
        let (salt, first) = chance.split_at(SALT);
        let (key, clear) = (self.key(passphrase.as_bytes(), salt), term.encode()?);
        let sealed = match self.cipher {
            Cipher::Aes128 => encrypt::<cbc::Encryptor<Aes128>>(&key, first, &clear),
            Cipher::Aes192 => encrypt::<cbc::Encryptor<Aes192>>(&key, first, &clear),
            Cipher::Aes256 => encrypt::<cbc::Encryptor<Aes256>>(&key, first, &clear),
        };
        Some(STANDARD.encode([&chance[..], &sealed?].concat()))
    }

    /// Decrypts a term; `None` where the passphrase or the method is another one, or it is damaged.
    pub fn open(self, passphrase: &str, sealed: &str) -> Option<External> {
        let octets = STANDARD.decode(sealed).ok()?;
        let (salt, rest) = octets.split_at_checked(SALT)?;
        let (first, sealed) = rest.split_at_checked(BLOCK)?;
        let key = self.key(passphrase.as_bytes(), salt);
        let clear = match self.cipher {
            Cipher::Aes128 => decrypt::<cbc::Decryptor<Aes128>>(&key, first, sealed),
            Cipher::Aes192 => decrypt::<cbc::Decryptor<Aes192>>(&key, first, sealed),
            Cipher::Aes256 => decrypt::<cbc::Decryptor<Aes256>>(&key, first, sealed),
        };
        External::decode(&clear?)
    }
}

fn encrypt<C: BlockEncryptMut + KeyIvInit>(key: &[u8], first: &[u8], clear: &[u8]) -> Option<Vec<u8>> {
    Some(C::new_from_slices(key, first).ok()?.encrypt_padded_vec_mut::<Pkcs7>(clear))
}

fn decrypt<C: BlockDecryptMut + KeyIvInit>(key: &[u8], first: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    C::new_from_slices(key, first).ok()?.decrypt_padded_vec_mut::<Pkcs7>(sealed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(cipher: &str, hash: &str, rounds: u32) -> Method {
        let cipher = CIPHERS.iter().find(|(name, _)| *name == cipher).expect("a cipher").1;
        Method { cipher, hash: HASHES.iter().find(|(name, _)| *name == hash).expect("a hash").1, rounds }
    }

    /// Each was made by `rabbitmqctl encode` of RabbitMQ 4.3.6 with the passphrase `pass`.
    #[test]
    fn what_rabbitmq_has_sealed_is_opened() {
        let usual = Method::default();
        for (method, sealed, shown) in [
            (usual, "64pJyxywiDnR82b46PR1V8T57R8TIhVyyK5TYxwjMbfLwD/qhLB11NsgaM0IswDP", "abc"),
            (usual, "Liik/qg3wzulFJIL/2LO/xg7blaCX2fZ4/MO8Jf/vfmh6+u5ExgYTf0ZLN8raVw+", "\"ab\""),
            (usual, "BlyDqSs/zTmHe9rzXcXy8nf8+qs5mcB1uFlh2yQwlO+OThlEUVPHSGteyGJrKUEq", "<<\"ab\">>"),
            (usual, "vYobH9m0RTQUmbDtCF6bk4xbuvsDwXO5izPW9rEsd3UPSdqqD79NkxlcuQaIQRQV", "1.5"),
            (
                usual,
                "L7oRXbIRCWrsVYepepXuV10bAAS0Env6rBcqbwO98oa/DEPlYfPRwqF+6pJ5zZcTZS8TAKqV6QSVFcIPrZ8QHg==",
                "{a,<<\"b\">>,\"c\"}",
            ),
            (
                method("aes_128_cbc", "sha", 3),
                "fFMaqp1eBatlKB9f8ya5lXDBDSGPz4JH5Hl9BGCSjhDu9G8ntVR9Me8ZIOucVeJp",
                "abc",
            ),
            (
                method("aes_192_cbc", "sha256", 3),
                "J7gXnj/TYoU4jRUjtJznpxX3AuoYX5uRlO2QyQkvYfc1tpKxdE8ooo3Zp8csF4Wj",
                "abc",
            ),
            (
                method("aes_cbc", "md5", 3),
                "RXi/6haY2J88NSgmh8MiAc7zwcYCerylVC3JlbZgR+WRIwAw1b633aK3NFrUGIIT",
                "abc",
            ),
        ] {
            let opened = method.open("pass", sealed).expect("it opens");
            assert_eq!(opened.to_string(), shown);
            assert_eq!(method.open("Pass", sealed), None, "another passphrase");
            let other = Method { rounds: method.rounds + 1, ..method };
            assert_eq!(other.open("pass", sealed), None, "another method");
        }
    }

    #[test]
    fn what_was_sealed_is_opened_with_each_method() {
        let term = External::Binary(b"a secret that takes more than a block".to_vec());
        for (cipher, _) in CIPHERS {
            for (hash, _) in HASHES {
                let method = method(cipher, hash, 2);
                let sealed = method.seal("x y", &[7; CHANCE], &term).expect("short");
                assert_eq!(method.open("x y", &sealed), Some(term.clone()), "{cipher} {hash}");
                assert!(!sealed.contains("secret"));
            }
        }
    }

    #[test]
    fn what_is_damaged_stays_shut() {
        let usual = Method::default();
        for sealed in ["", "xyz", "64pJyxywiDnR82b46PR1Vw==", "64pJyxywiDnR82b46PR1V8T57R8TIhVyyK5TYxwjMbc="]
        {
            assert_eq!(usual.open("pass", sealed), None, "{sealed}");
        }
    }
}
