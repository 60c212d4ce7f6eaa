//! Says who can be written to: mail addresses and telephone numbers, one or many.

use super::host::is_host;
use super::line::is_blank;
use super::problem::shown;

/// Bytes of a line of `alarm_mail` that count, as ever.
const LINE_LIMIT: usize = 2048;

/// Numbers that one module's `alarm_gsm` holds, the inherited ones included; as ever.
const GSM_LIMIT: usize = 10;

/// Longest mail address, in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
const ADDRESS_LIMIT: usize = 254;

/// Longest part before the @, in bytes (RFC 5321, 4.5.3.1.1).
const USER_LIMIT: usize = 64;

/// Longest telephone number, in bytes: twice what E.164 allows, for prefixes.
const GSM_NUMBER_LIMIT: usize = 32;

/// Adds the addresses of `value` to `list`, each once, and says what is wrong with the others. `column` is
/// where the value starts in its line.
pub(super) fn add_mail(list: &mut Vec<String>, value: &[u8], column: usize, warnings: &mut Vec<String>) {
    let room = LINE_LIMIT.saturating_sub(column);
    let mut kept = value;
    if value.len() > room {
        kept = &value[..room];
        if !is_separator(value[room]) {
            // The limit stands inside an address: half of one is somebody else's.
            let half = kept.iter().rev().take_while(|byte| !is_separator(**byte)).count();
            kept = &kept[..room - half];
        }
        warnings.push(format!("what is past byte {LINE_LIMIT} of the line is ignored"));
    }
    for word in words(kept) {
        match check_address(word) {
            Ok(address) => add(list, address),
            Err(wrong) => warnings.push(format!("{} is ignored: {wrong}", shown(word))),
        }
    }
}

/// Adds the telephone numbers of `value` to `list`, each once, until it is full, and says what is wrong
/// with the others.
pub(super) fn add_gsm(list: &mut Vec<String>, value: &[u8], warnings: &mut Vec<String>) {
    let mut left_out: usize = 0;
    for word in words(value) {
        match check_number(word) {
            Some(number) if list.len() < GSM_LIMIT || list.iter().any(|known| known == number) => {
                add(list, number);
            }
            Some(_) => left_out += 1,
            None => warnings.push(format!(
                "{} is ignored: a telephone number has only digits, with or without a + before them",
                shown(word)
            )),
        }
    }
    if left_out > 0 {
        warnings.push(format!("more than {GSM_LIMIT} numbers, [global]'s included: {left_out} ignored"));
    }
}

/// `user` or `user@domain`, of characters that mean nothing to a mailer, a header or a shell.
///
/// # Errors
/// What is wrong with it.
pub fn check_address(word: &[u8]) -> Result<&str, &'static str> {
    let Some(text) = std::str::from_utf8(word).ok().filter(|text| text.is_ascii()) else {
        return Err("an address has only ASCII characters");
    };
    if text.len() > ADDRESS_LIMIT {
        return Err("it is too long for an address");
    }
    let (user, domain) = match text.split_once('@') {
        Some((user, domain)) => (user, Some(domain)),
        None => (text, None),
    };
    if domain.is_some_and(|domain| domain.contains('@')) {
        return Err("it has more than one @");
    }
    if user.is_empty() {
        return Err("it has no user");
    }
    if user.len() > USER_LIMIT {
        return Err("what is before the @ is too long");
    }
    // With either of these first, a mailer takes it for an option or for a file.
    if user.starts_with(['-', '/']) {
        return Err("an address does not start so");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#%*+-./=?^_{}~".contains(&byte);
    if !user.bytes().all(allowed) {
        return Err("it holds a character that an address can't hold here");
    }
    if user.starts_with('.') || user.ends_with('.') || user.contains("..") {
        return Err("its dots are not between other characters");
    }
    if !domain.is_none_or(is_host) {
        return Err("what is behind the @ is not a host name");
    }
    Ok(text)
}

/// A telephone number: digits, with or without a `+` before them.
pub fn check_number(word: &[u8]) -> Option<&str> {
    let digits = word.strip_prefix(b"+").unwrap_or(word);
    let fits = !digits.is_empty() && word.len() <= GSM_NUMBER_LIMIT && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| fits)
}

fn add(list: &mut Vec<String>, entry: &str) {
    if !list.iter().any(|known| known == entry) {
        list.push(entry.to_owned());
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| is_separator(*byte)).filter(|word| !word.is_empty())
}

fn is_separator(byte: u8) -> bool {
    is_blank(byte) || byte == b','
}
