//! Says whether a name can be a host, with or without a port.

use std::net::Ipv6Addr;

use super::problem::shown;

/// Longest host name, in bytes (RFC 1035, 2.3.4, without the root's dot).
const HOST_LIMIT: usize = 253;

/// Takes `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT` apart. The host comes back without brackets.
pub(super) fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let Some((host, behind)) = inside.split_once(']') else {
                return Err("the [ of the host is not closed".to_owned());
            };
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(format!("{} is not an IPv6 address", shown(host.as_bytes())));
            }
            let port = match behind {
                "" => None,
                _ => Some(behind.strip_prefix(':').ok_or("only a colon and a port may follow the ]")?),
            };
            (host, port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            if host.is_empty() {
                return Err("it names no host".to_owned());
            }
            if !is_host(host) {
                return Err(format!("{} is not a host name", shown(host.as_bytes())));
            }
            (host, port)
        }
    };
    let port = match port {
        None => None,
        // Not repeated in the answer: where somebody forgot the host, it is a password.
        Some(port) => Some(
            parse_port(port)
                .ok_or("what is behind the host's colon is not a port from 1 to 65535 (an IPv6 address needs [ ])")?,
        ),
    };
    Ok((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// Letters, digits, hyphens and underscores in parts with dots between them. Never an option: no part
/// starts with a hyphen.
pub(super) fn is_host(text: &str) -> bool {
    text.len() <= HOST_LIMIT
        && text.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}
