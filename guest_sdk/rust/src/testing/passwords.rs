//! The fake host's `passwords:distro:sys`: hashes of the same form that cost nothing, and protect nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

const MAX_PASSWORD: usize = 1024;
const BEGIN: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// Makes and verifies hashes of its own.
#[derive(Default)]
pub(crate) struct FakePasswords {
    salts: u64,
}

impl FakePasswords {
    /// Answer a request.
    pub fn carry_out(&mut self, body: &[u8]) -> Vec<u8> {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let answer = if let Some(given) = asked.get("Hash") {
            password(given).map(|password| {
                self.salts += 1;
                json!({"Hash": hashed(password, &format!("salt{:012}", self.salts))})
            })
        } else {
            let fields = &asked["Verify"];
            password(&fields["password"]).and_then(|password| {
                let stored = fields["hash"].as_str().unwrap_or_default();
                let salt = stored.strip_prefix(BEGIN).and_then(|rest| rest.split('$').next());
                let salt = salt.ok_or("the hash is not one of Argon2")?;
                Ok(json!({"Verify": {"matches": stored == hashed(password, salt), "outdated": false}}))
            })
        };
        let answer = answer.unwrap_or_else(|text| json!({"Err": {"InputError": {"error": text}}}));
        answer.to_string().into_bytes()
    }
}

fn password(value: &Value) -> Result<&str, &'static str> {
    let text = value.as_str().filter(|text| (1..=MAX_PASSWORD).contains(&text.len()));
    text.ok_or("a password is a text of 1 to 1024 bytes")
}

fn hashed(password: &str, salt: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (salt, password).hash(&mut hasher);
    format!("{BEGIN}{salt}${:016x}", hasher.finish())
}
