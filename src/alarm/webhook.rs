//! Posts an alarm as one JSON object to a web address.

use serde_json::{Map, Number, Value};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::copy::Outcome;
use super::read::Message;
use super::times;
use crate::text::unescape;

/// Of the object (docs/alarms.md). It grows where a key is taken away or means something else.
const VERSION: u32 = 1;

/// Whatever is answered with 2xx was accepted; 4xx is for good, but for the two that mean "later".
pub(super) fn deliver(message: &Message, address: &str) -> Outcome {
    let native = rustls_native_certs::load_native_certs();
    let roots: Vec<_> = native.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(times::to_post()))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("supervise/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .proxy(None) // the environment of a service is not ours to obey
        .build()
        .new_agent();
    let sent = agent
        .post(address)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", &message.message_id)
        .send(object(message).to_string());
    match sent {
        Err(error) => Outcome::Unreachable(format!("{address}: {error}")),
        Ok(response) => {
            let status = response.status();
            let reason = format!("{address} answers {status}");
            match status.as_u16() {
                200..=299 => Outcome::Accepted,
                408 | 429 => Outcome::Again(reason),
                400..=499 => Outcome::Refused(reason),
                _ => Outcome::Again(reason),
            }
        }
    }
}

fn object(message: &Message) -> Value {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    set("version", VERSION.into());
    set("message_id", message.message_id.as_str().into());
    set("subject", message.subject.as_str().into());
    for fact in &message.facts {
        // JSON has no bytes: what is not UTF-8 stays as the `\xNN` that the file has for it.
        let text = unescape(&fact.value).and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.unwrap_or_else(|| fact.value.clone());
        let number = fact.is_number().then(|| number(&text)).flatten();
        set(&fact.key, number.map_or(Value::String(text), Value::Number));
    }
    set("text", message.body.as_str().into());
    Value::Object(object)
}

fn number(text: &str) -> Option<Number> {
    match text.parse::<i64>() {
        Ok(whole) => Some(whole.into()),
        Err(_) => Number::from_f64(text.parse().ok()?),
    }
}
