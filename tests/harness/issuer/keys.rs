//! The keys that an issuer signs with.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

/// How an issuer signs.
#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA.
    Rs256,
}

/// What is before the key itself in the PKCS #8 of an RSA key of 2048 bits.
const PKCS8_HEADER: usize = 26;

/// A key and its name.
pub(super) struct SigningKey {
    kid: String,
    algorithm: jsonwebtoken::Algorithm,
    key: EncodingKey,
    public: Value,
}

impl SigningKey {
    pub(super) fn new(kid: &str, algorithm: Algorithm) -> Self {
        let (kind, algorithm) = match algorithm {
            Algorithm::Es256 => (
                &rcgen::PKCS_ECDSA_P256_SHA256,
                jsonwebtoken::Algorithm::ES256,
            ),
            Algorithm::EdDsa => (&rcgen::PKCS_ED25519, jsonwebtoken::Algorithm::EdDSA),
            Algorithm::Rs256 => (&rcgen::PKCS_RSA_SHA256, jsonwebtoken::Algorithm::RS256),
        };
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key is made");
        let der = pair.serialized_der();
        let key = match algorithm {
            jsonwebtoken::Algorithm::ES256 => EncodingKey::from_ec_der(der),
            jsonwebtoken::Algorithm::EdDSA => EncodingKey::from_ed_der(der),
            _ => EncodingKey::from_rsa_der(&der[PKCS8_HEADER..]),
        };
        let mut public = match algorithm {
            // The crate reads the public half of another form only.
            jsonwebtoken::Algorithm::EdDSA => json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw()),
            }),
            _ => json!(Jwk::from_encoding_key(&key, algorithm).expect("it has a public half")),
        };
        public["kid"] = json!(kid);
        public["use"] = json!("sig");
        Self {
            kid: kid.into(),
            algorithm,
            key,
            public,
        }
    }

    /// Its public half, as issuers show it.
    pub(super) fn public(&self) -> Value {
        self.public.clone()
    }

    pub(super) fn signed(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).expect("it signs")
    }

    /// With the public half as a shared secret, or not signed at all.
    pub(super) fn forged(&self, algorithm: &str, claims: &Value) -> String {
        if algorithm == "HS256" {
            let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
            header.kid = Some(self.kid.clone());
            let secret = EncodingKey::from_secret(self.public().to_string().as_bytes());
            return jsonwebtoken::encode(&header, claims, &secret).expect("it signs");
        }
        let header = json!({"alg": algorithm, "kid": self.kid, "typ": "JWT"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&header), part(claims))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kid)
    }
}
