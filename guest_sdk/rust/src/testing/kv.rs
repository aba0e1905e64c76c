//! The fake host's `kv:distro:sys`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

const MAX_KEY: usize = 1024;
const MAX_DB: usize = 128;
const MAX_LIST: u64 = 1000;
/// Bytes that an entry counts besides its key and value.
const ENTRY: usize = 64;

/// Values, and when they expire.
type Database = BTreeMap<Vec<u8>, (Vec<u8>, Option<Duration>)>;
/// The body of an answer, and its blob.
pub(crate) type Reply = (Vec<u8>, Option<Vec<u8>>);

/// Databases of the package.
pub(crate) struct FakeKv {
    package: String,
    quota: usize,
    databases: HashMap<String, Database>,
}

impl FakeKv {
    pub fn new(package: String, quota: usize) -> Self {
        Self { package, quota, databases: HashMap::new() }
    }

    /// Answer a request.
    pub fn carry_out(&mut self, body: &[u8], blob: Option<&[u8]>, now: Duration) -> Reply {
        let (value, blob) = match self.act(body, blob, now) {
            Ok(reply) => reply,
            Err(text) => (json!({"Err": {"InputError": {"error": text}}}), None),
        };
        (value.to_string().into_bytes(), blob)
    }

    fn act(&mut self, body: &[u8], blob: Option<&[u8]>, now: Duration) -> Result<(Value, Option<Vec<u8>>), String> {
        let whole: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
        if let Some(named) = whole.get("package_id").filter(|named| **named != self.package.as_str()) {
            return Err(format!("that package is not the sender's own: {named}"));
        }
        let name = whole["db"].as_str().filter(|name| (1..=MAX_DB).contains(&name.chars().count()));
        let name = name.ok_or("db is from 1 to 128 characters")?;
        let (action, fields) = tagged(&whole["action"])?;
        for database in self.databases.values_mut() {
            database.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        }
        let used: usize = self.databases.values().flatten().map(|(key, (value, _))| size(key, value)).sum();
        let database = self.databases.entry(name.into()).or_default();
        match action {
            "Open" => return ok(),
            "RemoveDb" => {
                database.clear();
                return ok();
            }
            "List" => return Ok((listed(fields, database)?, None)),
            "Get" | "Delete" | "Set" | "CompareAndSet" => {}
            other => return Err(format!("no action is named {other}")),
        }
        let named = if fields.is_object() { &fields["key"] } else { fields };
        let key = bytes(named).filter(|key| (1..=MAX_KEY).contains(&key.len()));
        let key = key.ok_or("a key is from 1 to 1024 bytes")?;
        let present = database.get(&key).map(|(value, _)| value.clone());
        let mut expires = None;
        match action {
            "Get" if present.is_none() => return Ok((json!({"Err": "KeyNotFound"}), None)),
            "Get" => return Ok((json!({"Get": fields}), present)),
            "CompareAndSet" => {
                let expected = fields.get("expected").filter(|expected| !expected.is_null());
                let expected = expected.map(|given| bytes(given).ok_or("expected is neither bytes nor text"));
                if present != expected.transpose()? {
                    return Ok((json!({"Err": "Conflict"}), present));
                }
            }
            "Set" if blob.is_none() => return Err("the value to set is the request's blob, and there is none".into()),
            "Set" => expires = fields["ttl"].as_u64().map(|seconds| now + Duration::from_secs(seconds)),
            _ => {}
        }
        match blob.filter(|_| action != "Delete") {
            None => drop(database.remove(&key)),
            Some(value) => {
                let before = present.map_or(0, |present| size(&key, &present));
                if used - before + size(&key, value) > self.quota {
                    return Ok((json!({"Err": "QuotaExceeded"}), None));
                }
                database.insert(key, (value.to_vec(), expires));
            }
        }
        ok()
    }
}

fn ok() -> Result<(Value, Option<Vec<u8>>), String> {
    Ok((json!("Ok"), None))
}

fn size(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY
}

fn listed(fields: &Value, database: &Database) -> Result<Value, String> {
    let part = |name| fields.get(name).map_or(Ok(Vec::new()), |given| bytes(given).ok_or("neither bytes nor text"));
    let (prefix, after) = (part("prefix")?, part("after")?);
    let limit = fields.get("limit").map_or(Some(MAX_LIST), Value::as_u64).filter(|limit| *limit > 0);
    let limit = limit.ok_or("limit is a number of keys, 1 or more")?.min(MAX_LIST);
    let keys = database.keys().filter(|key| key.starts_with(&prefix) && **key > after);
    let keys: Vec<_> = keys.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
    Ok(json!({"List": {"keys": keys}}))
}

/// Name and fields of `"Name"` or `{"Name": fields}`.
pub(crate) fn tagged(value: &Value) -> Result<(&str, &Value), String> {
    match value {
        Value::String(name) => Ok((name, &Value::Null)),
        Value::Object(fields) if fields.len() == 1 => {
            let (name, fields) = fields.iter().next().ok_or("an action has a name")?;
            Ok((name, fields))
        }
        _ => Err("an action is a name, or an object with one name".into()),
    }
}

/// Bytes from text or a list of numbers.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(numbers) => {
            numbers.iter().map(|number| number.as_u64().and_then(|number| u8::try_from(number).ok())).collect()
        }
        _ => None,
    }
}
